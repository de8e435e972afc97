import sys
import wave
from pathlib import Path

import pytest
import torch

from appliance.bench.clips import Clip
from appliance.bench.peer import find_peer, peer
from appliance.errors import ApplianceError
from appliance.pair.checkpoint import open_checkpoint
from appliance.pair.locate import Pair
from tests.pair.models import HEADS, SMALL, make_weights, save_checkpoint

CLIP = Clip("one", "en", bytes(3200), "hello")


@pytest.fixture
def environment(tmp_path: Path) -> Path:
    """An environment whose python says a version, and its wlk."""
    folder = tmp_path / "environment" / "bin"
    folder.mkdir(parents=True)
    for name, text in (("python", "#!/bin/sh\necho 0.2.26\n"), ("wlk", f"#!{sys.executable}\n")):
        (folder / name).write_text(text)
        (folder / name).chmod(0o755)
    return folder


@pytest.fixture
def pair(tmp_path: Path) -> Pair:
    decoder = save_checkpoint(tmp_path / "mini.pt", SMALL, make_weights(SMALL))
    return Pair("mini", tmp_path / "faster-whisper-mini", decoder, SMALL, HEADS)


def test_the_peer_gets_the_pair_and_a_warm_up_file(environment: Path, pair: Pair, tmp_path: Path) -> None:
    found = peer(find_peer(str(environment / "wlk")), pair, "en", CLIP, tmp_path / "out")
    assert (found.name, found.version, found.query) == ("WhisperLiveKit", "0.2.26", ())
    given = dict(zip(found.argv, found.argv[1:], strict=False))
    assert given["--decoder-model-path"] == str(pair.decoder_file)
    assert given["--encoder-model-path"] == str(pair.encoder_dir)
    assert (given["--language"], given["--backend"]) == ("en", "faster-whisper")
    assert "--pcm-input" in found.argv and "--port" not in found.argv
    with wave.open(given["--warmup-file"]) as file:
        assert (file.getframerate(), file.getnchannels(), file.getnframes()) == (16000, 1, 1600)


@pytest.mark.model
def test_a_decoder_is_made_where_the_pair_has_none_as_checkpoint(
    environment: Path, base_pair: Pair, tmp_path: Path
) -> None:
    found = peer(find_peer(str(environment / "wlk")), base_pair, "en", CLIP, tmp_path / "out")
    made = open_checkpoint(
        Path(dict(zip(found.argv, found.argv[1:], strict=False))["--decoder-model-path"]), with_encoder=True
    )
    assert made.dimensions == base_pair.dimensions
    assert all(weight.dtype == torch.float16 for weight in made.weights.values())


def test_no_peer(tmp_path: Path) -> None:
    with pytest.raises(ApplianceError, match="no WhisperLiveKit at '/nowhere/wlk'") as caught:
        find_peer("/nowhere/wlk")
    assert "--peer" in caught.value.hint
    alone = tmp_path / "wlk"
    alone.write_text("#!/bin/sh\n")
    alone.chmod(0o755)
    with pytest.raises(ApplianceError, match="no python beside"):
        find_peer(str(alone))
