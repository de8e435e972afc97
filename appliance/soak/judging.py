"""What a stream lost, against the same recording undisturbed. Pure: no clock, no socket, no file.

A model hears a word otherwise now and then, and that is no loss. A word is lost where the undisturbed stream heard it
and this one has nothing in its place: `LEAST_RUN` words and more in a row are missing, and fewer than half as many
others stand there.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from appliance.bench.alignment import align
from appliance.words import CHARACTER_LANGUAGES, normalise

LEAST_RUN = 3
"""Words in a row, of languages that are counted by character twice as many."""


@dataclass(frozen=True, slots=True)
class Undisturbed:
    """What the undisturbed stream heard: ``matched``, places in the words of the transcript, and its errors."""

    matched: frozenset[int]
    errors: int


@dataclass(frozen=True, slots=True)
class Judged:
    """``words``: that were said, as far as was heard; ``lost`` of them; ``errors`` beyond the undisturbed stream's: may
    be negative, and is 0 for a stream that was cut short.
    """

    words: int
    lost: int
    errors: int


def undisturbed(transcript: str, language: str, heard: str) -> Undisturbed:
    """Of a stream that nothing happened to."""
    found = align(normalise(transcript, language), normalise(heard, language))
    return Undisturbed(frozenset(place for place, _ in found.matches), found.errors)


def judge(transcript: str, language: str, heard: str, before: Undisturbed, *, whole: bool) -> Judged:
    """Compare; of a stream that was cut short (not ``whole``) only what lies before its last word that is right."""
    reference, words = normalise(transcript, language), normalise(heard, language)
    found = align(reference, words)
    end = len(reference) if whole else max((place + 1 for place, _ in found.matches), default=0)
    least = LEAST_RUN * (2 if language in CHARACTER_LANGUAGES else 1)
    lost = _lost(end, len(words), found.matches, before.matched, least)
    return Judged(end, lost, found.errors - before.errors if whole else 0)


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
