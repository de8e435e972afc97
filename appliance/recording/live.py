"""Sound that comes while it is heard: stdin, or a microphone through the machine's own recorder."""

import contextlib
import os
import select
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from typing import IO

import numpy as np

from appliance.errors import ApplianceError
from appliance.speech.audio.decoder import AudioDecoder, AudioFormat
from appliance.speech.types import SAMPLE_RATE_HZ, Samples

_READ_BYTES = 4096
_WAIT_S = 0.2
_END_S = 2.0

RECORDERS = {
    "arecord": ("-q", "-t", "raw", "-f", "S16_LE", "-c", "1", "-r", str(SAMPLE_RATE_HZ)),
    "parec": ("--format=s16le", "--channels=1", f"--rate={SAMPLE_RATE_HZ}", "--latency-msec=50"),
}
"""Programs that record to stdout, the one to take first. PyAV's FFmpeg could, but its ALSA looks for its settings
where it was built, so it finds no device."""

_DEVICE_FLAG = {"arecord": "-D", "parec": "-d"}


def from_stdin(stop: threading.Event, format: AudioFormat = "auto", rate_hz: int = SAMPLE_RATE_HZ) -> Iterator[Samples]:
    """What is piped in, as soon as it is there; a container, or raw mono PCM.

    Raises:
        ApplianceError: stdin is a terminal, or holds no audio that we know.
    """
    if sys.stdin.isatty():
        raise ApplianceError("stdin is a terminal", "pipe audio into it, or name a file")
    yield from _read(sys.stdin.fileno(), AudioDecoder(format, rate_hz=rate_hz), stop)


def from_microphone(stop: threading.Event, device: str = "") -> Iterator[Samples]:
    """What the microphone hears, until ``stop`` is set. ``device``: as the recorder names it; empty: its default.

    Raises:
        ApplianceError: there is no recorder here, or it has no such device.
    """
    name = next((name for name in RECORDERS if shutil.which(name)), None)
    if name is None:
        raise ApplianceError(
            f"no microphone: none of {', '.join(RECORDERS)} is installed",
            "apt install alsa-utils, which has arecord; or pipe audio in: ... | wlk-appliance transcribe -",
        )
    command = [name, *RECORDERS[name], *((_DEVICE_FLAG[name], device) if device else ())]
    with tempfile.TemporaryFile() as said, _running(command, said) as recorder:
        assert recorder.stdout is not None
        yield from _read(recorder.stdout.fileno(), AudioDecoder("s16le"), stop)
        if not stop.is_set():
            status = recorder.wait()
            said.seek(0)
            why = said.read(2000).decode(errors="replace").strip() or f"status {status}"
            raise ApplianceError(f"{name} ended: {why}", f"is there a microphone? {_listing(name)} shows the devices")


@contextlib.contextmanager
def _running(command: list[str], said: IO[bytes]) -> Iterator[subprocess.Popen[bytes]]:
    """In a session of its own, so that Ctrl-C is ours to act on; ended with the block."""
    with subprocess.Popen(
        command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=said, start_new_session=True
    ) as recorder:
        try:
            yield recorder
        finally:
            recorder.terminate()
            try:
                recorder.wait(_END_S)
            except subprocess.TimeoutExpired:
                recorder.kill()


def _listing(name: str) -> str:
    return "arecord -L" if name == "arecord" else "pactl list short sources"


def _read(handle: int, decoder: AudioDecoder, stop: threading.Event) -> Iterator[Samples]:
    try:
        while not stop.is_set():
            if not select.select([handle], [], [], _WAIT_S)[0]:
                yield np.zeros(0, dtype=np.float32)  # so that who waits for more can look at other things
                continue
            data = os.read(handle, _READ_BYTES)
            if not data:
                break
            yield from decoder.feed(data)
        yield from decoder.finish()
    finally:
        decoder.close()
