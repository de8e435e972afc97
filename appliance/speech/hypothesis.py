"""What a stream asks of the models, and what it gets: a window of audio, and a hypothesis of its text."""

import math
from dataclasses import dataclass
from enum import Enum
from typing import Literal

from appliance.speech.types import SAMPLE_RATE_HZ, Samples

FRAME_SAMPLES = 320
"""Samples per encoder frame: 20 ms, so 50 frames a second."""

FRAMES_PER_S = SAMPLE_RATE_HZ // FRAME_SAMPLES

FULL_WINDOW_SAMPLES = 30 * SAMPLE_RATE_HZ
"""The window Whisper was trained on, and the longest it can hear."""

TOKENS_PER_S = 14
"""More tokens than this per second of audio is no speech but a loop."""

UNLIKELY = -1.0
"""Mean natural log of a token's probability under which Whisper's reference believes no text (its
``logprob_threshold``)."""

Task = Literal["transcribe", "translate"]
"""``translate`` gives English, whatever is spoken."""

CONTEXT_TOKENS = 100
"""How many tokens of earlier text are given as context."""


def token_budget(frames: int) -> int:
    """The most tokens that so much audio, 20 ms a frame, can hold."""
    return int(frames / FRAMES_PER_S * TOKENS_PER_S) + 8


class End(Enum):
    """Why a pass stopped."""

    TEXT = "end-of-text token"
    AUDIO = "attention reached the end of the audio"
    REWIND = "attention jumped back"
    REPETITION = "text repeats itself"
    LENGTH = "too many tokens"


@dataclass(frozen=True, slots=True)
class Token:
    """A decoded token; ``frame`` is the most attended one, 20 ms each from the window's start."""

    id: int
    probability: float
    frame: int


@dataclass(frozen=True, slots=True)
class Hypothesis:
    """The tokens after the prefix, and what ended them.

    ``ends_word``: the token that was not taken, since it attends to the end of the audio, begins another word; so the
    last word taken is whole.
    """

    tokens: tuple[Token, ...]
    end: End
    language: str
    language_probability: float
    no_speech_probability: float
    ends_word: bool = False

    @property
    def mean_log_probability(self) -> float:
        if not self.tokens:
            return 0.0
        return sum(math.log(max(token.probability, 1e-9)) for token in self.tokens) / len(self.tokens)


@dataclass(frozen=True, slots=True)
class Request:
    """One pass: what to recognise.

    ``prefix``: committed tokens of this window, forced. ``draft``: what the pass before found after them; its first
    ``firm`` tokens are kept unless another is likelier by more than ``margin`` (natural log). ``context``: tokens
    spoken before the window. ``language``: a code, or None to choose among ``languages`` (empty: all), with
    ``previous_language`` in mind. ``is_final``: no audio follows, so the text runs to its end. ``beam``: hypotheses
    followed at once; 1 is greedy. ``padded_samples``: length the window is padded to with silence.
    """

    window: Samples
    padded_samples: int
    prefix: tuple[int, ...] = ()
    draft: tuple[int, ...] = ()
    firm: int = 0
    margin: float = 0.0
    context: tuple[int, ...] = ()
    language: str | None = None
    languages: tuple[str, ...] = ()
    previous_language: str | None = None
    task: Task = "transcribe"
    is_final: bool = False
    beam: int = 1
