from pathlib import Path

import ctranslate2
import numpy as np
import pytest

from appliance.errors import ApplianceError
from appliance.pair.ct2_file import open_ct2
from appliance.pair.encoder_half import encoder_half
from appliance.pair.locate import Pair
from tests.pair.models import WIDE, write_pair


def encoded(model: ctranslate2.models.Whisper, mels: int) -> np.ndarray:
    features = np.random.default_rng(1).normal(size=(1, mels, 400)).astype(np.float32)
    return np.array(model.encode(ctranslate2.StorageView.from_array(features)))


@pytest.mark.model
@pytest.mark.parametrize("compute_type", ["int8", "float32"])
def test_the_half_encodes_the_same(base_pair: Pair, compute_type: str) -> None:
    directory, mels = base_pair.encoder_dir, base_pair.dimensions.n_mels
    whole = ctranslate2.models.Whisper(str(directory), compute_type=compute_type)
    with encoder_half(directory) as folder:
        half = ctranslate2.models.Whisper(str(folder), compute_type=compute_type)
    assert not folder.exists()
    np.testing.assert_array_equal(encoded(half, mels), encoded(whole, mels))


def test_the_decoder_is_left_out(tmp_path: Path) -> None:
    directory, _ = write_pair(tmp_path, "wide", WIDE)
    (directory / "vocabulary.json").write_text("[]")
    whole = open_ct2(directory / "model.bin")
    with encoder_half(directory) as folder:
        assert (folder / "vocabulary.json").read_text() == "[]"
        half = open_ct2(folder / "model.bin")
    encoder = {name for name in whole.variables if name.startswith("encoder/")}
    assert encoder and encoder == {name for name in half.variables if name.startswith("encoder/")}
    for name in encoder:
        np.testing.assert_array_equal(half.array(name), whole.array(name))
    assert half.dimensions().n_text_layer == 1
    assert half.variable("decoder/embeddings/weight").shape == (8, WIDE.n_text_state)
    assert half.revision == whole.revision
    assert half.aliases == whole.aliases


def test_a_missing_model_is_named(tmp_path: Path) -> None:
    with pytest.raises(ApplianceError, match=r"no such file: .*model\.bin"), encoder_half(tmp_path):
        pass
