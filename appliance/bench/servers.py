"""Servers to measure: how one is started, when it is ready, and that it is gone afterwards."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlencode

from appliance.bench.stream import first_message
from appliance.errors import ApplianceError

DEFAULT_COMMIT = "balanced"

_READY_LIMIT_S = 180.0
_STOP_LIMIT_S = 30.0
_POLL_S = 0.5
_SERVER_VARIABLES = ("MODEL", "PORT", "DIAR", "STATE_DIRECTORY")
_OFFLINE = {"HF_HUB_OFFLINE": "1"}


@dataclass(frozen=True, slots=True)
class Subject:
    """Something to measure. ``argv`` lacks its port, which is added as ``--port N``."""

    name: str
    version: str
    argv: tuple[str, ...]
    query: tuple[tuple[str, str], ...] = ()
    settings: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Server:
    """A server that is ready for clients."""

    subject: Subject
    pid: int
    port: int
    ready_s: float

    def url(self, language: str) -> str:
        query = urlencode({"language": language, **dict(self.subject.query)})
        return f"ws://127.0.0.1:{self.port}/asr?{query}"


def appliance(
    version: str, encoder_dir: Path, decoder_dir: Path, vad_file: Path, commit: str, flags: Sequence[str]
) -> Subject:
    """Our own server with a pair, in one commit mode; ``flags`` are more of its settings."""
    argv = [sys.executable, "-m", "appliance", "serve", "--host", "127.0.0.1", "--no-tls"]
    argv += ["--encoder-dir", str(encoder_dir), "--decoder-dir", str(decoder_dir), "--vad-file", str(vad_file)]
    if commit != DEFAULT_COMMIT:
        argv += ["--commit", commit]
    return Subject(
        name=commit,
        version=version,
        argv=(*argv, *flags),
        query=(("format", "s16le"), ("rate", "16000")),
        settings={"commit": commit, "flags": " ".join(flags)},
    )


@contextmanager
def running(subject: Subject, log_file: Path) -> Iterator[Server]:
    """Start a server on a free loopback port and wait until it takes clients; what it says goes to ``log_file``.

    Raises:
        ApplianceError: it can't be started, ends, or is not ready in time; the end of its log is in the message.
    """
    port = _free_port()
    log_file.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="wlk-bench-") as state_dir, log_file.open("wb") as log:
        argv = [*subject.argv, "--port", str(port)]
        try:
            process = subprocess.Popen(
                argv,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=_environment(state_dir),
                start_new_session=True,
            )
        except OSError as error:
            raise ApplianceError(f"can't start {argv[0]}: {error.strerror}", "is it installed?") from error
        try:
            ready_s = _wait_ready(subject, process, port, log_file)
            yield Server(subject, process.pid, port, ready_s)
        finally:
            _stop(process)


def _environment(state_dir: str) -> dict[str, str]:
    """Ours, without settings of a server, so that all of them stand in the command line."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if not name.startswith("WLK_") and name not in _SERVER_VARIABLES
    }
    return kept | _OFFLINE | {"WLK_STATE_DIR": state_dir}


def _free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
        return port


def _wait_ready(subject: Subject, process: subprocess.Popen[bytes], port: int, log_file: Path) -> float:
    """Seconds from the start to the first `config` message."""
    started_s = time.monotonic()
    url = f"ws://127.0.0.1:{port}/asr"
    while (passed_s := time.monotonic() - started_s) < _READY_LIMIT_S:
        if process.poll() is not None:
            why = f"ended with status {process.returncode} before it was ready"
            break
        if asyncio.run(first_message(url)) == "config":
            return passed_s
        time.sleep(_POLL_S)
    else:
        why = f"was not ready within {_READY_LIMIT_S:g} s"
    tail = log_file.read_text(encoding="utf-8", errors="replace").splitlines()[-12:]
    raise ApplianceError(
        "\n".join([f"{subject.name} {why}", *tail]), f"all it said is in {log_file}", code="server_failed"
    )


def _stop(process: subprocess.Popen[bytes]) -> None:
    """Ask the process to end; then end it and what it started."""
    if process.poll() is None:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(_STOP_LIMIT_S)
    with suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
