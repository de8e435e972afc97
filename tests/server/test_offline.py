"""Not one outbound connection: the system calls of a server, from its start through a transcription."""

import re
import shutil
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from appliance.run import run
from tests.conftest import Spoken, missing
from tests.server.running import (
    committed,
    environment,
    field_client,
    opened,
    pcm,
    pieces,
    running,
    updates,
    word_errors,
)

pytestmark = pytest.mark.model

_ADDRESS = re.compile(r'(?:inet_addr\("([^"]+)"\)|inet_pton\(AF_INET6, "([^"]+)")')
_CALLS = ("connect", "sendto", "sendmsg", "sendmmsg")


def tracing(log: Path) -> list[str]:
    strace = shutil.which("strace")
    if strace is None:
        missing("strace is not installed (apt-get install strace)")
    return [strace, "-f", "-qq", "-s", "64", "-e", f"trace={','.join(_CALLS)}", "-o", str(log)]


def outbound(log: Path) -> list[str]:
    """Calls that name an address which is neither this machine's own nor a file's."""
    found = []
    for line in log.read_text(errors="replace").splitlines():
        addresses = [one or other for one, other in _ADDRESS.findall(line)]
        if any(not (address.startswith("127.") or address in ("::1", "::ffff:127.0.0.1")) for address in addresses):
            found.append(line)
    return found


def traced(program: str, log: Path) -> Sequence[str]:
    run([*tracing(log), sys.executable, "-c", program], check=False, timeout_s=60)
    return outbound(log)


@pytest.mark.parametrize(
    "attempt",
    [
        "socket.socket().connect_ex(('192.0.2.1', 9))",
        "socket.socket(socket.AF_INET, socket.SOCK_DGRAM).sendto(b'x', ('192.0.2.1', 53))",
        "socket.socket(socket.AF_INET6, socket.SOCK_DGRAM).connect_ex(('2001:db8::1', 53))",
    ],
)
def test_control_an_attempt_is_seen(attempt: str, tmp_path: Path) -> None:
    program = f"import socket\nsocket.setdefaulttimeout(0.2)\ntry:\n    {attempt}\nexcept OSError:\n    pass"
    assert traced(program, tmp_path / "log")


def test_control_loopback_is_no_attempt(tmp_path: Path) -> None:
    assert not traced("import socket; socket.socket().connect_ex(('127.0.0.1', 9))", tmp_path / "log")
    assert "127.0.0.1" in (tmp_path / "log").read_text()


def test_onnx_runtime_gathers_nothing_to_send(vad_file: Path, tmp_path: Path) -> None:
    """Its wheels keep usage data in the account's cache, and send it after a while, unless they are told not to."""
    program = f"from pathlib import Path; from appliance.speech.vad import VadModel; VadModel(Path({str(vad_file)!r}))"
    env = environment(HOME=str(tmp_path), XDG_CACHE_HOME=str(tmp_path / "cache"))
    env.pop("ORT_DISABLE_TELEMETRY", None)
    run([sys.executable, "-c", program], env=env, timeout_s=60)
    assert list(tmp_path.rglob("*")) == []


def test_server_tries_no_connection(flags: list[str], tmp_path: Path, librivox: tuple[Spoken, ...]) -> None:
    log = tmp_path / "log"
    with running(flags, tmp_path, wrapper=tracing(log)) as server:
        server.wait_for("ready: base")
        with opened(server) as socket:
            final = updates(field_client(socket, pieces(pcm(librivox[0].path))))[-1]
        # strace passes no signals on: end the server itself.
        children = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children").read_text().split()
        run(["kill", "-TERM", *children])
        assert server.process.wait(60) == 0
    assert word_errors(librivox[0].transcript, committed(final)) <= 2
    assert outbound(log) == []
