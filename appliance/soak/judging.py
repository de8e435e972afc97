"""What a stream lost, against the same recording undisturbed. Pure: no clock, no socket, no file.

A model hears a word otherwise now and then, and that is no loss. A word is lost where the undisturbed stream heard it
and this one has nothing in its place: `LEAST_RUN` words and more in a row are missing, and fewer than half as many
others stand there. It is said twice where as many words in a row are heard again at once, and the undisturbed stream
did not hear them so.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from appliance.bench.alignment import align
from appliance.words import CHARACTER_LANGUAGES, normalise

LEAST_RUN = 3
"""Words in a row, of languages that are counted by character twice as many."""

_BEHIND = 0.3
_AHEAD = 0.1
"""By so much of all words a stream that was cut short may have been told fewer, or more, than the part of its audio
that was sent says: it commits some seconds late, and neither words nor the bytes of a container are evenly spread.
"""


@dataclass(frozen=True, slots=True)
class Undisturbed:
    """What the undisturbed stream heard: ``matched``, places in the words of the transcript, its errors, and how many
    words it heard ``twice``.
    """

    matched: frozenset[int]
    errors: int
    twice: int = 0


@dataclass(frozen=True, slots=True)
class Judged:
    """``words``: that were said, as far as was heard; ``lost`` of them; ``errors`` beyond the undisturbed stream's: may
    be negative, and is 0 for a stream that was cut short; ``twice``: heard so beyond what the undisturbed one heard.
    """

    words: int
    lost: int
    errors: int
    twice: int = 0


def undisturbed(transcript: str, language: str, heard: str) -> Undisturbed:
    """Of a stream that nothing happened to."""
    words = normalise(heard, language)
    found = align(normalise(transcript, language), words)
    twice = _twice(words, found.matches, _least(language))
    return Undisturbed(frozenset(place for place, _ in found.matches), found.errors, twice)


def judge(transcript: str, language: str, heard: str, before: Undisturbed, *, sent: float | None = None) -> Judged:
    """Compare. Of a stream that was cut short, when ``sent`` of its audio (from 0 to 1) had been sent, only what lies
    before its last word that is right counts.
    """
    reference, words = normalise(transcript, language), normalise(heard, language)
    if sent is not None:
        reference = reference[: _came_to(reference, words, sent)]
    found = align(reference, words)
    end = len(reference) if sent is None else max((place + 1 for place, _ in found.matches), default=0)
    least = _least(language)
    lost = _lost(end, len(words), found.matches, before.matched, least)
    twice = max(0, _twice(words, found.matches, least) - before.twice)
    return Judged(end, lost, found.errors - before.errors if sent is None else 0, twice)


def _least(language: str) -> int:
    return LEAST_RUN * (2 if language in CHARACTER_LANGUAGES else 1)


def _came_to(reference: Sequence[str], words: Sequence[str], sent: float) -> int:
    """How many words had been told: of the numbers that are possible the one with the most right and the fewest wrong.

    (Where the same is said again and again, the last words heard would fit any of its rounds.)
    """
    most = len(reference)
    possible = range(max(0, round((sent - _BEHIND) * most)), min(most, round((sent + _AHEAD) * most)) + 1)

    def fit(count: int) -> int:
        found = align(reference[:count], words)
        return len(found.matches) - found.errors

    return max(possible, key=fit)


def _lost(end: int, heard: int, matches: Sequence[tuple[int, int]], before: frozenset[int], least: int) -> int:
    """Words in gaps between matches that were matched before, where fewer than half as many others were heard."""
    lost = 0
    edges = [(-1, -1), *((i, j) for i, j in matches if i < end), (end, heard)]
    for (i, j), (next_i, next_j) in pairwise(edges):
        missing = sum(place in before for place in range(i + 1, next_i))
        others = next_j - j - 1
        if missing >= least and others < missing / 2:
            lost += missing - others
    return lost


def _twice(words: Sequence[str], matches: Sequence[tuple[int, int]], least: int) -> int:
    """Words between matches that stand in no place of the transcript, and repeat those just before or after them."""
    twice = 0
    edges = [(-1, -1), *matches, (-1, len(words))]
    for (_, j), (_, next_j) in pairwise(edges):
        extra = words[j + 1 : next_j]
        count = len(extra)
        around = (words[max(0, j + 1 - count) : j + 1], words[next_j : next_j + count])
        if count >= least and extra in around:
            twice += count
    return twice
