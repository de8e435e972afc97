"""Runs an image with networking off, hardened as at a site, and streams real speech through its WebSocket."""

import logging
import secrets
import time
import wave
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from appliance.container.engine import Engine
from appliance.errors import ApplianceError
from appliance.words import word_errors

log = logging.getLogger(__name__)

HARDENING = ("--read-only", "--tmpfs", "/tmp", "--cap-drop", "ALL", "--security-opt", "no-new-privileges")
"""How the appliance is meant to run everywhere; `scripts/run_wlk.sh` uses the same."""

WORST_RATE = 0.3
"""Word error rate over which the demo fails: a broken model makes 0.9 and more."""

_READY_S = 120.0
_POLL_S = 0.25
_SAID_FILE = "/tmp/transcript.txt"
_STREAM = f"python3 -m appliance transcribe - --pace realtime --url wss://127.0.0.1:8000/asr >{_SAID_FILE}"


@dataclass(frozen=True, slots=True)
class Heard:
    """What a running image made of a recording, and how long it took to become ready."""

    transcript: str
    ready_s: float
    streamed_s: float


@contextmanager
def running(engine: Engine, image: str, *options: str) -> Iterator[str]:
    """The name of a container of the image with networking off; it is removed at the end, whatever happens."""
    name = f"wlk-demo-{secrets.token_hex(4)}"
    words = ["run", "--detach", "--name", name, "--network", "none", *HARDENING, *engine.limits]
    words += [*options, image]  # its state is a volume of its own, which goes with it
    try:
        engine.can_run()
        engine.run(words, capture=True, hint=f"is {image} here, and for this machine?")
        yield name
    finally:
        engine.run(["rm", "--force", "--volumes", name], check=False, capture=True)


def wait_ready(engine: Engine, name: str, limit_s: float = _READY_S) -> float:
    """Seconds until the container's server says it is ready.

    Raises:
        ApplianceError: it stopped, or isn't ready in time; its log is in the message.
    """
    started = time.monotonic()
    while time.monotonic() - started < limit_s:
        asked = engine.run(["exec", name, "python3", "-m", "appliance", "health", "--ready"], check=False, capture=True)
        if asked.returncode == 0:
            return time.monotonic() - started
        if engine.output(["inspect", "--format", "{{.State.Running}}", name]) != "true":
            raise ApplianceError(f"the container stopped before it was ready:\n{_log_tail(engine, name)}")
        time.sleep(_POLL_S)
    raise ApplianceError(f"the container was not ready within {limit_s:.0f} s:\n{_log_tail(engine, name)}")


def stream(engine: Engine, name: str, audio: Path) -> str:
    """Stream a file at real-time pace through the container's own WebSocket; the text grows on stderr.

    Raises:
        ApplianceError: the stream failed.
    """
    with audio.open("rb") as file:
        engine.run(["exec", "--interactive", name, "sh", "-c", _STREAM], stdin=file, hint="the lines above say why")
    return engine.output(["exec", name, "cat", _SAID_FILE])


def demonstrate(engine: Engine, image: str, audio: Path) -> Heard:
    """Start the image, stream the audio, stop it.

    Raises:
        ApplianceError: it does not start, does not become ready, or the stream fails.
    """
    with running(engine, image) as name:
        log.info("started %s without network; waiting until it is ready", name)
        ready_s = wait_ready(engine, name)
        log.info("ready after %.1f s; streaming %s at real-time pace", ready_s, audio.name)
        started = time.monotonic()
        transcript = stream(engine, name, audio)
        return Heard(transcript, ready_s, time.monotonic() - started)


def check(reference: str, heard: Heard) -> str:
    """The comparison in words.

    Raises:
        ApplianceError: there is no transcript, or it is far from the reference.
    """
    if not heard.transcript.strip():
        raise ApplianceError("the appliance ran, and heard nothing", "is the recording silent?", code="demo_failed")
    found = word_errors(reference, heard.transcript)
    if found.rate > WORST_RATE:
        raise ApplianceError(
            f"the transcript is far from what was said: {found.errors} errors in {found.words} words",
            "the image is damaged or its model is not the one it claims: build it again",
            code="demo_failed",
        )
    return f"{found.errors} errors in {found.words} words"


def join_recordings(files: Sequence[Path], target: Path, pause_s: float = 0.6) -> float:
    """One 16-bit mono WAV file of several, with pauses between; returns its length in seconds.

    Raises:
        ApplianceError: they differ in rate, or aren't 16-bit mono.
    """
    pieces: list[bytes] = []
    rates: set[int] = set()
    for file in files:
        with wave.open(str(file), "rb") as source:
            if (source.getnchannels(), source.getsampwidth()) != (1, 2):
                raise ApplianceError(f"{file} is not a 16-bit mono recording", "name others for the demo")
            rates.add(source.getframerate())
            pieces.append(source.readframes(source.getnframes()))
    if len(rates) != 1:
        raise ApplianceError(f"recordings of different sampling rates: {sorted(rates)} Hz", "name others for the demo")
    rate_hz = rates.pop()
    joined = bytes(2 * int(pause_s * rate_hz)).join(pieces)
    target.parent.mkdir(parents=True, exist_ok=True)
    with wave.open(str(target), "wb") as sink:
        sink.setnchannels(1)
        sink.setsampwidth(2)
        sink.setframerate(rate_hz)
        sink.writeframes(joined)
    return len(joined) / 2 / rate_hz


def _log_tail(engine: Engine, name: str) -> str:
    done = engine.run(["logs", "--tail", "20", name], check=False, capture=True)
    return (done.stdout + done.stderr).strip()
