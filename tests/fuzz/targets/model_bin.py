"""The header of a pair's CTranslate2 file, and half of it copied."""

from collections.abc import Iterator
from itertools import islice

from appliance.pair.ct2_file import open_ct2
from tests.conftest import ROOT
from tests.fuzz.pairs import ct2_file, ct2_text, ct2_variable, model_bin, opened


def seeds() -> Iterator[bytes]:
    yield model_bin()


def words() -> Iterator[bytes]:
    names = ("encoder/num_heads", "decoder/num_heads", "encoder/conv1/weight", "decoder/embeddings/weight")
    yield from (ct2_text(name) for name in names)
    yield from (ct2_variable(name, (), 1, b"\0") for name in names)
    yield from (ct2_variable(name, (2,), 1, b"\1\1") for name in names)
    real = ROOT / "build/pairs/base/faster-whisper-base/model.bin"
    if real.is_file():  # the head of the real one
        with open_ct2(real) as model:
            yield from (
                ct2_variable(each.name, each.shape, 0, model.stored(each, 16))
                for each in islice(model.variables.values(), 40)
            )
    yield ct2_file({})


def one(data: bytes) -> bool:
    return opened("faster-whisper-mini/model.bin", data)
