"""What stands beside a pair: `pair.json`, or where there is none the model's `config.json`. A byte chooses."""

from collections.abc import Iterator

from tests.fuzz.pairs import opened, pair_json


def seeds() -> Iterator[bytes]:
    yield b"p" + pair_json()
    yield b'c{"alignment_heads": [[0, 0], [1, 0]]}'


def words() -> Iterator[bytes]:
    yield from (
        b'"dimensions"',
        b'"alignment_heads"',
        b'"files"',
        b'"schema"',
        b"null",
        b"true",
        b"[[0, 0]]",
        b"1e999",
        b"[" * 900,
    )


def one(data: bytes) -> bool:
    return opened("faster-whisper-mini/config.json" if data[:1] == b"c" else "pair.json", data[1:])
