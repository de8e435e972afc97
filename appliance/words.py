"""Word errors of a transcript against a reference: what self-tests and benchmarks are judged by."""

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass

CHARACTER_LANGUAGES = frozenset({"zh", "ja", "ko", "yue", "th"})
"""Written without spaces, or with spaces that carry little: counted by character."""


@dataclass(frozen=True, slots=True)
class WordErrors:
    """``errors``: substitutions, insertions and deletions; ``words``: of the reference."""

    errors: int
    words: int

    @property
    def rate(self) -> float:
        return self.errors / max(1, self.words)


def normalise(text: str, language: str = "en") -> list[str]:
    """Words (or characters) without case, marks and apostrophes."""
    folded = unicodedata.normalize("NFKC", text).lower().replace("’", "'").replace("'", "")
    kept = "".join(c if c.isalnum() or unicodedata.category(c).startswith("M") else " " for c in folded)
    return [c for c in kept if not c.isspace()] if language in CHARACTER_LANGUAGES else kept.split()


def word_errors(reference: str, heard: str, language: str = "en") -> WordErrors:
    """Levenshtein distance in words between two texts, after `normalise`."""
    expected = normalise(reference, language)
    return WordErrors(_distance(expected, normalise(heard, language)), len(expected))


def _distance(expected: Sequence[str], heard: Sequence[str]) -> int:
    row = list(range(len(heard) + 1))
    for i, word in enumerate(expected, 1):
        diagonal, row[0] = row[0], i
        for j, other in enumerate(heard, 1):
            diagonal, row[j] = row[j], min(row[j] + 1, row[j - 1] + 1, diagonal + (word != other))
    return row[-1]
