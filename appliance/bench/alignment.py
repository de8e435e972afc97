"""Which words of two transcripts are the same: Levenshtein with the way back, fast enough for an hour of speech."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from appliance.errors import ApplianceError

MOST_WORDS = 30_000
"""Three hours of quick speech; the table of two such texts takes 1.8 GB."""


@dataclass(frozen=True, slots=True)
class Alignment:
    """``errors``: substitutions, insertions and deletions. ``matches``: (place in reference, place in heard)."""

    errors: int
    matches: tuple[tuple[int, int], ...]


def align(reference: Sequence[str], heard: Sequence[str]) -> Alignment:
    """The alignment with the fewest errors; of equal ones, that which matches the earliest words.

    (Where the same recording is streamed again and again, the heard start of a broken stream is its first round.)

    Raises:
        ApplianceError: a text is too long.
    """
    longest = max(len(reference), len(heard))
    if longest > MOST_WORDS:
        raise ApplianceError(
            f"a transcript of {longest} words is too long to compare; at most {MOST_WORDS}", "give shorter recordings"
        )
    numbers = {word: number for number, word in enumerate({*reference, *heard})}
    rows = np.array([numbers[word] for word in reference], dtype=np.int32)
    columns = np.array([numbers[word] for word in heard], dtype=np.int32)
    table = _distances(rows, columns)
    return Alignment(int(table[-1, -1]), tuple(_matches(table, rows, columns)))


def _distances(rows: NDArray[np.int32], columns: NDArray[np.int32]) -> NDArray[np.uint16]:
    """Errors between the first i and the first j words, shape ``(rows + 1, columns + 1)``."""
    places = np.arange(len(columns) + 1, dtype=np.int32)
    table = np.empty((len(rows) + 1, len(columns) + 1), dtype=np.uint16)
    table[0] = places
    row = places
    for i, word in enumerate(rows, 1):
        best = np.empty_like(row)
        best[0] = i
        np.minimum(row[1:] + 1, row[:-1] + (columns != word), out=best[1:])
        row = np.minimum.accumulate(best - places) + places  # a step to the right is one more error each
        table[i] = row
    return table


def _matches(table: NDArray[np.uint16], rows: NDArray[np.int32], columns: NDArray[np.int32]) -> list[tuple[int, int]]:
    i, j = len(rows), len(columns)
    found = []
    while i and j:
        here = int(table[i, j])
        if here == table[i - 1, j] + 1:
            i -= 1
        elif here == table[i, j - 1] + 1:
            j -= 1
        else:
            i, j = i - 1, j - 1
            if rows[i] == columns[j]:
                found.append((i, j))
    return found[::-1]
