"""Connections that break in the middle of real speech: the client comes back, and nothing is lost or said twice."""

import asyncio
import contextlib
import json
import os
import resource
import signal
import time
from collections.abc import AsyncIterator, Coroutine, Iterator
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from appliance.client import Transcript
from appliance.speech.types import Word
from tests.conftest import Spoken
from tests.server.running import Message, Running, pcm, pieces, running, wait_decoding, webm, word_errors
from tests.server.test_faults import worker_pid
from tests.server.test_process import get

pytestmark = pytest.mark.model

TIMES = 10
PATIENCE_S = 300.0
QUERY = "?mode=diff&words=true&language=en&resume=true"


class Caller:
    """A client that keeps what it sends, and takes its session up again when it comes back."""

    def __init__(self, server: Running, query: str = QUERY, token: str = "") -> None:
        self.transcript = Transcript()
        self.resume: dict[str, Any] = {}
        self.errors: list[Message] = []
        self.sent = 0
        self.ended = False
        self._url = server.asr + query
        self._token = token
        self._socket: ClientConnection
        self._reading: asyncio.Task[None] | None = None
        self._pongs = 0

    async def call(self) -> int | None:
        """Connect, with the id if there is one. Returns the close code of a refusal."""
        offered = [f"wlk.resume.{self.resume['id']}"] if self.resume else []
        self._socket = await connect(
            self._url,
            max_size=None,
            compression=None,
            proxy=None,
            ping_interval=None,
            subprotocols=["wlk", *offered],  # type: ignore[list-item]
            additional_headers={"Authorization": f"Bearer {self._token}"} if self._token else {},
        )
        first = json.loads(await asyncio.wait_for(self._socket.recv(), 30))
        if first["type"] == "error":
            self.errors.append(first)
            await self._socket.wait_closed()
            return self._socket.close_code
        self.resume = first.get("resume", {})
        self.sent = self.resume.get("received_bytes", 0)
        self._reading = asyncio.create_task(self._read(self._socket))
        return None

    async def say(self, data: bytes, to: int) -> None:
        """Send what was not heard of ``data``, up to byte ``to``; returns when the server has it."""
        for piece in pieces(data[self.sent : to]):
            await self._socket.send(piece)
            self.sent += len(piece)
        await self._socket.send('{"type": "ping"}')
        count = self._pongs + 1
        await self.until(lambda: self._pongs >= count)

    async def hear(self, words: int) -> None:
        await self.until(lambda: len(self.words) >= words)

    async def until(self, done: Any) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not done():  # noqa: ASYNC110 (the reading task and this one are both the test's)
                await asyncio.sleep(0.02)

    def drop(self) -> None:
        """The connection goes away without a word."""
        self._socket.transport.abort()

    async def finish(self) -> None:
        await self._socket.send(b"")
        await self.until(lambda: self.ended)

    async def hang_up(self) -> None:
        await self._socket.close()
        assert self._reading
        await self._reading

    @property
    def words(self) -> list[Word]:
        return [word for line in self.transcript.snapshot().lines for word in line.words]

    async def _read(self, socket: ClientConnection) -> None:
        with contextlib.suppress(ConnectionClosed):
            async for data in socket:
                message = json.loads(data)
                self._pongs += message.get("type") == "pong"
                if message.get("type") == "error":
                    self.errors.append(message)
                elif message.get("type") == "ready_to_stop":
                    self.ended = True
                else:
                    self.transcript.apply(message)


@contextlib.asynccontextmanager
async def calling(server: Running, query: str = QUERY, token: str = "") -> AsyncIterator[Caller]:
    caller = Caller(server, query, token)
    assert await caller.call() is None
    yield caller
    await caller.hang_up()


def run(test: Coroutine[Any, Any, None]) -> None:
    asyncio.run(asyncio.wait_for(test, 3 * PATIENCE_S))


@pytest.fixture(scope="module")
def patient(flags: list[str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A server with the window that it has by itself, for two clients of two tokens."""
    folder = tmp_path_factory.mktemp("patient")
    with running(["--no-tls", "--max-sessions", "2", *flags], folder) as started:
        started.wait_for("ready: base")
        yield started


@pytest.fixture(scope="module")
def hasty(flags: list[str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """A server that soon gives clients up, with one place."""
    own = ["--no-tls", "--max-sessions", "1", "--resume-window", "0.5"]
    with running([*own, *flags], tmp_path_factory.mktemp("hasty")) as started:
        started.wait_for("ready: base")
        yield started


def alike(words: list[Word], others: list[Word]) -> None:
    """The same words, but for one or another that is heard otherwise, at the same times."""
    said, heard = (" ".join(word.text for word in each) for each in (words, others))
    assert word_errors(said, heard) <= 3, (said, heard)
    starts = {word.text.strip().lower(): word.start_s for word in words}
    for word in others:
        same = [other.start_s for other in words if other.text.strip().lower() == word.text.strip().lower()]
        assert not same or min(abs(start_s - word.start_s) for start_s in same) < 0.7, word
    assert starts


def test_a_client_that_drops_again_and_again_loses_nothing(patient: Running, librivox: tuple[Spoken, ...]) -> None:
    data = b"".join(pcm(spoken.path) + bytes(16000) for spoken in librivox[:4])
    said = " ".join(spoken.transcript for spoken in librivox[:4])

    async def undisturbed() -> list[Word]:
        async with calling(patient) as caller:
            await caller.say(data, len(data))
            await caller.finish()
            return caller.words

    async def disturbed() -> None:
        words = await undisturbed()
        async with calling(patient) as caller:
            first = dict(caller.resume)
            for share, unsaid in ((0.15, 0), (0.4, 64000), (0.41, 3201), (0.75, 0), (0.9, 96000)):
                to = max(int(len(data) * share), caller.resume["received_bytes"])
                await caller.say(data, to)
                for piece in pieces(data[to : to + unsaid]):  # under way while the connection breaks
                    await caller._socket.send(piece)
                before = caller.words
                caller.drop()
                assert await caller.call() is None
                assert caller.resume["id"] == first["id"] and caller.errors == []
                assert to <= caller.resume["received_bytes"] <= to + unsaid
                assert caller.resume["received_s"] == pytest.approx(caller.resume["received_bytes"] / 32000, abs=1e-3)
                await caller.hear(len(before))
                assert caller.words[: len(before)] == before
            await caller.say(data, len(data))
            await caller.finish()
        assert word_errors(said, caller.transcript.committed) <= 6
        alike(words, caller.words)
        starts = [word.start_s for word in caller.words]
        assert starts == sorted(starts) and starts[-1] <= len(data) / 32000

    run(disturbed())
    assert "came back" in "".join(patient.lines)


def test_who_comes_back_is_greeted_while_the_stream_is_far_behind(
    patient: Running, librivox: tuple[Spoken, ...]
) -> None:
    """As while inference hangs, and no more sound can be taken: else the client would give the session up."""
    data = b"".join(pcm(spoken.path) + bytes(16000) for spoken in librivox[:4]) * 2
    said = " ".join(spoken.transcript for spoken in librivox[:4] * 2)

    async def test() -> None:
        async with calling(patient) as caller:
            await caller.say(data, 64000)
            worker = worker_pid(patient)
            os.kill(worker, signal.SIGSTOP)
            try:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(5):
                        for piece in pieces(data[64000:]):
                            await caller._socket.send(piece)
                await asyncio.sleep(2)
                caller.drop()
                async with asyncio.timeout(10):
                    assert await caller.call() is None
                assert caller.resume["received_bytes"] > 20 * 32000 and caller.errors == []
            finally:
                os.kill(worker, signal.SIGCONT)
            await caller.say(data, len(data))
            await caller.finish()
        assert word_errors(said, caller.transcript.committed) <= 12

    run(test())


def test_a_connection_that_is_still_there_is_closed_for_the_new_one(
    patient: Running, librivox: tuple[Spoken, ...]
) -> None:
    data = pcm(librivox[0].path)

    async def test() -> None:
        async with calling(patient) as caller:
            await caller.say(data, len(data) // 2)
            before, old = caller.words, caller._socket
            assert await caller.call() is None
            assert caller.resume["received_bytes"] == len(data) // 2
            await asyncio.wait_for(old.wait_closed(), 20)
            assert old.close_code == 1008 and [error["code"] for error in caller.errors] == ["taken_over"]
            assert get(patient, "/readyz")[1]["sessions"] == 1
            await caller.say(data, len(data))
            await caller.finish()
            assert caller.words[: len(before)] == before
        assert word_errors(librivox[0].transcript, caller.transcript.committed) <= 2

    run(test())


@pytest.mark.parametrize("mode", ["diff", "full"])
def test_last_words_come_to_one_who_dropped_after_the_end(
    patient: Running, librivox: tuple[Spoken, ...], mode: str
) -> None:
    data = pcm(librivox[0].path)

    async def test() -> None:
        async with calling(patient, QUERY.replace("diff", mode)) as caller:
            await caller.say(data, len(data))
            await caller._socket.send(b"")
            caller.drop()
            assert await caller.call() is None
            assert caller.resume["received_bytes"] == len(data)
            await caller.finish()
            said = caller.words
            caller.drop()  # before it has closed: the server can't know what has arrived
            caller.ended, caller.transcript = False, Transcript()
            assert await caller.call() is None
            await caller.until(lambda: caller.ended)
            assert caller.words == said
        assert word_errors(librivox[0].transcript, caller.transcript.committed) <= 2
        refused = Caller(patient)
        refused.resume = caller.resume
        assert await refused.call() == 1008 and refused.errors[0]["code"] == "unknown_session"

    run(test())
    assert until_free(patient) == 0


def until_free(server: Running, timeout_s: float = 60) -> int:
    deadline = time.monotonic() + timeout_s
    while (sessions := get(server, "/readyz")[1]["sessions"]) and time.monotonic() < deadline:
        time.sleep(0.1)
    return int(sessions)


def test_a_container_goes_on_where_it_was_cut_or_begins_anew(patient: Running, librivox: tuple[Spoken, ...]) -> None:
    first, second = webm(librivox[0].path), webm(librivox[1].path)

    async def test() -> None:
        async with calling(patient) as caller:
            for share in (0.3, 0.31, 0.8):
                await caller.say(first, int(len(first) * share))
                caller.drop()
                assert await caller.call() is None
            await caller.say(first, len(first))
            caller.drop()
            assert await caller.call() is None
            taken_s = caller.resume["received_s"]
            before = len(caller.words)
            caller.sent = 0
            await caller.say(second, len(second))
            await caller.finish()
        said = f"{librivox[0].transcript} {librivox[1].transcript}"
        assert word_errors(said, caller.transcript.committed) <= 5
        later = caller.words[before:]
        assert later and later[-1].start_s > taken_s

    run(test())


def test_ids_are_for_those_who_got_them(flags: list[str], tmp_path: Path) -> None:
    tokens = ["--tokens", "anna: tick-of-anna\nbert: tock-of-bert"]
    with running(["--no-tls", *tokens, *flags], tmp_path) as server:
        server.wait_for("ready: base")

        async def test() -> None:
            async with calling(server, token="tick-of-anna") as anna:
                for token, id in (("tock-of-bert", anna.resume["id"]), ("tick-of-anna", "A" * 22)):
                    other = Caller(server, token=token)
                    other.resume = {"id": id}
                    assert await other.call() == 1008
                    assert other.errors[0]["code"] == "unknown_session" and other.errors[0]["hint"]
                thief = Caller(server, token="wrong-token")
                thief.resume = anna.resume
                assert await thief.call() == 1008 and thief.errors[0]["code"] == "unauthorized"
                await anna.say(bytes(32000), 32000)
                assert anna.errors == []
                log = "".join(server.lines)
                assert anna.resume["id"] not in log and "unknown_session" in log

        run(test())


def test_a_place_is_kept_for_a_client_that_may_come_back(patient: Running) -> None:
    async def test() -> None:
        async with calling(patient) as away, calling(patient):
            away.drop()
            new = Caller(patient)
            assert await new.call() == 1013 and new.errors[0]["code"] == "over_capacity"
            figures = await asyncio.to_thread(scraped, patient)
            assert "wlk_sessions_away 1.0" in figures and "wlk_sessions_active 2.0" in figures
            assert await away.call() is None
            assert "wlk_sessions_away 0.0" in await asyncio.to_thread(scraped, patient)

    run(test())


def scraped(server: Running) -> str:
    with urlopen(f"{server.url}metrics", timeout=20) as answer:
        return str(answer.read().decode())


def test_a_client_that_never_comes_back_costs_nothing_after_the_window(
    hasty: Running, librivox: tuple[Spoken, ...]
) -> None:
    tasks = Path(f"/proc/{hasty.process.pid}/task")
    data = webm(librivox[0].path)

    async def vanish() -> Caller:
        caller = Caller(hasty)
        assert await caller.call() is None
        await caller.say(data, len(data) // 2)
        caller.drop()
        return caller

    def resident_mb() -> float:
        pages = int(Path(f"/proc/{hasty.process.pid}/statm").read_text().split()[1])
        return pages * resource.getpagesize() / 1e6

    for _ in range(2):
        late = asyncio.run(asyncio.wait_for(vanish(), PATIENCE_S))
        assert until_free(hasty) == 0
    threads, before_mb = len(list(tasks.iterdir())), resident_mb()
    for _ in range(TIMES):
        late = asyncio.run(asyncio.wait_for(vanish(), PATIENCE_S))
        assert until_free(hasty) == 0
        wait_decoding(hasty, 0)
    # Of those that decode for all clients one more may have begun each time; a stream has three of its own.
    assert len(list(tasks.iterdir())) <= threads + TIMES
    assert resident_mb() < before_mb + 30

    async def come_late() -> None:
        assert await late.call() == 1008 and late.errors[0]["code"] == "unknown_session"
        async with calling(hasty):
            pass

    run(come_late())
    assert "went away" in "".join(hasty.lines)


def test_a_client_that_says_goodbye_or_does_not_ask_is_not_waited_for(hasty: Running) -> None:
    async def test() -> None:
        assert await asyncio.to_thread(until_free, hasty) == 0
        waited = sum("waiting 0.5 s" in line for line in hasty.lines)
        async with calling(hasty) as caller:
            assert caller.resume["window_s"] == 0.5
        assert await asyncio.to_thread(until_free, hasty) == 0
        async with calling(hasty, "?mode=diff") as caller:
            assert caller.resume == {}
            caller.drop()
            assert await asyncio.to_thread(until_free, hasty) == 0
        assert sum("waiting 0.5 s" in line for line in hasty.lines) == waited

    run(test())


def test_where_the_window_is_0_nobody_is_waited_for(flags: list[str], tmp_path: Path) -> None:
    with running(["--no-tls", "--resume-window", "0", *flags], tmp_path) as server:
        server.wait_for("ready: base")

        async def test() -> None:
            async with calling(server) as caller:
                assert caller.resume == {}

        run(test())


def test_a_server_that_stops_waits_for_nobody(flags: list[str], tmp_path: Path, librivox: tuple[Spoken, ...]) -> None:
    with running(["--no-tls", *flags], tmp_path) as server:
        server.wait_for("ready: base")
        data = pcm(librivox[0].path)

        async def test() -> None:
            for whole in (False, True):
                caller = Caller(server)
                assert await caller.call() is None
                await caller.say(data, len(data))
                if whole:
                    await caller.finish()
                caller.drop()

        run(test())
        server.wait_for("waiting 60 s for its client")
        assert server.stop() == 0
