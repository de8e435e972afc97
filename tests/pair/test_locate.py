import json
import os
import shutil
import subprocess
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from appliance.errors import ApplianceError
from appliance.pair.decoder_file import FILE_NAME, write_decoder
from appliance.pair.decoder_weights import load_decoder_weights
from appliance.pair.locate import find_pair, open_pair
from appliance.pair.weight_names import decoder_shapes
from tests.conftest import missing
from tests.pair.models import HEADS, SMALL, WIDE, make_weights, save_checkpoint, save_dangerous, write_pair

Folders = tuple[Path, Path]


def refused(encoder: Path, decoder: Path, code: str) -> ApplianceError:
    with pytest.raises(ApplianceError) as caught:
        open_pair(encoder, decoder)
    assert caught.value.code == code, caught.value
    assert caught.value.hint
    return caught.value


def test_pair_without_record(small_pair: Folders) -> None:
    pair = open_pair(*small_pair)
    assert (pair.name, pair.dimensions, pair.alignment_heads) == ("mini", SMALL, HEADS)
    assert pair.decoder_file == small_pair[1] / FILE_NAME


def test_site_pair_with_a_pt_loads_as_it_is(small_pair: Folders) -> None:
    encoder, decoder = small_pair
    baked = load_decoder_weights(open_pair(encoder, decoder))
    (decoder / FILE_NAME).unlink()
    save_checkpoint(decoder / "mini.pt", SMALL, make_weights(SMALL))
    pair = open_pair(encoder, decoder)
    assert pair.decoder_file.name == "mini.pt"
    site = load_decoder_weights(pair)
    assert {name: tuple(weight.shape) for name, weight in site.items()} == decoder_shapes(SMALL)
    for name, weight in baked.items():
        np.testing.assert_array_equal(site[name].numpy(), weight.numpy(), name)


def test_find_in_a_folder_of_its_own_and_directly(tmp_path: Path) -> None:
    write_pair(tmp_path / "one", "flat")
    write_pair(tmp_path / "one" / "nested", "nested")
    assert find_pair(tmp_path / "one", "flat").name == "flat"
    assert find_pair(tmp_path / "one", "nested").name == "nested"
    with pytest.raises(ApplianceError, match="no model 'huge'") as caught:
        find_pair(tmp_path / "one", "huge")
    assert "flat, nested" in caught.value.hint
    with pytest.raises(ApplianceError, match="no such folder"):
        find_pair(tmp_path / "two", "flat")


def test_opening_a_baked_pair_imports_no_torch(small_pair: Folders) -> None:
    code = (
        "import sys; from pathlib import Path; from appliance.pair.locate import open_pair;"
        "open_pair(Path(sys.argv[1]), Path(sys.argv[2]));"
        "sys.exit(' '.join({'torch', 'ctranslate2', 'faster_whisper'} & set(sys.modules)) or 0)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *map(str, small_pair)], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr.strip()) == (0, "")


def test_wide_encoder_with_narrow_decoder_names_both(tmp_path: Path) -> None:
    wide, _ = write_pair(tmp_path / "a", "medium", WIDE)
    _, narrow = write_pair(tmp_path / "b", "base", SMALL)
    error = refused(wide, narrow, "mismatched_pair")
    assert "faster-whisper-medium" in error.message
    assert "pytorch-whisper-base" in error.message
    assert "width is 192 in faster-whisper-medium, 128 in pytorch-whisper-base" in error.message
    assert "medium.pt" in error.hint
    assert "wlk-appliance bake medium" in error.hint


def test_wide_encoder_with_narrow_pt(tmp_path: Path) -> None:
    wide, decoder = write_pair(tmp_path, "medium", WIDE)
    (decoder / FILE_NAME).unlink()
    save_checkpoint(decoder / "base.pt", SMALL, make_weights(SMALL))
    error = refused(wide, decoder, "mismatched_pair")
    assert "base.pt" in error.message


@pytest.mark.parametrize(
    ("changed", "said"),
    [
        ({"n_vocab": SMALL.n_vocab + 1}, "vocabulary size"),
        ({"n_text_layer": 2}, "number of decoder layers is 3 in faster-whisper-mini, 2 in"),
        ({"n_text_ctx": 16}, "text context"),
    ],
)
def test_other_decoders_of_the_same_width(small_pair: Folders, changed: dict[str, int], said: str) -> None:
    weights = make_weights(replace(SMALL, **changed))
    decoder = {name.removeprefix("decoder."): half for name, half in weights.items() if name.startswith("decoder.")}
    write_decoder(small_pair[1] / FILE_NAME, decoder)
    assert said in refused(*small_pair, "mismatched_pair").message


def test_same_sizes_but_other_weights(small_pair: Folders) -> None:
    weights = make_weights(SMALL, seed=1)
    decoder = {name.removeprefix("decoder."): half for name, half in weights.items() if name.startswith("decoder.")}
    write_decoder(small_pair[1] / FILE_NAME, decoder)
    assert "other weights" in refused(*small_pair, "mismatched_pair").message
    (small_pair[1] / FILE_NAME).unlink()
    save_checkpoint(small_pair[1] / "mini.pt", SMALL, weights)
    assert "other weights" in refused(*small_pair, "mismatched_pair").message


def test_missing_folders(small_pair: Folders, tmp_path: Path) -> None:
    encoder, decoder = small_pair
    assert str(tmp_path / "x") in refused(tmp_path / "x", decoder, "missing_encoder").message
    error = refused(encoder, tmp_path / "x", "missing_decoder")
    assert str(tmp_path / "x") in error.message
    assert "mini.pt" in error.hint


@pytest.mark.parametrize(
    ("name", "code"),
    [
        ("model.bin", "missing_encoder"),
        ("tokenizer.json", "missing_file"),
        ("vocabulary.json", "missing_file"),
        ("config.json", "missing_file"),
    ],
)
def test_missing_files_of_the_encoder(small_pair: Folders, name: str, code: str) -> None:
    (small_pair[0] / name).unlink()
    assert name in refused(*small_pair, code).message


def test_vocabulary_txt_of_older_conversions_will_do(small_pair: Folders) -> None:
    (small_pair[0] / "vocabulary.json").rename(small_pair[0] / "vocabulary.txt")
    assert open_pair(*small_pair).name == "mini"


def test_decoder_folder_without_and_with_too_many_files(small_pair: Folders) -> None:
    encoder, decoder = small_pair
    shutil.copy(decoder / FILE_NAME, decoder / "mini.pt")
    assert "2 decoder files" in refused(encoder, decoder, "ambiguous_decoder").message
    (decoder / "mini.pt").unlink()
    (decoder / FILE_NAME).unlink()
    (decoder / "readme.txt").touch()
    assert "no decoder" in refused(encoder, decoder, "missing_decoder").message


@pytest.mark.parametrize("kept", [0, 4, 100, 5000, -1])
def test_truncated_decoder(small_pair: Folders, kept: int) -> None:
    path = small_pair[1] / FILE_NAME
    path.write_bytes(path.read_bytes()[:kept])
    assert str(path) in refused(*small_pair, "broken_model").message


def test_decoder_with_a_missing_weight(small_pair: Folders) -> None:
    weights = make_weights(SMALL)
    decoder = {name.removeprefix("decoder."): half for name, half in weights.items() if name.startswith("decoder.")}
    del decoder["blocks.1.cross_attn.out.bias"]
    write_decoder(small_pair[1] / FILE_NAME, decoder)
    assert "expected names and shapes" in refused(*small_pair, "broken_model").message


def test_truncated_encoder(small_pair: Folders) -> None:
    path = small_pair[0] / "model.bin"
    path.write_bytes(path.read_bytes()[:-100])
    assert str(path) in refused(*small_pair, "broken_model").message


def test_pt_with_code_is_refused(small_pair: Folders, tmp_path: Path) -> None:
    encoder, decoder = small_pair
    (decoder / FILE_NAME).unlink()
    marker = tmp_path / "ran"
    save_dangerous(decoder / "mini.pt", marker)
    refused(encoder, decoder, "unsafe_checkpoint")
    assert not marker.exists()


@pytest.mark.parametrize("heads", [None, [], [[3, 0]], [[0, 2]], [[-1, 0]]])
def test_alignment_heads_missing_or_outside(small_pair: Folders, heads: object) -> None:
    config = small_pair[0] / "config.json"
    config.write_text(json.dumps({"lang_ids": []} | ({} if heads is None else {"alignment_heads": heads})))
    error = refused(*small_pair, "missing_alignment_heads")
    assert "config.json" in error.hint


@pytest.mark.parametrize("text", ["", "[]", '{"alignment_heads": 3}', '{"alignment_heads": [[1]]}', "\xff"])
def test_broken_config(small_pair: Folders, text: str) -> None:
    (small_pair[0] / "config.json").write_bytes(text.encode("latin-1"))
    assert "config.json" in refused(*small_pair, "broken_model").message


def test_a_file_the_user_may_not_read_is_named() -> None:
    """Not in pytest's own folder, which no other user may enter."""
    if os.geteuid() != 0:
        missing("only root can start a process as someone else")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        folder.chmod(0o755)
        encoder, decoder = write_pair(folder, "mini")
        (decoder / FILE_NAME).chmod(0o600)
        code = (
            "import os, sys; from pathlib import Path; from appliance.pair.locate import open_pair; os.setuid(65534)\n"
            "try: open_pair(Path(sys.argv[1]), Path(sys.argv[2]))\n"
            "except Exception as error: print(error)"
        )
        command = [sys.executable, "-c", code, str(encoder), str(decoder)]
        said = subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout
    assert "decoder.safetensors may not be read by user 65534" in said
    assert "chmod -R a+rX" in said
