from pathlib import Path

import numpy as np
import pytest

from appliance.errors import ApplianceError
from appliance.speech.audio.file import decode_file
from tests.speech.audio.signals import ENCODINGS, Encoding, direct, encode, likeness, speechlike


@pytest.mark.parametrize("name", [*ENCODINGS, "mp4-index-at-end"])
def test_file_gives_its_audio(name: str, tmp_path: Path) -> None:
    encoding = ENCODINGS.get(name, Encoding("mp4", "aac", 48000, "mono", {}, 1200))
    signal = speechlike(encoding.rate_hz)
    file = tmp_path / "audio"
    file.write_bytes(encode(encoding, signal))
    out = np.concatenate(list(decode_file(file)))
    expected = direct(encoding, signal)
    assert abs(out.size - expected.size) <= max(encoding.tolerance_samples, 2)
    assert likeness(out, expected)[0] > 0.97


def test_what_is_no_audio(tmp_path: Path) -> None:
    with pytest.raises(ApplianceError, match="can't read"):
        list(decode_file(tmp_path / "none"))
    with pytest.raises(ApplianceError, match="can't read"):
        list(decode_file(tmp_path))
    (tmp_path / "text").write_text("hello " * 100)
    with pytest.raises(ApplianceError, match="no audio that can be decoded"):
        list(decode_file(tmp_path / "text"))


@pytest.mark.parametrize("name", ["flac", "mp3", "ogg-opus", "wav-16k"])
def test_a_file_that_was_cut_off_gives_what_is_there(name: str, tmp_path: Path) -> None:
    encoding = ENCODINGS[name]
    whole = encode(encoding, speechlike(encoding.rate_hz))
    file = tmp_path / "audio"
    file.write_bytes(whole)
    seconds = sum(piece.size for piece in decode_file(file))
    file.write_bytes(whole[: len(whole) * 2 // 3])
    assert 0.2 * seconds < sum(piece.size for piece in decode_file(file)) < 0.9 * seconds
