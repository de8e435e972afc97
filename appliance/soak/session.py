"""One act of a client, from its connection to the last word or to what ended it."""

import asyncio
import random
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal

from appliance.bench.clips import Clip
from appliance.bench.events import EventLog
from appliance.bench.figures import Latency, latencies, standing_since
from appliance.client import ClientOptions, ClientStream, Transcript, open_stream
from appliance.client.options import ServerError
from appliance.errors import ApplianceError
from appliance.soak.acts import Act
from appliance.soak.relay import Relay, relaying
from appliance.soak.sounds import EXACT, between_silence, encoded, pieces

DRAIN_LIMIT_S = 90.0
"""After its last audio a stream must have ended; later it counts as hung."""

End = Literal["done", "cut", "broken", "refused", "error"]

_BROKEN_CODE = "unsupported_audio"


@dataclass(slots=True)
class Performed:
    """What came of an act. Times of latencies are seconds since the stream's first audio.

    ``end``: ``cut`` and ``broken`` are what the act wanted: its client did not resume, its sound was refused.
    ``code``, ``why``: of a refusal or an error.
    ``wrong``: what no server of the protocol may do. ``connections``: how many its client made.
    """

    end: End = "done"
    code: str = ""
    why: str = ""
    retry_after_s: float | None = None
    text: str = ""
    connections: int = 1
    wrong: list[str] = field(default_factory=list)
    committed: tuple[Latency, ...] = ()
    shown: tuple[Latency, ...] = ()
    late_s: float = 0.0


async def perform(
    act: Act, play: Clip, port: int, admitted: Callable[[Act], AbstractContextManager[None]]
) -> Performed:
    """Play it to the server at ``port`` of loopback. What goes wrong is told in the result: others play beside it.

    ``admitted`` is entered for as long as the server serves the client.
    """
    clip = between_silence(play, act.seconds) if act.trouble == "silence" else play
    data = await asyncio.to_thread(encoded, clip.pcm, act.form)
    done = Performed()
    async with relaying(port) as (relay, relay_port):
        player = _Player(act, clip, data, relay, done)
        try:
            async with asyncio.timeout(clip.length_s + act.seconds + 2 * DRAIN_LIMIT_S):
                async with open_stream(_options(act, clip, relay_port)) as stream:
                    with admitted(act):
                        await player.play(stream)
        except TimeoutError:
            done.end, done.code, done.why = "error", "hung", f"no end {DRAIN_LIMIT_S:g} s after the last audio"
        except ApplianceError as error:
            _ended_by(error, act, player, done)
        done.connections = max(1, relay.connections)
    player.conclude()
    return done


def _options(act: Act, clip: Clip, port: int) -> ClientOptions:
    return ClientOptions(
        url=f"ws://127.0.0.1:{port}/asr",
        language="auto" if act.auto else clip.language,
        mode=act.mode,
        format="s16le" if act.form == "s16le" else "auto",
    )


def _ended_by(error: ApplianceError, act: Act, player: "_Player", done: Performed) -> None:
    done.code, done.why = error.code, error.message
    if player.cut and not isinstance(error, ServerError):
        done.end = "cut"
    elif act.trouble == "broken" and error.code == _BROKEN_CODE:
        done.end = "broken"
    elif isinstance(error, ServerError) and not player.began:
        done.end, done.retry_after_s = "refused", error.retry_after_s
    else:
        done.end = "error"


class _Player:
    """Feeds an act's audio at its pace, with its trouble, and notes what comes back."""

    def __init__(self, act: Act, clip: Clip, data: bytes, relay: Relay, done: Performed) -> None:
        self.began = self.cut = False
        self._act = act
        self._clip = clip
        self._data = data
        self._relay = relay
        self._done = done
        self._log = EventLog()
        self._started_s = 0.0

    async def play(self, stream: ClientStream) -> None:
        """To the end of the stream, or what raises before it."""
        self.began = True
        self._started_s = asyncio.get_running_loop().time()
        following = asyncio.create_task(self._follow(stream))
        troubles: list[asyncio.Task[None]] = []
        try:
            if await self._feed(stream, troubles):
                await stream.finish()
                await following
        finally:
            for task in (following, *troubles):
                task.cancel()
            await asyncio.gather(following, *troubles, return_exceptions=True)

    async def _feed(self, stream: ClientStream, troubles: list[asyncio.Task[None]]) -> bool:
        """All audio that the act sends; whether the client is still there."""
        loop = asyncio.get_running_loop()
        act, length_s = self._act, self._clip.length_s
        trouble_s = act.at * length_s
        waited_s = 0.0
        pending = act.trouble not in ("none", "silence")
        noise: random.Random | None = None
        for due_s, piece in pieces(self._data, length_s):
            if pending and due_s >= trouble_s:
                pending = False
                if act.trouble == "stop":
                    return True
                if act.trouble in ("drop", "leave"):
                    self.cut = True
                    self._relay.cut()
                    if act.trouble == "leave":
                        self._done.end = "cut"
                        return False
                if act.trouble == "broken":
                    noise = random.Random(act.at)
                if act.trouble == "slow":
                    troubles.append(asyncio.create_task(self._relay.hold(act.seconds)))
                if act.trouble == "pause":
                    waited_s = act.seconds
                    await asyncio.sleep(waited_s)
            ahead_s = self._started_s + due_s + waited_s - loop.time()
            if ahead_s > 0:
                await asyncio.sleep(ahead_s)
            self._done.late_s = max(self._done.late_s, -ahead_s)
            await stream.feed(noise.randbytes(len(piece)) if noise else piece)
        return True

    async def _follow(self, stream: ClientStream) -> None:
        loop = asyncio.get_running_loop()
        async for transcript in stream:
            self._check(transcript)
            self._log.add(loop.time() - self._started_s, transcript.committed, transcript.tentative)

    def _check(self, transcript: Transcript) -> None:
        """What every state must be, whatever happens."""
        wrong = self._done.wrong
        if not transcript.committed.startswith(self._log.committed):
            wrong.append(f"committed text was changed: {self._log.committed[-60:]!r} to {transcript.committed[-60:]!r}")
        lines = transcript.snapshot().lines
        if any(line.end_s < line.start_s for line in lines):
            wrong.append("a line ends before it begins")
        if any(two.start_s < one.start_s or two.end_s < one.end_s for one, two in pairwise(lines)):
            wrong.append("a line is earlier than the one before it")

    def conclude(self) -> None:
        """What the text and its times tell."""
        done, language = self._done, self._clip.language
        done.text = self._log.committed
        if done.end == "done" and self._log.tentative:
            done.wrong.append(f"the last state has tentative text: {self._log.tentative[-60:]!r}")
        if self._act.form in EXACT and self._act.trouble in ("none", "silence", "stop"):
            words = self._clip.words
            done.committed = latencies(words, standing_since(self._log, language, shown=False), language)
            done.shown = latencies(words, standing_since(self._log, language, shown=True), language)
