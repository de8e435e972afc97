"""What kills or hangs inference while clients stream real speech to a real server: words come late, and all come."""

import contextlib
import json
import os
import re
import signal
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection

from tests.conftest import Spoken
from tests.server.poisoned import POISON
from tests.server.running import (
    Message,
    Running,
    child,
    committed,
    opened,
    pcm,
    pieces,
    receive,
    running,
    updates,
    webm,
    word_errors,
)
from tests.speech.audio.poisoned import CRASH
from tests.speech.audio.test_decoder import split

pytestmark = pytest.mark.model

CHUNK_S = 0.1
LIMIT_S = 600.0


@pytest.fixture
def served(flags: list[str], tmp_path: Path) -> Iterator[Running]:
    with running(["--no-tls", "--max-sessions", "8", "--step-timeout-s", "1", *flags], tmp_path) as server:
        server.wait_for("ready: base")
        yield server


def readiness(server: Running) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(f"{server.url}readyz", timeout=10) as answer:
            return answer.status, json.load(answer)["status"]
    except urllib.error.HTTPError as error:
        with error:
            return error.code, json.load(error)["status"]


def wait_until(holds: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + LIMIT_S
    while not holds():
        assert time.monotonic() < deadline, what
        time.sleep(0.02)


def wait_for_status(server: Running, status: str) -> None:
    code = 200 if status == "ready" else 503
    wait_until(lambda: readiness(server) == (code, status), f"never {status}")


def worker_pid(server: Running) -> int:
    """The process for inference."""
    return child(server, "inference.worker")


class Speaker:
    """A client that says something at the pace of speech, and keeps all that it is told.

    ``until``: it says that again and again until this is set.
    """

    def __init__(
        self,
        server: Running,
        chunks: Sequence[bytes],
        query: str = "?language=en",
        until: threading.Event | None = None,
    ) -> None:
        self.messages: list[Message] = []
        self.error: Message | None = None
        self.ended = ""
        self.rounds = 0
        self._server, self._query = server, query
        self._chunks = chunks
        self._until = until
        self._gone = threading.Event()

    def run(self) -> "Speaker":
        """To the end of what is said and of all answers."""
        with opened(self._server, self._query) as socket:
            sender = threading.Thread(target=self._say, args=(socket,))
            sender.start()
            try:
                self._listen(socket)
            except ConnectionClosed as error:
                self.ended = str(error)
        self._gone.set()
        sender.join(LIMIT_S)
        return self

    def _listen(self, socket: ClientConnection) -> None:
        while not self.is_whole:
            message = json.loads(socket.recv(timeout=LIMIT_S))
            self.messages.append(message)
            if message.get("type") == "error":
                self.error = message

    def _say(self, socket: ClientConnection) -> None:
        with contextlib.suppress(ConnectionClosed):
            while not self.rounds or (self._until and not self._until.is_set()):
                for chunk in self._chunks:
                    socket.send(chunk)
                    self._gone.wait(CHUNK_S)
                self.rounds += 1
            socket.send(b"")

    @property
    def text(self) -> str:
        return committed(updates(self.messages)[-1])

    @property
    def is_whole(self) -> bool:
        return not self.error and bool(self.messages) and self.messages[-1].get("type") == "ready_to_stop"


def check_growth(speaker: Speaker) -> None:
    """No committed word is taken back."""
    texts = [committed(message) for message in updates(speaker.messages)]
    assert all(later.startswith(earlier) for earlier, later in pairwise(texts)), texts


def said_by_all(speakers: Sequence[Speaker]) -> bool:
    return all(len(updates(speaker.messages)) > 2 for speaker in speakers)


@pytest.fixture
def talk(librivox: tuple[Spoken, ...]) -> tuple[str, list[bytes]]:
    """Three recordings, one behind the other with a pause, and what is said in them."""
    spoken = [librivox[0], librivox[2], librivox[3]]
    sound = b"".join(pcm(one.path) + bytes(32000) for one in spoken)
    return " ".join(one.transcript for one in spoken), pieces(sound)


def test_streams_outlive_the_process_that_makes_their_passes(served: Running, talk: tuple[str, list[bytes]]) -> None:
    """Killed, crashed, then stopped, while three clients speak: they are told what one is that nothing disturbed."""
    said, chunks = talk
    alone = Speaker(served, chunks).run()
    over = threading.Event()
    speakers = [Speaker(served, chunks, until=over) for _ in range(3)]
    with ThreadPoolExecutor(3) as pool, contextlib.ExitStack() as stack:
        stack.callback(over.set)
        ends = [pool.submit(speaker.run) for speaker in speakers]
        for number in (signal.SIGKILL, signal.SIGSEGV, signal.SIGSTOP):
            counts = [len(updates(speaker.messages)) for speaker in speakers]
            wait_until(
                lambda before=counts: all(  # type: ignore[misc]
                    len(updates(speaker.messages)) > count + 2 for speaker, count in zip(speakers, before, strict=True)
                ),
                "a stream stands still",
            )
            assert not any(end.done() for end in ends), "all still speak"
            before = worker_pid(served)
            os.kill(before, number)
            wait_for_status(served, "recovering")
            with opened(served) as late:
                refused = json.loads(late.recv(timeout=LIMIT_S))
                assert refused["code"] == "not_ready" and 2 <= refused["retry_after_s"] <= 4
            wait_for_status(served, "ready")
            assert worker_pid(served) not in (0, before)
        over.set()
        for end in ends:
            end.result(LIMIT_S)
    errors = word_errors(said, alone.text)
    assert alone.is_whole and errors <= 5
    for speaker in speakers:
        assert speaker.is_whole, (speaker.error, speaker.ended)
        check_growth(speaker)
        wrong = word_errors(" ".join([said] * speaker.rounds), speaker.text)
        assert wrong <= speaker.rounds * (errors + 2), speaker.text
    log = "".join(served.lines)
    assert "was ended by SIGKILL" in log and "was ended by SIGSEGV" in log and "gave no answer for" in log
    assert "Traceback" not in log


def test_a_stream_that_kills_it_each_time_ends_alone(
    flags: list[str], tmp_path: Path, talk: tuple[str, list[bytes]]
) -> None:
    said, chunks = talk
    wrapper = [sys.executable, "-m", "tests.server.poisoned"]
    with running(["--no-tls", "--max-sessions", "8", *flags], tmp_path, wrapper=wrapper) as server:
        server.wait_for("ready: base")
        speakers = [Speaker(server, chunks) for _ in range(2)]
        with ThreadPoolExecutor(3) as pool:
            ends: list[Future[Speaker]] = [pool.submit(speaker.run) for speaker in speakers]
            wait_until(lambda: said_by_all(speakers), "nobody speaks")
            poison = pool.submit(Speaker(server, chunks, f"?language={POISON}").run).result(LIMIT_S)
            for end in ends:
                end.result(LIMIT_S)
        assert poison.error and poison.error["code"] == "inference_failed" and poison.error["hint"]
        for speaker in speakers:
            assert speaker.is_whole, (speaker.error, speaker.ended)
            check_growth(speaker)
            assert word_errors(said, speaker.text) <= 7, speaker.text
        with urllib.request.urlopen(f"{server.url}metrics", timeout=10) as answer:
            figures = answer.read().decode()
        assert re.search(r"^wlk_inference_replacements_total 2.0$", figures, re.MULTILINE)
        assert re.search(r"^wlk_failed_streams_total 1.0$", figures, re.MULTILINE)
        assert re.search(r'^wlk_session_ends_total{how="inference_failed"} 1.0$', figures, re.MULTILINE)
        log = "".join(server.lines)
        assert "Fatal Python error: Segmentation fault" in log, "where it was is in the log"
        words = {"dashwood", "leisure", "prudently", "hearted", "selfish", "amiable", "respectable"} & {*said.split()}
        assert len(words) > 4 and not words & set(re.findall("[a-z]+", log.lower())), "and nothing of what was said"


def test_sound_that_breaks_ends_its_own_stream(served: Running, librivox: tuple[Spoken, ...]) -> None:
    """Damaged in the middle of a container, and none at all."""
    whole = webm(librivox[0].path)
    middle = len(whole) // 2
    damaged = whole[:middle] + os.urandom(20_000) + whole[middle:]
    speaker = Speaker(served, pieces(pcm(librivox[0].path)))
    others = [Speaker(served, pieces(data)) for data in (damaged, os.urandom(50_000), b"\x1aE\xdf\xa3" + bytes(30_000))]
    with ThreadPoolExecutor(4) as pool:
        ends = [pool.submit(one.run) for one in (speaker, *others)]
        for end in ends:
            end.result(LIMIT_S)
    assert speaker.is_whole and word_errors(librivox[0].transcript, speaker.text) <= 2
    for other in others:
        assert other.is_whole or (other.error and other.error["code"] == "unsupported_audio")
    assert readiness(served) == (200, "ready")
    assert "session failed" not in "".join(served.lines)


def test_sound_that_crashes_what_decodes_it_ends_its_own_stream(
    flags: list[str], tmp_path: Path, librivox: tuple[Spoken, ...]
) -> None:
    """In native code, while two others send containers too."""
    wrapper = [sys.executable, "-m", "tests.server.poisoned"]
    with running(["--no-tls", "--max-sessions", "8", *flags], tmp_path, wrapper=wrapper) as server:
        server.wait_for("ready: base")
        whole = webm(librivox[0].path)
        speakers = [Speaker(server, split(whole, 1000)) for _ in range(2)]
        crash = Speaker(server, split(whole[: len(whole) // 2] + CRASH + whole[len(whole) // 2 :], 1000))
        with ThreadPoolExecutor(3) as pool:
            for end in [pool.submit(one.run) for one in (*speakers, crash)]:
                end.result(LIMIT_S)
        for speaker in speakers:
            assert speaker.is_whole and word_errors(librivox[0].transcript, speaker.text) <= 2, speaker.error
        assert crash.error and crash.error["code"] == "unsupported_audio" and crash.error["hint"]
        assert readiness(server) == (200, "ready")
        log = "".join(server.lines)
        assert "was ended by SIGSEGV" in log and "Traceback" not in log


def taken_away(file: Path) -> None:
    file.unlink()


def damaged(file: Path) -> None:
    """One bit."""
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.unlink()
    file.write_bytes(data)


@pytest.mark.parametrize(("spoil", "said"), [(taken_away, "can't be read"), (damaged, "has another content")])
def test_a_server_that_can_not_start_it_again_ends_and_says_so(
    spoil: Callable[[Path], None],
    said: str,
    tmp_path: Path,
    base_pair_copy: list[str],
    librivox: tuple[Spoken, ...],
) -> None:
    """For systemd to start it again. What was damaged since the start is loaded as little as at a start."""
    with running(["--no-tls", *base_pair_copy], tmp_path) as server:
        server.wait_for("ready: base")
        decoder = Path(base_pair_copy[base_pair_copy.index("--decoder-dir") + 1])
        for file in decoder.iterdir():
            spoil(file)
        with opened(server) as socket:
            os.kill(worker_pid(server), signal.SIGKILL)
            wait_for_status(server, "recovering")
            socket.send(pcm(librivox[0].path))
            messages: list[Message] = []
            with pytest.raises(ConnectionClosed):
                while True:
                    messages.append(receive(socket))
        assert messages[-1]["type"] == "error" and messages[-1]["code"] == "internal" and messages[-1]["hint"]
        assert server.process.wait(LIMIT_S) == 1
        log = "".join(server.lines)
        assert f"the model is damaged: {decoder}" in log and said in log
        assert "can't be started again in 6 tries" in log and "took over" not in log
        assert "Traceback" not in log


@pytest.fixture
def base_pair_copy(flags: list[str], tmp_path: Path) -> list[str]:
    """The same models by links, which a test may take away."""
    given = dict(zip(flags[::2], flags[1::2], strict=True))
    for name in ("--encoder-dir", "--decoder-dir"):
        folder = tmp_path / "pair" / Path(given[name]).name
        folder.mkdir(parents=True)
        for file in Path(given[name]).iterdir():
            (folder / file.name).symlink_to(file.resolve())
        given[name] = str(folder)
    (tmp_path / "pair" / "pair.json").symlink_to((Path(flags[1]).parent / "pair.json").resolve())
    return [part for item in given.items() for part in item]
