"""What a file that was sent leaves behind, however that ends: nothing on disk, and nothing that is still held open."""

import contextlib
import signal
import socket as sockets
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx2
import numpy as np
import pytest

from tests.conftest import Spoken
from tests.server.files.openapi_hooks import silence
from tests.server.running import Running, environment, running

pytestmark = pytest.mark.model

PATH = "v1/audio/transcriptions"
PATIENCE_S = 600.0


def until(done: Callable[[], object], timeout_s: float = 300) -> None:
    deadline = time.monotonic() + timeout_s
    while not done():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def of_all(server: Running) -> list[int]:
    """The server, and what it started."""
    found = [server.process.pid]
    for task in Path(f"/proc/{server.process.pid}/task").iterdir():
        with contextlib.suppress(OSError):  # a thread that has ended
            found += map(int, (task / "children").read_text().split())
    return found


def kept(server: Running) -> list[str]:
    """Files without a name that are still open, by which a file's content would still be there."""
    found = []
    for pid in of_all(server):
        with contextlib.suppress(FileNotFoundError):
            for opened in Path(f"/proc/{pid}/fd").iterdir():
                with contextlib.suppress(FileNotFoundError):
                    target = str(opened.readlink())
                    if target.startswith(str(server.state_dir.parent)) and target.endswith(" (deleted)"):
                        found.append(target)
    return found


def left(server: Running) -> list[Path]:
    """Files with a name, but for what a server keeps for itself."""
    temporary = server.state_dir.parent / "tmp"
    return [
        path for folder in (server.state_dir / "uploads", temporary) for path in folder.rglob("*") if not path.is_dir()
    ]


@contextlib.contextmanager
def started(flags: list[str], folder: Path) -> Iterator[Running]:
    (folder / "tmp").mkdir(exist_ok=True)
    variables = environment(TMPDIR=str(folder / "tmp"))
    with running(["--no-tls", *flags], folder / "state", env=variables) as server:
        server.wait_for("ready: base")
        yield server


@pytest.fixture(scope="module")
def server(flags: list[str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    with started(flags, tmp_path_factory.mktemp("left")) as found:
        yield found


def begun(server: Running, content: bytes, part: float) -> sockets.socket:
    """A connection on which that part of a form was sent."""
    body = b'--b\r\nContent-Disposition: form-data; name="file"; filename="a"\r\n\r\n' + content + b"\r\n--b--\r\n"
    head = (
        f"POST /{PATH} HTTP/1.1\r\nHost: a\r\nContent-Type: multipart/form-data; boundary=b\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    made = sockets.create_connection(("127.0.0.1", server.port))
    made.sendall(head.encode() + body[: int(len(body) * part)])
    return made


def hour() -> bytes:
    """A file that takes long: noise, so that nobody skips it."""
    samples = np.random.default_rng(8).integers(-3000, 3000, 16_000 * 600, dtype=np.int16).tobytes()
    head = b"RIFF" + (36 + len(samples)).to_bytes(4, "little") + b"WAVEfmt " + (16).to_bytes(4, "little")
    form = b"".join(number.to_bytes(size, "little") for number, size in ((1, 2), (1, 2), (16000, 4), (32000, 4)))
    return head + form + b"\x02\x00\x10\x00data" + len(samples).to_bytes(4, "little") + samples


def test_a_file_that_is_answered(server: Running, librivox: tuple[Spoken, ...]) -> None:
    sent = {"file": ("a", librivox[0].path.read_bytes())}
    assert httpx2.post(server.url + PATH, files=sent, timeout=PATIENCE_S).status_code == 200
    until(lambda: not kept(server))
    assert left(server) == []


def test_a_file_that_can_not_be_heard(server: Running) -> None:
    sent = {"file": ("a", b"this is no sound" * 1000)}
    assert httpx2.post(server.url + PATH, files=sent, timeout=PATIENCE_S).status_code == 400
    until(lambda: not kept(server))
    assert left(server) == []


def test_a_form_that_breaks_off(server: Running) -> None:
    with contextlib.closing(begun(server, silence() * 20, 0.5)):
        until(lambda: kept(server))
        assert left(server) == [], "it has no name on disk while it comes"
    until(lambda: not kept(server))
    assert left(server) == []


def test_a_client_that_goes_away_while_its_file_is_worked_on(server: Running) -> None:
    with contextlib.closing(begun(server, hour(), 1.0)):
        until(lambda: len(of_all(server)) > 1 and kept(server))
        assert left(server) == []
    until(lambda: not kept(server))
    assert left(server) == []
    assert not any("file: 600.0 s of audio" in line for line in server.lines), "it was not worked on to its end"


def test_a_server_that_is_killed_leaves_nothing_to_clear(flags: list[str], tmp_path: Path) -> None:
    """While one file is worked on, and another one comes: what has no name is gone with who held it."""
    with started(flags, tmp_path) as server:
        with contextlib.closing(begun(server, hour(), 1.0)), contextlib.closing(begun(server, silence() * 20, 0.5)):
            until(lambda: len(of_all(server)) > 1 and len(kept(server)) >= 2)
            everybody = of_all(server)
            server.process.send_signal(signal.SIGKILL)
            server.process.wait(30)
            until(lambda: not any(Path(f"/proc/{pid}/exe").exists() for pid in everybody))
        assert left(server) == []
    with started(flags, tmp_path) as again:
        assert left(again) == kept(again) == []
