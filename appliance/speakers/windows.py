"""A stream's speech, cut into windows to hear voices in."""

import threading
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from appliance.speakers.regions import Region, RegionTracker
from appliance.speech.types import SAMPLE_RATE_HZ, Samples
from appliance.speech.vad import WINDOW_SAMPLES, VadModel, VadStream

HEARD_SAMPLES = SAMPLE_RATE_HZ
"""A voice is heard in a second of speech, where a region has as much."""

HOP_SAMPLES = SAMPLE_RATE_HZ // 2
"""From one window to the next in a region."""

_FAR = 0.3
"""Probability of speech that outweighs the way from where two windows' parts would meet to the next window's part."""

_STEP_SAMPLES = 4 * SAMPLE_RATE_HZ
"""Audio that one step takes, at most."""


@dataclass(frozen=True, slots=True)
class Window:
    """Samples to hear a voice in, and the part of the stream they stand for: positions from its start."""

    samples: Samples
    start: int
    end: int


class SpeechWindows:
    """One stream. `feed` and `finish` may be called from any thread, the rest from one at a time.

    The windows of a region stand for about the half second in their middle, the first also for what is before it, and
    the last, which ends with the region, for all that is left: people take turns in a pause, however short, so the
    parts meet where there is least speech. What is kept of the audio is what windows still need.
    """

    def __init__(self, vad: VadModel) -> None:
        self._vad = VadStream(vad)
        self._regions = RegionTracker()
        self._lock = threading.Lock()
        self._fed: deque[Samples] = deque()
        self._total = 0
        self._finished = False
        self._ended = False
        self._audio: Samples = np.zeros(0, dtype=np.float32)
        self._audio_start = 0
        self._speech: deque[float] = deque(maxlen=HEARD_SAMPLES // WINDOW_SAMPLES + 1)
        self._in_region = False
        self._covered = 0
        self._heard_from = 0

    @property
    def pending(self) -> bool:
        whole = self._total - self._regions.position >= WINDOW_SAMPLES
        return whole or (self._finished and not self._ended)

    @property
    def done(self) -> bool:
        return self._ended

    @property
    def decided(self) -> int:
        """The position up to which windows stand for all the speech there is."""
        if self._ended:
            return self._total
        return self._covered if self._in_region else self._regions.silent_until

    def feed(self, samples: Samples) -> None:
        with self._lock:
            self._fed.append(samples)
            self._total += len(samples)

    def finish(self) -> None:
        with self._lock:
            self._finished = True

    def advance(self) -> list[Window]:
        """The windows of the next 4 s at most, as far as they are fed."""
        samples, last = self._taken()
        self._audio = np.concatenate([self._audio, samples])
        windows: list[Window] = []
        for piece in samples.reshape(-1, WINDOW_SAMPLES):
            self._speech.append(self._vad.probability(piece))
            region = self._regions.push(self._speech[-1])
            windows += self._last_of(region) if region else self._whole()
        if last:
            region = self._regions.stop()
            windows += self._last_of(region) if region else ()
            self._ended = True
        self._forget()
        return windows

    def _taken(self) -> tuple[Samples, bool]:
        """Samples for the VAD, and whether they are the last: these are filled up with silence."""
        pieces: list[Samples] = [np.zeros(0, dtype=np.float32)]
        wanted = _STEP_SAMPLES
        with self._lock:
            while wanted and self._fed:
                piece = self._fed.popleft()
                pieces.append(piece[:wanted])
                if len(piece) > wanted:
                    self._fed.appendleft(piece[wanted:])
                wanted -= len(pieces[-1])
            last = self._finished and not self._fed
            samples = np.concatenate(pieces)
            rest = len(samples) % WINDOW_SAMPLES
            if last:
                return np.pad(samples, (0, -rest % WINDOW_SAMPLES)), True
            if rest:
                self._fed.appendleft(samples[-rest:])
            return samples[: len(samples) - rest], False

    def _whole(self) -> Iterator[Window]:
        start = self._regions.start
        if start is None:
            return
        if not self._in_region:
            self._in_region = True
            self._covered = self._heard_from = start
        while self._regions.speech_end >= self._heard_from + HEARD_SAMPLES:
            middle = self._heard_from + (HEARD_SAMPLES + HOP_SAMPLES) // 2
            yield self._window(self._heard_from + HEARD_SAMPLES, self._quietest(middle))
            self._heard_from += HOP_SAMPLES

    def _quietest(self, around: int) -> int:
        """Where within a quarter of a second there is least speech; where all is alike, there."""
        reach = HOP_SAMPLES // 2 - WINDOW_SAMPLES
        first = self._regions.position - len(self._speech) * WINDOW_SAMPLES + WINDOW_SAMPLES // 2
        middles = range(first, self._regions.position, WINDOW_SAMPLES)
        costs = {
            middle: speech + _FAR * abs(middle - around) / reach
            for middle, speech in zip(middles, self._speech, strict=True)
            if abs(middle - around) <= reach
        }
        return min(costs, key=costs.__getitem__, default=around)

    def _last_of(self, region: Region) -> Iterator[Window]:
        end = min(region.end, self._total)
        self._heard_from = max(region.start, end - HEARD_SAMPLES)
        yield self._window(end, end)
        self._in_region = False

    def _window(self, heard_to: int, end: int) -> Window:
        heard = self._audio[self._heard_from - self._audio_start : heard_to - self._audio_start]
        window = Window(heard, self._covered, end)
        self._covered = end
        return window

    def _forget(self) -> None:
        regions = self._regions
        last = regions.speech_end - HEARD_SAMPLES
        needed = min(self._heard_from, last) if self._in_region else regions.silent_until
        drop = max(0, needed - self._audio_start)
        self._audio = self._audio[drop:]
        self._audio_start += drop
