"""A pair's `decoder.safetensors`."""

from collections.abc import Iterator

from tests.fuzz.pairs import decoder_file, opened


def seeds() -> Iterator[bytes]:
    yield decoder_file()


def words() -> Iterator[bytes]:
    yield from (
        b'"data_offsets":[0,0]',
        b'"shape":[]',
        b'"dtype":"BF16"',
        b'"dtype":"I64"',
        b'"__metadata__"',
        b'"shape":[-1]',
    )


def one(data: bytes) -> bool:
    return opened("pytorch-whisper-mini/decoder.safetensors", data)
