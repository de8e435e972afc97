"""A stream's speech, cut into windows to hear voices in."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from appliance.speakers.regions import Region, RegionTracker
from appliance.speech.types import SAMPLE_RATE_HZ, Samples
from appliance.speech.vad import WINDOW_SAMPLES, VadModel, VadStream

HEARD_SAMPLES = SAMPLE_RATE_HZ * 3 // 2
"""A voice is heard in 1.5 s of speech, where a region has as much."""

HOP_SAMPLES = SAMPLE_RATE_HZ * 3 // 4
"""From one window to the next in a region."""

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

    The windows of a region stand for the 0.75 s in their middle, the first also for what is before it, and the last,
    which ends with the region, for all that is left. What is kept of the audio is what they still need.
    """

    def __init__(self, vad: VadModel) -> None:
        self._vad = VadStream(vad)
        self._regions = RegionTracker()
        self._lock = threading.Lock()
        self._fed: list[Samples] = []
        self._total = 0
        self._finished = False
        self._ended = False
        self._audio: Samples = np.zeros(0, dtype=np.float32)
        self._audio_start = 0
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
        for piece in np.split(samples, range(WINDOW_SAMPLES, len(samples), WINDOW_SAMPLES)) if len(samples) else ():
            region = self._regions.push(self._vad.probability(piece))
            windows += self._last_of(region) if region else self._whole()
        if last:
            region = self._regions.stop()
            windows += self._last_of(region) if region else ()
            self._ended = True
        self._forget()
        return windows

    def _taken(self) -> tuple[Samples, bool]:
        """Samples for the VAD, and whether they are the last: these are filled up with silence."""
        with self._lock:
            samples = np.concatenate([np.zeros(0, dtype=np.float32), *self._fed])
            count = min(len(samples), _STEP_SAMPLES)
            last = self._finished and count == len(samples)
            if last:
                samples = np.pad(samples, (0, -count % WINDOW_SAMPLES))
                count = len(samples)
            count -= count % WINDOW_SAMPLES
            self._fed = [samples[count:]]
            return samples[:count], last

    def _whole(self) -> Iterator[Window]:
        start = self._regions.start
        if start is None:
            return
        if not self._in_region:
            self._in_region = True
            self._covered = self._heard_from = start
        while self._regions.speech_end >= self._heard_from + HEARD_SAMPLES:
            yield self._window(self._heard_from + HEARD_SAMPLES, self._heard_from + (HEARD_SAMPLES + HOP_SAMPLES) // 2)
            self._heard_from += HOP_SAMPLES

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
        # The last window of a region may begin up to a whole one before its end.
        needed = (
            (self._regions.position - HEARD_SAMPLES) - HEARD_SAMPLES if self._in_region else self._regions.silent_until
        )
        drop = max(0, needed - self._audio_start)
        self._audio = self._audio[drop:]
        self._audio_start += drop
