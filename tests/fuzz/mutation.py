"""Inputs made of real ones: bytes changed, cut, doubled and exchanged, and what breaks parsers put between."""

import random
from collections.abc import Sequence

from hypothesis import strategies
from hypothesis.strategies import SearchStrategy

LONGEST = 1 << 17
_NUMBERS = (
    0,
    1,
    *(power + more for power in (1 << 7, 1 << 8, 1 << 15, 1 << 16, 1 << 31, 1 << 32, 1 << 63) for more in (-1, 0)),
)
_TROUBLE = (
    b"\0", b"\xff", b"\xed\xa0\x80", b"\xef\xbb\xbf", b"\r\n", b"../", b"..\\", b"%s%n", b"NaN", b"1e999", b"-1",
    b"9" * 5000, b"[" * 2000, b'{"a":' * 2000, b"\\ud800", b"null", b"{}", b"[]", b'""', b"$(id)", b"A" * 70_000,
)  # fmt: skip


def mutated(seeds: Sequence[bytes], words: Sequence[bytes] = ()) -> SearchStrategy[bytes]:
    """A real input with up to eight changes. ``words``: what may be put in, beside what is trouble anywhere."""
    changes = strategies.integers(0, (1 << 64) - 1)
    return strategies.builds(
        lambda seed, other, number: mutate(seed, other, random.Random(number), words),
        strategies.sampled_from(list(seeds)),
        strategies.sampled_from(list(seeds)),
        changes,
    )


def mutate(seed: bytes, other: bytes, rng: random.Random, words: Sequence[bytes]) -> bytes:
    """``other``: another real input, of which pieces are put in."""
    data = bytearray(seed)
    for _ in range(rng.randint(0, 8)):
        at = rng.randrange(len(data) + 1)
        end = min(len(data), at + rng.choice((1, 1, 2, 4, 8, 64, 1024)))
        match rng.randrange(9):
            case 0 if data:
                data[at % len(data)] ^= 1 << rng.randrange(8)
            case 1:
                data[at:end] = rng.randbytes(end - at)
            case 2:
                del data[at:end]
            case 3:
                data[at:at] = data[at:end]
            case 4:
                size = rng.choice((1, 2, 4, 8))
                number = rng.choice(_NUMBERS) & ((1 << 8 * size) - 1)
                data[at : at + size] = number.to_bytes(size, rng.choice(("little", "big")))
            case 5:
                data[at:at] = rng.choice(_TROUBLE)
            case 6 if words:
                data[at:end] = rng.choice(list(words))
            case 7:
                start = rng.randrange(len(other) + 1)
                data[at:end] = other[start : start + end - at]
            case _:
                del data[at:]
    return bytes(data[:LONGEST])
