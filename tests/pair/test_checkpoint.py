from pathlib import Path

import numpy as np
import pytest
import torch

from appliance.errors import ApplianceError
from appliance.pair.checkpoint import open_checkpoint
from tests.pair.models import SMALL, make_weights, save_checkpoint, save_dangerous


def test_dimensions_and_weights(small_pt: Path) -> None:
    checkpoint = open_checkpoint(small_pt, with_encoder=True)
    assert checkpoint.dimensions == SMALL
    weights = make_weights(SMALL)
    assert checkpoint.weights.keys() == weights.keys()
    np.testing.assert_array_equal(checkpoint.weights["encoder.conv1.weight"].numpy(), weights["encoder.conv1.weight"])


def test_older_file_format_that_cannot_be_mapped(tmp_path: Path) -> None:
    state = {name: torch.from_numpy(half.copy()) for name, half in make_weights(SMALL).items()}
    path = tmp_path / "old.pt"
    torch.save({"dims": SMALL.as_dict(), "model_state_dict": state}, path, _use_new_zipfile_serialization=False)
    assert open_checkpoint(path, with_encoder=True).dimensions == SMALL


def test_code_is_refused_and_does_not_run(tmp_path: Path) -> None:
    marker = tmp_path / "ran"
    path = save_dangerous(tmp_path / "evil.pt", marker)
    with pytest.raises(ApplianceError, match="holds more than weights") as caught:
        open_checkpoint(path, with_encoder=False)
    assert caught.value.code == "unsafe_checkpoint"
    assert not marker.exists()
    torch.load(path, weights_only=False)
    assert marker.exists(), "the file is as dangerous as this test needs it to be"


def test_decoder_alone_is_enough_where_no_encoder_is_wanted(tmp_path: Path) -> None:
    decoder = {name: half for name, half in make_weights(SMALL).items() if name.startswith("decoder.")}
    path = save_checkpoint(tmp_path / "decoder.pt", SMALL, decoder)
    assert open_checkpoint(path, with_encoder=False).weights.keys() == decoder.keys()
    with pytest.raises(ApplianceError, match=r"no weight 'encoder\.conv1\.weight'"):
        open_checkpoint(path, with_encoder=True)


@pytest.mark.parametrize("kept", [0, 2, 100, -1, -200, 50_000])
def test_truncated(small_pt: Path, kept: int) -> None:
    small_pt.write_bytes(small_pt.read_bytes()[:kept])
    with pytest.raises(ApplianceError, match=r"mini\.pt"):
        open_checkpoint(small_pt, with_encoder=True)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ([1, 2], "no 'dims'"),
        ({"model_state_dict": {}}, "no 'dims'"),
        ({"dims": {"n_mels": 80}, "model_state_dict": {}}, "ten sizes"),
        ({"dims": SMALL.as_dict() | {"n_vocab": -1}, "model_state_dict": {}}, "ten sizes"),
        ({"dims": SMALL.as_dict(), "model_state_dict": []}, "not a mapping"),
    ],
)
def test_other_contents(tmp_path: Path, content: object, said: str) -> None:
    path = tmp_path / "other.pt"
    torch.save(content, path)
    with pytest.raises(ApplianceError, match=said):
        open_checkpoint(path, with_encoder=False)


def test_wrong_shape_is_named(tmp_path: Path) -> None:
    weights = make_weights(SMALL)
    weights["decoder.ln.bias"] = weights["decoder.ln.bias"][:5]
    path = save_checkpoint(tmp_path / "bent.pt", SMALL, weights)
    with pytest.raises(ApplianceError, match=r"decoder\.ln\.bias is torch\.float16 \(5,\), expected a float \(128,\)"):
        open_checkpoint(path, with_encoder=False)


def test_more_layers_than_said(tmp_path: Path) -> None:
    weights = make_weights(SMALL)
    weights["decoder.blocks.3.attn.query.weight"] = weights["decoder.blocks.2.attn.query.weight"]
    path = save_checkpoint(tmp_path / "deep.pt", SMALL, weights)
    with pytest.raises(ApplianceError, match="says 3 decoder layers, but has more"):
        open_checkpoint(path, with_encoder=False)
