"""Text that goes round in circles: how decoders fail when the audio says nothing more."""

from collections.abc import Sequence

_MAX_PHRASE = 12
_REPEATS = 3
_ECHO_WORDS = 3


def repeated_tail(ids: Sequence[int]) -> int:
    """How many ids at the end repeat what stands before them: 0 unless a phrase stands there three times in a row.

    A single token counts only when it stands six times in a row: people do say "no, no, no".
    """
    for size in range(1, _MAX_PHRASE + 1):
        repeats = _REPEATS if size > 2 else 2 * _REPEATS
        if len(ids) < size * repeats:
            continue
        phrase = list(ids[-size:])
        if all(list(ids[len(ids) - (k + 1) * size : len(ids) - k * size]) == phrase for k in range(repeats)):
            return size * (repeats - 1)
    return 0


def is_echo(words: Sequence[str], before: Sequence[str]) -> bool:
    """Whether a text begins with what was said before: its first three words, or both where it has but two."""
    first = list(words[:_ECHO_WORDS])
    return len(first) > 1 and any(list(before[at : at + len(first)]) == first for at in range(len(before)))
