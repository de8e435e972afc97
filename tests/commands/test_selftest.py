"""`selftest` with the real pair, as an image runs it."""

import shutil
from pathlib import Path

import pytest

from appliance.commands.selftest import main
from appliance.errors import ApplianceError
from appliance.pair.locate import Pair
from tests.conftest import Spoken
from tests.server.running import running

pytestmark = pytest.mark.model


@pytest.fixture
def models(base_pair: Pair, vad_file: Path, librivox: tuple[Spoken, ...], tmp_path: Path) -> Path:
    """A folder like an image's ``/models``."""
    (tmp_path / "base").symlink_to(base_pair.encoder_dir.parent)
    (tmp_path / "silero_vad.onnx").symlink_to(vad_file)
    (tmp_path / "samples").mkdir()
    shutil.copy(librivox[0].path, tmp_path / "samples/one.wav")
    (tmp_path / "samples/one.txt").write_text(librivox[0].transcript, encoding="utf-8")
    return tmp_path


def test_it_passes_where_the_words_are_right_and_fails_where_not(
    models: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["--models-dir", str(models)]) == 0
    assert "selftest passed: 1 recordings" in capsys.readouterr().out
    (models / "samples/one.txt").write_text("something else was said here", encoding="utf-8")
    with pytest.raises(ApplianceError, match="selftest failed on: one"):
        main(["--models-dir", str(models)])


def test_it_asks_a_running_server(
    models: Path, flags: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    with running(["--no-tls", "--token", "a-secret", *flags], tmp_path / "state") as server:
        server.wait_for("ready: base")
        words = ["--models-dir", str(models), "--url", server.url.replace("http", "ws") + "asr"]
        with pytest.raises(ApplianceError, match="token"):
            main(words)
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("WLK_TOKEN", "a-secret")
            assert main(words) == 0
            assert "selftest passed: 1 recordings" in capsys.readouterr().out
            (models / "samples/one.txt").write_text("something else was said here", encoding="utf-8")
            with pytest.raises(ApplianceError, match="selftest failed on: one"):
                main(words)


def test_it_runs_where_the_server_would_run(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An image for GPUs must not pass on the CPU: here torch is built without CUDA."""
    monkeypatch.setenv("WLK_DEVICE", "cuda")
    with pytest.raises(ApplianceError, match=r"without CUDA|no NVIDIA driver"):
        main(["--models-dir", str(models)])
