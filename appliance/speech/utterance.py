"""Where utterances begin and end, from a stream of speech probabilities."""

from dataclasses import dataclass
from enum import Enum

from appliance.speech.types import SAMPLE_RATE_HZ
from appliance.speech.vad import WINDOW_SAMPLES

ONSET = 0.5
"""Probability at which speech may begin; silero-vad's own default."""

OFFSET = 0.35
"""Probability under which speech may end: lower than `ONSET`, so that a quiet syllable does not cut a word."""

ONSET_WINDOWS = 3
"""Windows in a row over `ONSET` (96 ms) before an utterance begins: clicks are shorter."""

PAUSE_SAMPLES = SAMPLE_RATE_HZ * 6 // 10
"""A pause this long (0.6 s) ends an utterance."""

LEAD_SAMPLES = SAMPLE_RATE_HZ * 3 // 10
"""Audio kept before the first speech window (0.3 s): soft consonants come before the onset."""

TAIL_SAMPLES = SAMPLE_RATE_HZ * 3 // 10
"""Audio kept after the last speech window (0.3 s)."""


class Boundary(Enum):
    BEGIN = "begin"
    END = "end"


@dataclass(slots=True)
class UtteranceTracker:
    """Turns speech probabilities into utterance boundaries. Positions count samples from the stream's start."""

    position: int = 0
    """Samples judged so far."""

    start: int = 0
    """First sample of the current or last utterance, the lead included; negative where a stream begins with it."""

    end: int = -LEAD_SAMPLES
    """End of the last finished utterance, the tail included: never less than any earlier end."""

    in_speech: bool = False

    last_speech: int = 0
    """End of the last window with speech in it."""

    _run: int = 0

    @property
    def silence(self) -> int:
        """Samples judged since speech was last heard."""
        return self.position - self.last_speech

    @property
    def speech_end(self) -> int:
        """Where the utterance would end if no more speech came: the tail included."""
        return min(self.position, self.last_speech + TAIL_SAMPLES)

    def push(self, probability: float) -> Boundary | None:
        """Judge the next window of 512 samples."""
        self.position += WINDOW_SAMPLES
        if not self.in_speech:
            self._run = self._run + 1 if probability >= ONSET else 0
            if self._run < ONSET_WINDOWS:
                return None
            self.in_speech = True
            self.last_speech = self.position
            self.start = max(self.end, self.position - self._run * WINDOW_SAMPLES - LEAD_SAMPLES)
            return Boundary.BEGIN
        if probability >= OFFSET:
            self.last_speech = self.position
        elif self.silence >= PAUSE_SAMPLES:
            return self.stop()
        return None

    def stop(self) -> Boundary | None:
        """End the current utterance, because of a pause or of the stream's end."""
        if not self.in_speech:
            return None
        self.in_speech = False
        self._run = 0
        self.end = self.speech_end
        return Boundary.END
