"""A soak: a server, clients that come and go for a stated time, and a report that is written as it goes."""

import asyncio
import http.client
import json
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice

from appliance.bench.clips import Clip
from appliance.bench.processes import Memory, watching_memory
from appliance.bench.servers import Server
from appliance.errors import ApplianceError
from appliance.soak.acts import Act, acts
from appliance.soak.judging import Judged, Undisturbed, judge, undisturbed
from appliance.soak.session import Performed, perform
from appliance.soak.sounds import FORMS, Form
from appliance.soak.tally import Tally

log = logging.getLogger(__name__)

FLUSH_S = 60.0
_FIRST_AT_ONCE = 2
_STAGGER_S = 0.3
_ASK_LIMIT_S = 20.0
_WAIT_S = 5.0
"""Where a server refuses without saying when to come back."""

Heard = Mapping[tuple[int, bool], Undisturbed]
"""Of each play, with its language told and with it found out."""

OnProgress = Callable[[Tally, Memory], None]


@dataclass(frozen=True, slots=True)
class Soak:
    """What to do: ``clients`` at once for ``minutes``; the same ``seed`` makes the same choices, of which each client
    leaves out the first ``skip``.
    """

    clients: int
    minutes: float
    seed: int
    skip: int = 0
    forms: tuple[Form, ...] = FORMS


def soak(what: Soak, server: Server, clips: Sequence[Clip], on_progress: OnProgress) -> tuple[Tally, Memory]:
    """Play to a server that is ready. ``on_progress`` is called each minute, and at the end, also an early one.

    Raises:
        ApplianceError: a recording that nothing happens to can't be streamed, or the server does not answer.
    """
    return asyncio.run(_soak(what, server, clips, on_progress))


async def _soak(what: Soak, server: Server, clips: Sequence[Clip], on_progress: OnProgress) -> tuple[Tally, Memory]:
    heard = await _listen(server, clips)
    tally = Tally(await asyncio.to_thread(_places, server.port))
    log.info("%d plays were heard undisturbed; the server has %d places", len(clips), tally.places)
    with watching_memory(server.pid) as memory:
        try:
            async with asyncio.TaskGroup() as group:
                reporter = group.create_task(_report(tally, memory, on_progress))
                clients = [_Client(number, what, server.port, clips, heard, tally) for number in range(what.clients)]
                await asyncio.wait([group.create_task(client.run()) for client in clients])
                reporter.cancel()
        finally:
            on_progress(tally, memory)
    return tally, memory


async def _listen(server: Server, clips: Sequence[Clip]) -> Heard:
    """What the server hears in each play when nothing happens to it: two at once, at real-time pace."""
    room = asyncio.Semaphore(_FIRST_AT_ONCE)
    aside = Tally(0)
    heard: dict[tuple[int, bool], Undisturbed] = {}

    async def one(number: int, clip: Clip, auto: bool) -> None:
        act = Act(number, "s16le", auto, "diff", "none", 1.0, 0.0)
        async with room:
            done = await perform(act, clip, server.port, aside.present)
        if done.end != "done":
            raise ApplianceError(
                f"{clip.name} was not heard to its end: {done.code}: {done.why}", "look at the server's log"
            )
        heard[number, auto] = undisturbed(clip.transcript or "", clip.language, done.text)

    listening = [one(number, clip, auto) for number, clip in enumerate(clips) for auto in (False, True)]
    await asyncio.gather(*listening)
    return heard


async def _report(tally: Tally, memory: Memory, on_progress: OnProgress) -> None:
    while True:
        await asyncio.sleep(FLUSH_S)
        on_progress(tally, memory)


def _places(port: int) -> int:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=_ASK_LIMIT_S)
    try:
        connection.request("GET", "/readyz")
        return int(json.loads(connection.getresponse().read(65536))["max_sessions"])
    except (OSError, http.client.HTTPException, ValueError, KeyError) as error:
        raise ApplianceError(f"/readyz does not say how many places there are: {error}", "is it ours?") from error
    finally:
        connection.close()


class _Client:
    """One of the clients: act after act until the time is over."""

    def __init__(self, number: int, what: Soak, port: int, clips: Sequence[Clip], heard: Heard, tally: Tally) -> None:
        self._number = number
        self._what = what
        self._port = port
        self._clips = clips
        self._heard = heard
        self._tally = tally
        self._acts = acts(what.seed, number, len(clips), what.forms)

    async def run(self) -> None:
        await asyncio.sleep(self._number * _STAGGER_S)
        for act, rest_s in islice(self._acts, self._what.skip, None):
            if self._over:
                return
            done = await self._until_admitted(act)
            if done and done.end == "cut" and act.trouble == "drop":  # it comes back, with all of it
                await self._until_admitted(Act(act.play, act.form, act.auto, act.mode, "none", act.at, act.seconds))
            await asyncio.sleep(rest_s)

    @property
    def _over(self) -> bool:
        return self._tally.now_s >= 60 * self._what.minutes

    async def _until_admitted(self, act: Act) -> Performed | None:
        """Perform, and where there is no place come back when the server says; None: the time is over before."""
        while not self._over:
            began_s = self._tally.now_s
            done = await perform(act, self._clips[act.play], self._port, self._tally.present)
            self._add(act, began_s, done)
            if done.end != "refused":
                return done
            await asyncio.sleep(_WAIT_S if done.retry_after_s is None else done.retry_after_s)
        return None

    def _add(self, act: Act, began_s: float, done: Performed) -> None:
        clip = self._clips[act.play]
        judged: Judged | None = None
        if done.end in ("done", "cut") and act.trouble != "broken":
            cut = done.end == "cut" or act.trouble == "stop"
            before = self._heard[act.play, act.auto]
            judged = judge(clip.transcript or "", clip.language, done.text, before, sent=act.at if cut else None)
        self._tally.add(clip.name, act, began_s, done, judged)
