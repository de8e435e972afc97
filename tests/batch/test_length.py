from pathlib import Path

import numpy as np
import pytest

from appliance.batch.length import check_length, limited
from appliance.errors import ApplianceError
from tests.speech.audio.signals import ENCODINGS, encode, speechlike


@pytest.mark.parametrize("name", ENCODINGS)
def test_a_file_that_is_too_long_is_told_by_its_packets(name: str, tmp_path: Path) -> None:
    encoding = ENCODINGS[name]
    file = tmp_path / "audio"
    file.write_bytes(encode(encoding, speechlike(encoding.rate_hz, seconds=6)))
    check_length(file, 6.0)
    with pytest.raises(ApplianceError) as caught:
        check_length(file, 4.5)
    assert caught.value.code == "too_long" and "0.075 minutes" in caught.value.message


def test_what_cannot_be_read_is_for_decoding_to_tell(tmp_path: Path) -> None:
    check_length(tmp_path / "none", 1.0)
    (tmp_path / "text").write_text("hello " * 100)
    check_length(tmp_path / "text", 1.0)


def test_samples_are_counted_all_the_same() -> None:
    second = np.zeros(16000, dtype=np.float32)
    assert len(list(limited([second] * 5, 5.0))) == 5
    counted = limited([second] * 10, 5.0)
    with pytest.raises(ApplianceError, match="longer than"):
        list(counted)
