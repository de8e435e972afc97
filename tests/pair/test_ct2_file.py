import struct
from pathlib import Path

import numpy as np
import pytest

from appliance.errors import ApplianceError
from appliance.pair.ct2_file import open_ct2
from tests.pair.models import SMALL, WIDE, make_weights, write_pair


def header(*, version: int = 6, spec: bytes = b"WhisperSpec\0", count: int = 1) -> bytes:
    return struct.pack("<IH", version, len(spec)) + spec + struct.pack("<II", 3, count)


def variable(name: bytes, shape: tuple[int, ...], kind: int, data: bytes, claimed: int | None = None) -> bytes:
    size = len(data) if claimed is None else claimed
    start = struct.pack("<H", len(name) + 1) + name + b"\0"
    return start + struct.pack(f"<B{len(shape)}IBI", len(shape), *shape, kind, size) + data


NO_ALIASES = struct.pack("<I", 0)


def test_dimensions_come_from_the_shapes(small_ct2: Path) -> None:
    assert open_ct2(small_ct2).dimensions() == SMALL


def test_other_widths(tmp_path: Path) -> None:
    encoder, _ = write_pair(tmp_path, "wide", WIDE)
    assert open_ct2(encoder / "model.bin").dimensions() == WIDE


def test_arrays_are_the_written_values_and_read_only(small_ct2: Path) -> None:
    file = open_ct2(small_ct2)
    embedding = file.array("decoder/embeddings/weight")
    np.testing.assert_array_equal(embedding, make_weights(SMALL)["decoder.token_embedding.weight"])
    with pytest.raises(ValueError, match="read-only"):
        embedding[0] = 0


def test_aliases_are_followed(small_ct2: Path) -> None:
    file = open_ct2(small_ct2)
    assert file.aliases == {"decoder/projection/weight": "decoder/embeddings/weight"}
    assert file.variable("decoder/projection/weight").shape == (SMALL.n_vocab, 128)


def test_missing_variable_is_named(small_ct2: Path) -> None:
    with pytest.raises(ApplianceError, match="no variable 'encoder/conv9/weight'"):
        open_ct2(small_ct2).array("encoder/conv9/weight")


@pytest.mark.parametrize("kept", [0, 3, 10, 25, 100, 5000, -1, -5, -4000])
def test_truncated_anywhere(small_ct2: Path, tmp_path: Path, kept: int) -> None:
    cut = tmp_path / "model.bin"
    cut.write_bytes(small_ct2.read_bytes()[:kept])
    with pytest.raises(ApplianceError, match=r"model\.bin is not a usable CTranslate2 model") as caught:
        open_ct2(cut)
    assert caught.value.code == "broken_model"


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"<html>not found</html>", "starts with"),
        (header(version=5) + NO_ALIASES, "starts with 5 where binary version 6"),
        (header(spec=b"TransformerSpec\0", count=0) + NO_ALIASES, "'TransformerSpec' where a 'WhisperSpec'"),
        (header(spec=b"WhisperSpec!", count=0) + NO_ALIASES, "is not a text"),
        (header(spec=b"\xff\xfe\0", count=0) + NO_ALIASES, "is not a text"),
        (header(count=4_000_000_000), "claims 4000000000 variables"),
        (header() + variable(b"x", (2, 2), 4, b"1234567", claimed=7), "has shape .* but 7 bytes"),
        (header() + variable(b"x", (2,), 9, b"1234"), "of type 9"),
        (header() + variable(b"x", (1,) * 9, 0, b"1234"), "rank 9"),
        (header() + variable(b"x", (2**31, 2), 4, b"", claimed=0), "but 0 bytes"),
        (header() + variable(b"x", (1000,), 4, b"1234", claimed=2000), "inside x"),
        (header(count=0) + NO_ALIASES + b"more", "4 bytes follow its end"),
        (header() + variable(b"x", (), 1, b"1") + struct.pack("<I", 1), "length of an alias"),
    ],
)
def test_garbage_is_refused_with_what_was_expected(tmp_path: Path, content: bytes, said: str) -> None:
    path = tmp_path / "model.bin"
    path.write_bytes(content)
    with pytest.raises(ApplianceError, match=said):
        open_ct2(path)


def test_well_formed_but_no_whisper(tmp_path: Path) -> None:
    path = tmp_path / "model.bin"
    path.write_bytes(header() + variable(b"x", (1,), 1, b"1") + NO_ALIASES)
    with pytest.raises(ApplianceError, match="no variable 'encoder/conv1/weight'"):
        open_ct2(path).dimensions()


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(ApplianceError, match="no such file"):
        open_ct2(tmp_path / "model.bin")
