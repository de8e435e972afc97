from pathlib import Path

import numpy as np
import pytest
import torch

from appliance.errors import ApplianceError
from appliance.manifest import Manifest
from appliance.speakers.campplus import DIMENSION, CamPlusPlus, load_campplus
from appliance.store import Store
from tests.conftest import fetched


@pytest.fixture(scope="module")
def model(manifest: Manifest, store: Store) -> CamPlusPlus:
    return load_campplus(fetched(manifest.asset("campplus"), store))


def features(windows: int, frames: int) -> np.ndarray[tuple[int, int, int], np.dtype[np.float32]]:
    values = np.sin(np.arange(windows * frames * 80, dtype=np.float64) ** 1.5)
    return values.reshape(windows, frames, 80).astype(np.float32)


@pytest.mark.model
@pytest.mark.parametrize("frames", [14, 98, 250])
def test_unit_vectors_whatever_else_is_in_the_batch(model: CamPlusPlus, frames: int) -> None:
    together = model.embed(features(3, frames))
    assert together.shape == (3, DIMENSION)
    assert together.dtype == np.float32
    assert np.allclose(np.linalg.norm(together, axis=1), 1, atol=1e-5)
    alone = np.concatenate([model.embed(one[None]) for one in features(3, frames)])
    assert np.allclose(together, alone, atol=1e-5)


@pytest.mark.model
@pytest.mark.parametrize(
    ("frames", "expected"),
    [(98, [-0.10505, -0.01087, 0.05286, -0.09334]), (250, [-0.13386, 0.00479, 0.07647, -0.12923])],
)
def test_the_values_of_3d_speakers_own_module(model: CamPlusPlus, frames: int, expected: list[float]) -> None:
    """The first of the vector that speakerlab.models.campplus gives with these weights, brought to length 1."""
    assert np.allclose(model.embed(features(1, frames))[0, :4], expected, atol=1e-4)


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(ApplianceError, match=r"no voice model at .*campplus\.pt"):
        load_campplus(tmp_path / "campplus.pt")


def test_files_that_hold_something_else(tmp_path: Path) -> None:
    file = tmp_path / "campplus.pt"
    for content in (b"", b"not a checkpoint"):
        file.write_bytes(content)
        with pytest.raises(ApplianceError, match="is not a usable CAM"):
            load_campplus(file)
    torch.save({"head.conv1.weight": torch.zeros(1)}, file)
    with pytest.raises(ApplianceError, match="is not a usable CAM"):
        load_campplus(file)
