"""Which part of a recording is streamed, and how fast: times on the command line, cutting, pace."""

import re
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Literal

import av
import numpy as np

from appliance.errors import UsageError
from appliance.speech.audio.file import opened
from appliance.speech.types import SAMPLE_RATE_HZ, Samples

FRAME_S = 0.1
FRAME_SAMPLES = SAMPLE_RATE_HZ // 10

LAST_WORDS_S = 5.0
"""How long to wait for the rest of a transcript after its stream was told to stop."""

Pace = Literal["fast", "realtime"]

_TIME = re.compile(r"(?:(?:(?P<hours>\d{1,4}):)?(?P<minutes>\d{1,2}):)?(?P<seconds>\d{1,9}(?:\.\d{1,9})?)", re.ASCII)
_TIMES_HINT = "give seconds (12.5), m:ss (1:30) or h:mm:ss (1:02:03.5)"


def parse_time(text: str) -> float:
    """Seconds of ``12.5``, ``1:30`` or ``1:02:03.5``.

    Raises:
        UsageError: it is none of these, or has 60 minutes or seconds beside a larger unit.
    """
    found = _TIME.fullmatch(text)
    if not found:
        raise UsageError(f"not a time: {text!r}", _TIMES_HINT)
    hours, minutes, seconds = int(found["hours"] or 0), int(found["minutes"] or 0), float(found["seconds"])
    if (found["hours"] and minutes >= 60) or (found["minutes"] and seconds >= 60):
        raise UsageError(f"not a time: {text!r} has 60 or more of a unit", _TIMES_HINT)
    return 3600 * hours + 60 * minutes + seconds


def show_time(seconds: float) -> str:
    """``m:ss`` or ``h:mm:ss``, with hundredths where there are any."""
    hundredths = round(max(0.0, seconds) * 100)
    whole, rest = divmod(hundredths, 100)
    minutes, fraction = whole // 60, f".{rest:02d}" if rest else ""
    if minutes < 60:
        return f"{minutes}:{whole % 60:02d}{fraction}"
    return f"{minutes // 60}:{minutes % 60:02d}:{whole % 60:02d}{fraction}"


class Clip:
    """The part of a recording from ``start_s`` to ``end_s`` (None: to its end), cut to the sample.

    Iterate once. What comes before is decoded and dropped, since seeking is not exact in every format.

    Raises:
        UsageError: the times are reversed; or, while iterating, the recording ends before ``start_s``.
    """

    def __init__(self, samples: Iterable[Samples], start_s: float = 0.0, end_s: float | None = None) -> None:
        if end_s is not None and end_s <= start_s:
            raise UsageError(
                f"--to {show_time(end_s)} is not after --from {show_time(start_s)}",
                "give a later --to, or leave it out to go to the end",
            )
        self._samples = samples
        self._start = round(start_s * SAMPLE_RATE_HZ)
        self._end = None if end_s is None else round(end_s * SAMPLE_RATE_HZ)
        self._position = 0

    @property
    def position_s(self) -> float:
        """How far the recording was read: after a whole iteration, where it ended or the clip did."""
        return self._position / SAMPLE_RATE_HZ

    def __iter__(self) -> Iterator[Samples]:
        for piece in self._samples:
            first = max(0, self._start - self._position)
            last = len(piece) if self._end is None else min(len(piece), self._end - self._position)
            self._position += last
            if first < last or not len(piece):
                yield piece[first:last]
            if self._position == self._end:
                return
        if self._start and self._position <= self._start:
            raise UsageError(
                f"--from {show_time(self._start / SAMPLE_RATE_HZ)} is beyond the end of the audio, "
                f"which is {show_time(self.position_s)} long",
                "give an earlier --from",
            )


def frames(samples: Iterable[Samples]) -> Iterator[Samples]:
    """Pieces of any size as pieces of 100 ms; the last may be shorter. An empty one, "nothing yet", is passed on."""
    rest: Samples = np.zeros(0, dtype=np.float32)
    for piece in samples:
        if not piece.size:
            yield piece
        rest = np.concatenate([rest, piece])
        whole = rest.size // FRAME_SAMPLES * FRAME_SAMPLES
        for start in range(0, whole, FRAME_SAMPLES):
            yield rest[start : start + FRAME_SAMPLES]
        rest = rest[whole:]
    if rest.size:
        yield rest


def paced(samples: Iterable[Samples], pace: Pace, stop: threading.Event | None = None) -> Iterator[Samples]:
    """Frames of 100 ms, each when a microphone would have it (``realtime``) or at once; ends when ``stop`` is set."""
    stop = stop or threading.Event()
    started, given = time.monotonic(), 0
    for frame in frames(samples):
        given += frame.size
        if pace == "realtime":
            stop.wait(max(0.0, started + given / SAMPLE_RATE_HZ - time.monotonic()))
        if stop.is_set():
            return
        yield frame


def duration_s(path: Path) -> float | None:
    """How long a recording says it is; None where it doesn't, or can't be read (decoding tells why)."""
    try:
        with opened(path) as container:
            stream = container.streams.audio[0] if container.streams.audio else None
            if stream is not None and stream.duration and stream.time_base:
                return float(stream.duration * stream.time_base)
            return container.duration / av.time_base if container.duration else None
    except (OSError, av.FFmpegError):
        return None
