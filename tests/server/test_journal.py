"""A real server that keeps what is said: through a kill, a stop, and a disk that is full."""

import contextlib
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection

from appliance.journal.folder import Folder
from appliance.journal.reader import Kept, read
from appliance.journal.writer import PROMISE_S
from tests.conftest import Spoken, missing
from tests.server.running import (
    Message,
    Running,
    committed,
    environment,
    field_client,
    opened,
    pcm,
    pieces,
    receive,
    refused_start,
    running,
    updates,
)
from tests.server.test_process import get

pytestmark = pytest.mark.model

PIECE_S = 0.1


def kept(folder: Path) -> list[Kept]:
    with contextlib.closing(Folder.existing(folder)) as looked_at:
        found = []
        for entry in looked_at.files():
            with looked_at.open(entry.name) as file:
                found.append(read(file))
        return found


def said(one: Kept) -> list[str]:
    return " ".join(line.text for line in one.spoken).split()


def told(message: Message) -> list[str]:
    """The words that a client was told are committed, those that wait for their speaker too."""
    return f"{committed(message)} {message['buffer_diarization']}".split()


def by_command(server: Running, recording: Path, token: str) -> tuple[str, str]:
    """What the command prints, and what it says to who types it."""
    url = server.url.replace("http", "ws", 1) + "asr"
    command = [sys.executable, "-m", "appliance", "transcribe", "--url", url, str(recording)]
    env = environment(WLK_TOKEN=token)
    done = subprocess.run(command, env=env, capture_output=True, text=True, check=True, timeout=60)
    return done.stdout, done.stderr


def until_journal(server: Running, state: str, timeout_s: float = 60) -> None:
    deadline = time.monotonic() + timeout_s
    while get(server, "/readyz")[1].get("journal") != state:
        assert time.monotonic() < deadline, f"not {state}: {''.join(server.lines)}"
        time.sleep(0.05)


class Listener:
    """A client that speaks in real time and notes when it was told what."""

    def __init__(self, socket: ClientConnection, audio: bytes) -> None:
        self.socket = socket
        self.told: list[tuple[float, list[str]]] = []
        self.over = threading.Event()
        self._threads = [
            threading.Thread(target=self._send, args=(pieces(audio),)),
            threading.Thread(target=self._receive),
        ]
        for thread in self._threads:
            thread.start()

    def _send(self, chunks: Sequence[bytes]) -> None:
        with contextlib.suppress(ConnectionClosed):
            for chunk in chunks:
                self.socket.send(chunk)
                time.sleep(PIECE_S)

    def _receive(self) -> None:
        with contextlib.suppress(ConnectionClosed):
            while True:
                message = receive(self.socket, 60)
                if "lines" in message:
                    self.told.append((time.monotonic(), told(message)))
        self.over.set()

    def until(self, count: int, timeout_s: float = 90) -> None:
        deadline = time.monotonic() + timeout_s
        while not self.told or len(self.told[-1][1]) < count:
            assert time.monotonic() < deadline and not self.over.is_set(), f"{count} words in {self.told[-1:]}"
            time.sleep(0.02)

    def join(self) -> None:
        for thread in self._threads:
            thread.join(60)


def with_diarization(voices_file: Path) -> list[str]:
    return ["--diarization", "--diarization-backend", "embedding", "--diarization-file", str(voices_file)]


@pytest.mark.parametrize("diarization", [False, True])
def test_what_clients_were_told_outlives_a_kill(
    flags: list[str], voices_file: Path, tmp_path: Path, librivox: tuple[Spoken, ...], *, diarization: bool
) -> None:
    journal = tmp_path / "journal"
    own = ["--no-tls", "--journal", str(journal), *(with_diarization(voices_file) if diarization else ())]
    audio = b"".join(pcm(one.path) for one in librivox)
    with running([*own, *flags], tmp_path) as server:
        server.wait_for("ready: base")
        with opened(server) as socket:
            config = receive(socket)
            assert config["journal"] is True
            listener = Listener(socket, audio)
            listener.until(15)
            time.sleep(PROMISE_S + 0.1)
            # It says itself when it is late; here it says that it is not.
            until_journal(server, "writing")
            asked = time.monotonic()
            until_journal(server, "writing")
            server.process.kill()
            listener.join()
        server.process.wait(60)
    before = [words for at, words in listener.told if at < asked - PROMISE_S]
    (found,) = kept(journal)
    assert len(before[-1]) >= 5
    assert said(found)[: len(before[-1])] == before[-1]
    assert found.damaged == 0 and found.end is None, "broken off"
    assert found.about["session"] == config["session"] and found.about["diarization"] is diarization
    assert "127.0.0.1" not in next(journal.iterdir()).read_text()


def test_a_stop_leaves_nothing_out(flags: list[str], tmp_path: Path, librivox: tuple[Spoken, ...]) -> None:
    journal = tmp_path / "journal"
    (tmp_path / "tokens").write_text("hall-a: 0123456789abcdef\n")
    (tmp_path / "tokens").chmod(0o600)
    own = ["--no-tls", "--journal", str(journal), "--token-file", str(tmp_path / "tokens")]
    headers = {"Authorization": "Bearer 0123456789abcdef"}
    with running([*own, *flags], tmp_path) as server:
        server.wait_for("ready: base")
        printed, remarks = by_command(server, librivox[0].path, "0123456789abcdef")
        assert "note: this server keeps what is said" in remarks
        with opened(server, additional_headers=headers) as socket:
            config = receive(socket)
            assert config["journal"] is True
            listener = Listener(socket, b"".join(pcm(one.path) for one in librivox[:3]))
            listener.until(5)
            assert server.stop() == 0
            listener.join()
    first, found = sorted(kept(journal), key=lambda one: one.about["session"] == config["session"])
    assert said(found) == listener.told[-1][1] and found.end == "ended" and found.about["token"] == "hall-a"
    assert said(first) == printed.split()
    assert not any("0123456789abcdef" in file.read_text() for file in journal.iterdir())


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of 64 KB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k,mode=0700", "tmpfs", str(folder)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        missing("a file system of one's own needs root")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_holds_nobody_up(
    flags: list[str], tmp_path: Path, small_disk: Path, librivox: tuple[Spoken, ...]
) -> None:
    filler = small_disk / "filler"
    with contextlib.suppress(OSError), filler.open("wb", buffering=0) as out:
        while True:
            out.write(bytes(4096))
    with running(["--no-tls", "--journal", str(small_disk), *flags], tmp_path) as server:
        server.wait_for("ready: base")
        with opened(server) as socket:
            receive(socket)
            messages = field_client(socket, pieces(pcm(librivox[0].path)))
        assert messages[-1]["type"] == "ready_to_stop"
        heard = committed(updates(messages)[-1]).split()
        assert len(heard) > 5
        until_journal(server, "failing")
        with urllib.request.urlopen(f"{server.url}metrics", timeout=20) as answer:
            assert b"\nwlk_journal_failing 1.0\n" in answer.read()
        server.wait_for("the journal in .* can't be written: No space left on device")
        filler.unlink()
        until_journal(server, "writing")
        assert [said(one) for one in kept(small_disk)] == [heard], "it waited"
        assert sum("can't be written" in line for line in server.lines) == 1
        assert server.stop() == 0


def test_nothing_is_kept_unless_it_is_set(server: Running) -> None:
    assert "journal" not in get(server, "/readyz")[1]
    with opened(server) as socket:
        assert "journal" not in receive(socket)


def test_a_folder_that_others_may_read_stops_the_start(flags: list[str], tmp_path: Path) -> None:
    (tmp_path / "journal").mkdir()
    (tmp_path / "journal").chmod(0o755)
    state = ["--state-dir", str(tmp_path / "state")]
    status, said = refused_start([*flags, *state, "--port", "0", "--no-tls", "--journal", str(tmp_path / "journal")])
    assert status == 1 and "others on this machine may enter the journal's folder" in said and "hint: chmod" in said
