"""A pair whose files changed after it was baked."""

import shutil
from pathlib import Path

import pytest

from appliance.errors import ApplianceError
from appliance.pair.intact import DamagedModel, check_intact
from appliance.pair.locate import Pair, find_pair

pytestmark = pytest.mark.model


@pytest.fixture
def copied(base_pair: Pair, tmp_path: Path) -> Pair:
    """The real pair, to be damaged."""
    shutil.copytree(base_pair.encoder_dir.parent, tmp_path / "base")
    return find_pair(tmp_path, "base")


def flip(file: Path, at: int) -> None:
    """Another byte there, and the same size and date."""
    with file.open("r+b") as opened:
        opened.seek(at)
        [byte] = opened.read(1)
        opened.seek(at)
        opened.write(bytes([byte ^ 1]))


def test_a_pair_as_it_was_baked(copied: Pair) -> None:
    check_intact(copied)
    (copied.encoder_dir.parent / "pair.json").unlink()
    flip(copied.decoder_file, 1_000_000)
    check_intact(copied)  # nothing says what it was


def test_one_bit_is_found_and_the_file_is_named(copied: Pair) -> None:
    for file in (copied.decoder_file, copied.encoder_dir / "tokenizer.json", copied.encoder_dir / "model.bin"):
        flip(file, file.stat().st_size // 2)
        with pytest.raises(DamagedModel, match="another content than was baked") as caught:
            check_intact(copied)
        assert str(file) in caught.value.message and caught.value.hint and caught.value.exit_status == 70
        flip(file, file.stat().st_size // 2)
    (copied.encoder_dir / "config.json").unlink()
    with pytest.raises(DamagedModel, match=r"config\.json can't be read"):
        check_intact(copied)
    (copied.encoder_dir.parent / "pair.json").write_text("{")
    with pytest.raises(ApplianceError, match=r"pair\.json"):
        check_intact(copied)
