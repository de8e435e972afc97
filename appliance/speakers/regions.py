"""Where speech is, from a stream of speech probabilities: finer than utterances, as turns begin and end inside them."""

from dataclasses import dataclass

from appliance.speech.utterance import OFFSET, ONSET, ONSET_WINDOWS
from appliance.speech.vad import WINDOW_SAMPLES

PAUSE_SAMPLES = 8 * WINDOW_SAMPLES
"""Silence this long (0.26 s) ends a region."""

PAD_SAMPLES = 3 * WINDOW_SAMPLES
"""What a region has before its first and after its last window of speech (96 ms)."""


@dataclass(frozen=True, slots=True)
class Region:
    """Speech without a pause. Positions count samples from the stream's start."""

    start: int
    end: int


@dataclass(slots=True)
class RegionTracker:
    """Turns speech probabilities into regions of speech."""

    position: int = 0
    """Samples judged so far."""

    start: int | None = None
    """Of the region that has begun and not ended."""

    speech_end: int = 0
    """End of the last window with speech in it, the padding included."""

    _run: int = 0
    _ended: int = 0

    @property
    def silent_until(self) -> int:
        """Up to where there is surely no speech that is not in a region yet."""
        return max(self._ended, self.position - self._run * WINDOW_SAMPLES - PAD_SAMPLES)

    def push(self, probability: float) -> Region | None:
        """Judge the next 512 samples; returns a region that ended by that."""
        self.position += WINDOW_SAMPLES
        if self.start is None:
            self._run = self._run + 1 if probability >= ONSET else 0
            if self._run == ONSET_WINDOWS:
                self.start = self.silent_until
                self.speech_end = self.position
            return None
        if probability >= OFFSET:
            self.speech_end = self.position
        elif self.position - self.speech_end >= PAUSE_SAMPLES:
            return self.stop()
        return None

    def stop(self) -> Region | None:
        """End the current region, because of a pause or of the stream's end."""
        if self.start is None:
            return None
        region = Region(self.start, min(self.position, self.speech_end + PAD_SAMPLES))
        self.start, self._run, self._ended = None, 0, region.end
        return region
