"""What is streamed: audio with its transcript and the time at which each word was spoken."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import cycle

from appliance.errors import ApplianceError
from appliance.speech.types import SAMPLE_RATE_HZ

PAUSE_S = 0.6
"""Between joined recordings."""

LONGEST_S = 3 * 3600.0

_SAMPLE_BYTES = 2


@dataclass(frozen=True, slots=True)
class SpokenWord:
    """A word, and when it ended in seconds from the start of the audio."""

    text: str
    end_s: float


@dataclass(frozen=True, slots=True)
class Clip:
    """``pcm``: 16 kHz mono s16le. ``transcript``: what was said; None where nobody wrote it down, "" where nothing was.

    ``batch`` is what batch decoding heard, with ``words`` its words.
    """

    name: str
    language: str
    pcm: bytes
    transcript: str | None
    batch: str = ""
    words: tuple[SpokenWord, ...] = ()

    @property
    def length_s(self) -> float:
        return len(self.pcm) / _SAMPLE_BYTES / SAMPLE_RATE_HZ


def join(clips: Sequence[Clip], at_least_s: float, *, first: int = 0, name: str = "joined") -> Clip:
    """Clips one after the other from number ``first`` on, and again from the start, until it is long enough.

    Raises:
        ApplianceError: there is nothing to join, or it would be too long.
    """
    if not any(clip.pcm for clip in clips) or at_least_s > LONGEST_S:
        raise ApplianceError(
            f"can't join {len(clips)} recordings to {at_least_s:g} s of speech",
            f"give recordings that aren't empty, and ask for at most {LONGEST_S:g} s",
        )
    pause = bytes(_SAMPLE_BYTES * round(PAUSE_S * SAMPLE_RATE_HZ))
    pcm = bytearray()
    taken: list[Clip] = []
    words: list[SpokenWord] = []
    order = cycle([*clips[first % len(clips) :], *clips[: first % len(clips)]])
    while len(pcm) / _SAMPLE_BYTES / SAMPLE_RATE_HZ < at_least_s or not taken:
        clip = next(order)
        offset_s = len(pcm) / _SAMPLE_BYTES / SAMPLE_RATE_HZ
        words += [SpokenWord(word.text, word.end_s + offset_s) for word in clip.words]
        pcm += clip.pcm + pause
        taken.append(clip)
    texts = [clip.transcript for clip in taken]
    return Clip(
        name=name,
        language=taken[0].language,
        pcm=bytes(pcm),
        transcript=None if None in texts else " ".join(filter(None, texts)),
        batch=" ".join(clip.batch for clip in taken),
        words=tuple(words),
    )
