import wave
from pathlib import Path

import pytest

from appliance.container.demo import Heard, check, join_recordings
from appliance.errors import ApplianceError


def record(path: Path, seconds: float, rate_hz: int = 16000, width: int = 2) -> Path:
    with wave.open(str(path), "wb") as sink:
        sink.setnchannels(1)
        sink.setsampwidth(width)
        sink.setframerate(rate_hz)
        sink.writeframes(bytes(int(seconds * rate_hz) * width))
    return path


def test_joined_recording_is_as_long_as_its_parts_and_pauses(tmp_path: Path) -> None:
    files = [record(tmp_path / "a.wav", 1.0), record(tmp_path / "b.wav", 2.0)]
    assert join_recordings(files, tmp_path / "out/whole.wav", pause_s=0.5) == pytest.approx(3.5)
    with wave.open(str(tmp_path / "out/whole.wav"), "rb") as whole:
        assert whole.getnframes() == 56000


@pytest.mark.parametrize("other", [{"rate_hz": 8000}, {"width": 1}])
def test_recordings_that_do_not_fit_are_refused(tmp_path: Path, other: dict[str, int]) -> None:
    files = [record(tmp_path / "a.wav", 1.0), record(tmp_path / "b.wav", 1.0, **other)]
    with pytest.raises(ApplianceError):
        join_recordings(files, tmp_path / "whole.wav")


def test_good_transcript_passes_and_says_how_good() -> None:
    assert check("he was not an ill disposed young man", Heard("He was not an ill disposed man.", 1, 1)) == (
        "1 errors in 8 words"
    )


@pytest.mark.parametrize("said", ["", "  \n", "something else altogether was heard here"])
def test_empty_or_wrong_transcript_fails(said: str) -> None:
    with pytest.raises(ApplianceError) as raised:
        check("he was not an ill disposed young man", Heard(said, 1, 1))
    assert raised.value.code == "demo_failed"
