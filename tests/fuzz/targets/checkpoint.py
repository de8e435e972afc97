"""A site's own decoder: a `.pt`, in torch's format of today or that of before."""

import warnings
from collections.abc import Iterator

from tests.fuzz.pairs import checkpoint, opened


def seeds() -> Iterator[bytes]:
    yield checkpoint()
    yield checkpoint(zipped=False)


def words() -> Iterator[bytes]:
    yield from (
        b"PK\3\4",
        b"PK\1\2",
        b"PK\5\6",
        b"cposix\nsystem\n",
        b"ctorch._utils\n_rebuild_tensor_v2\n",
        b"\x80\x02",
        b"R.",
        b"q\0",
        b"h\0",
    )


def one(data: bytes) -> bool:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return opened("pytorch-whisper-mini/mini.pt", data, decoder="mini.pt")
