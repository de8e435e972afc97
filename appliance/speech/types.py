"""What the ear hands to the wire: words, lines, and a picture of the transcript at one moment."""

from dataclasses import dataclass
from typing import NewType

import numpy as np
from numpy.typing import NDArray

SAMPLE_RATE_HZ = 16_000
"""Every array of samples in this package is mono float32 in [-1, 1] at this rate."""

Samples = NDArray[np.float32]
"""Mono samples, shape ``(n,)``, float32 in [-1, 1], 16 kHz."""

Speaker = NewType("Speaker", int)
"""1-based speaker number, or `SILENCE`."""

SILENCE = Speaker(-2)
FIRST_SPEAKER = Speaker(1)

SENTENCE_ENDS = (".", "?", "!", "。", "？", "！", "…")
"""What a sentence's text may end with."""


@dataclass(frozen=True, slots=True)
class Word:
    """A committed word. ``text`` keeps its leading space; times are seconds from the start of the stream."""

    text: str
    start_s: float
    end_s: float
    probability: float


@dataclass(frozen=True, slots=True)
class Line:
    """A stretch of one speaker, or of silence (``speaker == SILENCE``, no text).

    ``name``: of a speaker who was enrolled. ``translation``: of its text, as far as there is one by now.
    """

    speaker: Speaker
    text: str
    start_s: float
    end_s: float
    words: tuple[Word, ...] = ()
    language: str | None = None
    name: str | None = None
    translation: str | None = None


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The transcript at one moment.

    ``lines`` are committed: only the last one can still grow, at its end. ``pruned`` counts lines
    dropped from the front since the stream began, so ``pruned + i`` numbers ``lines[i]`` for good.
    ``tentative`` may change. ``received_s`` is how much audio came in, ``decided_s`` up to where it
    has been turned into text (or known to be silence).

    With speakers told apart, ``undiarized`` is committed text whose speaker is not known yet, ``diarized_s`` up to
    where speakers are known (None: they are not told apart), and the last lines' speakers may still change.
    ``translation`` is the tentative translation of what no line's has yet.

    ``is_final``, where it is translated: nothing changes any more but translations, of which some are missing.
    """

    lines: tuple[Line, ...]
    pruned: int
    tentative: str
    received_s: float
    decided_s: float
    undiarized: str = ""
    diarized_s: float | None = None
    translation: str = ""
    is_final: bool = False

    @property
    def lag_s(self) -> float:
        return max(0.0, self.received_s - self.decided_s)

    @property
    def diarization_lag_s(self) -> float:
        """Seconds of audio whose speakers are not known yet; 0 where they are not told apart."""
        return 0.0 if self.diarized_s is None else max(0.0, self.received_s - self.diarized_s)
