"""Which diarizer is taken; nothing is loaded."""

from pathlib import Path

import pytest

from appliance.errors import ApplianceError
from appliance.pair.locate import open_pair
from appliance.server.models import locate_diarizer
from appliance.server.settings import Settings
from appliance.speakers import load
from appliance.speakers.diarizer import Choice
from appliance.speakers.load import FOLDER, find_diarizer


@pytest.fixture
def nemo(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load, "find_spec", lambda name: object())


@pytest.fixture
def no_nemo(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load, "find_spec", lambda name: None)


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """A folder of models with weights of both kinds."""
    (tmp_path / FOLDER).mkdir()
    for name in ("campplus.pt", "sortformer-v2.nemo"):
        (tmp_path / FOLDER / name).touch()
    return tmp_path


@pytest.mark.usefixtures("nemo")
@pytest.mark.parametrize(
    ("choice", "device", "backend", "name"),
    [
        ("auto", "cuda", "sortformer", "sortformer-v2.nemo"),
        ("auto", "cpu", "embedding", "campplus.pt"),
        ("embedding", "cuda", "embedding", "campplus.pt"),
        ("sortformer", "cpu", "sortformer", "sortformer-v2.nemo"),
    ],
)
def test_the_one_that_fits_the_device(models: Path, choice: Choice, device: str, backend: str, name: str) -> None:
    assert find_diarizer(choice, None, [models / "none", models], device) == (backend, models / FOLDER / name)


@pytest.mark.usefixtures("no_nemo")
def test_auto_goes_without_nemo(models: Path) -> None:
    assert find_diarizer("auto", None, [models], "cuda")[0] == "embedding"
    with pytest.raises(ApplianceError, match="needs NeMo") as caught:
        find_diarizer("sortformer", None, [models], "cuda")
    assert caught.value.code == "missing_diarizer" and "--diarization-backend embedding" in caught.value.hint


@pytest.mark.usefixtures("nemo")
def test_a_file_says_which(models: Path, tmp_path: Path) -> None:
    own = tmp_path / "own.nemo"
    own.touch()
    assert find_diarizer("auto", own, [models], "cpu") == ("sortformer", own)
    with pytest.raises(ApplianceError, match=r"embedding needs a file \.pt; looked at .*own\.nemo"):
        find_diarizer("embedding", own, [models], "cpu")
    with pytest.raises(ApplianceError, match=r"no diarizer: .*gone\.pt not found"):
        find_diarizer("auto", tmp_path / "gone.pt", [models], "cpu")


def test_missing_weights_are_told_with_where_they_were_looked_for(tmp_path: Path) -> None:
    with pytest.raises(ApplianceError) as caught:
        find_diarizer("auto", None, [tmp_path, tmp_path / "base"], "cpu")
    assert str(tmp_path / FOLDER / "*.pt") in caught.value.message and str(tmp_path / "base") in caught.value.message
    assert "WLK_DIARIZATION_FILE" in caught.value.hint


def test_settings_name_it_and_the_voices(models: Path, small_pair: tuple[Path, Path]) -> None:
    pair, voice = open_pair(*small_pair), models / "anna.wav"
    assert locate_diarizer(Settings(), pair, models / "vad.onnx") is None
    settings = Settings(models_dir=models, diarization=True, enroll=(f"Anna={voice}",), sortformer_chunk=12)
    with pytest.raises(ApplianceError, match=r"no recording of Anna: .*anna\.wav not found"):
        locate_diarizer(settings, pair, models / "vad.onnx")
    voice.touch()
    found = locate_diarizer(settings, pair, models / "vad.onnx")
    assert found is not None
    assert (found.backend, Path(found.file).name, found.voices) == ("embedding", "campplus.pt", {"Anna": str(voice)})
    assert found.sortformer.chunk == 12
