"""A recording in parts, cut where nobody speaks, so that memory does not grow with its length."""

import itertools
from collections.abc import Callable, Iterable, Iterator

import numpy as np

from appliance.speech.types import SAMPLE_RATE_HZ, Samples

PART_S = 300
"""Audio that is worked on at once: some 20 MB, and as much again for what is made of it."""

SEARCHED_S = 60
"""The end of a part, in which a place to cut is looked for."""

Spoken = Callable[[Samples], list[tuple[int, int]]]
"""Where speech is in samples: begin and end of each stretch, in order."""


def parts(samples: Iterable[Samples], spoken: Spoken, part_s: float) -> Iterator[Samples]:
    """The samples, in pieces of at most about ``part_s`` seconds; joined they are what came in."""
    size = round(part_s * SAMPLE_RATE_HZ)
    held: list[Samples] = []
    length = 0
    for piece in samples:
        held.append(piece)
        length += piece.size
        if length >= size:
            whole = np.concatenate(held)
            at = _cut(whole, spoken)
            yield whole[:at]
            held, length = [whole[at:].copy()], whole.size - at
    if length:
        yield np.concatenate(held)


def _cut(whole: Samples, spoken: Spoken) -> int:
    """The middle of the longest silence near the end, or the end where there is none."""
    first = max(0, whole.size - SEARCHED_S * SAMPLE_RATE_HZ)
    edges = [(0, 0), *spoken(whole[first:]), (whole.size - first,) * 2]
    gaps = [(after[0] - before[1], (after[0] + before[1]) // 2) for before, after in itertools.pairwise(edges)]
    longest, middle = max(gaps)
    at = first + middle
    return at if longest > 0 and at > 0 else whole.size
