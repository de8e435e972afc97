import ast
import errno
import json
import multiprocessing
import os
import shutil
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

import ctranslate2
import numpy as np
import pytest

from appliance.baking import bake as baking
from appliance.baking.bake import Baked, bake
from appliance.baking.derive import checkpoint_from_ct2
from appliance.digest import sha256_file
from appliance.errors import ApplianceError
from appliance.fetch import Artifact
from appliance.pair.ct2_file import open_ct2
from appliance.pair.decoder_weights import load_decoder_weights
from appliance.pair.locate import find_pair
from appliance.pair.record import read_record
from tests.conftest import Spoken
from tests.pair.fixtures import BaseFiles
from tests.pair.models import HEADS, SMALL, WIDE, make_weights, model_entry, save_checkpoint, write_ranks


def contents(folder: Path) -> dict[str, str]:
    return {str(path.relative_to(folder)): sha256_file(path) for path in sorted(folder.rglob("*")) if path.is_file()}


def bake_small(path: Path, kind: str, ranks: Path, recording: Path, out: Path) -> Baked:
    return bake(*model_entry(path, kind), ranks, recording, out)


def test_from_ctranslate2(small_ct2: Path, ranks: Path, noise: Path, tmp_path: Path) -> None:
    baked = bake_small(small_ct2, "ct2", ranks, noise, tmp_path / "out")
    assert not baked.reused
    assert baked.pair == find_pair(tmp_path / "out", "mini")
    assert (baked.pair.dimensions, baked.pair.alignment_heads) == (SMALL, HEADS)
    assert (baked.pair.encoder_dir / "model.bin").read_bytes() == small_ct2.read_bytes()
    assert sorted(contents(tmp_path / "out/mini")) == [
        "faster-whisper-mini/config.json",
        "faster-whisper-mini/model.bin",
        "faster-whisper-mini/tokenizer.json",
        "faster-whisper-mini/vocabulary.json",
        "pair.json",
        "pytorch-whisper-mini/decoder.safetensors",
    ]
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == [".mini.lock", "mini"]


def test_both_sources_give_the_same_pair(
    small_ct2: Path, small_pt: Path, ranks: Path, noise: Path, tmp_path: Path
) -> None:
    bake_small(small_ct2, "ct2", ranks, noise, tmp_path / "ct2")
    bake_small(small_pt, "pt", ranks, noise, tmp_path / "pt")
    ours, theirs = contents(tmp_path / "ct2/mini"), contents(tmp_path / "pt/mini")
    assert ours.pop("pair.json") != theirs.pop("pair.json")
    assert ours == theirs


@pytest.mark.parametrize("kind", ["ct2", "pt"])
def test_baking_twice_gives_the_same_bytes(
    kind: str, small_ct2: Path, small_pt: Path, ranks: Path, noise: Path, tmp_path: Path
) -> None:
    source = small_ct2 if kind == "ct2" else small_pt
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    moved = Path(shutil.copy(source, elsewhere))
    for path, out in ((source, "one"), (moved, "two")):
        bake_small(path, kind, ranks, noise, tmp_path / out)
    assert contents(tmp_path / "one/mini") == contents(tmp_path / "two/mini")


def test_record_says_what_it_is_and_nothing_of_the_machine(
    small_pt: Path, ranks: Path, noise: Path, tmp_path: Path
) -> None:
    baked = bake_small(small_pt, "pt", ranks, noise, tmp_path / "out")
    text = (tmp_path / "out/mini/pair.json").read_text()
    assert str(tmp_path) not in text
    assert read_record(tmp_path / "out/mini/pair.json") == baked.record
    content = json.loads(text)
    assert content["schema"] == 1
    assert content["source"] == {
        "kind": "local",
        "describe": "mini.pt",
        "format": "pt",
        "size": small_pt.stat().st_size,
        "sha256": sha256_file(small_pt),
    }
    assert content["proof"]["encoder_error_below"] <= content["proof"]["tolerance"]
    assert {"appliance", "bake", "ctranslate2", "numpy", "torch"} <= content["tools"].keys()
    for file in content["files"]:
        assert sha256_file(tmp_path / "out/mini" / file["path"]) == file["sha256"]


def test_second_run_keeps_what_is_there(small_ct2: Path, ranks: Path, noise: Path, tmp_path: Path) -> None:
    first = bake_small(small_ct2, "ct2", ranks, noise, tmp_path)
    changed = (tmp_path / "mini/pair.json").stat().st_mtime_ns
    second = bake_small(small_ct2, "ct2", ranks, noise, tmp_path)
    assert second == replace(first, reused=True)
    assert (tmp_path / "mini/pair.json").stat().st_mtime_ns == changed


@pytest.mark.parametrize(
    "damaged", ["pair.json", "faster-whisper-mini/config.json", "faster-whisper-mini/vocabulary.json"]
)
def test_damaged_pair_is_baked_again(small_ct2: Path, ranks: Path, noise: Path, tmp_path: Path, damaged: str) -> None:
    bake_small(small_ct2, "ct2", ranks, noise, tmp_path)
    good = contents(tmp_path / "mini")
    (tmp_path / "mini" / damaged).write_text("{}")
    assert not bake_small(small_ct2, "ct2", ranks, noise, tmp_path).reused
    assert contents(tmp_path / "mini") == good


def test_other_source_or_other_way_of_baking_is_baked_again(
    small_ct2: Path, small_pt: Path, ranks: Path, noise: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bake_small(small_ct2, "ct2", ranks, noise, tmp_path)
    assert not bake_small(small_pt, "pt", ranks, noise, tmp_path).reused
    assert bake_small(small_pt, "pt", ranks, noise, tmp_path).reused
    monkeypatch.setattr(baking, "BAKE_VERSION", "next")
    assert not bake_small(small_pt, "pt", ranks, noise, tmp_path).reused


def test_failed_bake_leaves_the_earlier_pair(small_ct2: Path, ranks: Path, noise: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    bake_small(small_ct2, "ct2", ranks, noise, out)
    good = contents(out)
    cut = tmp_path / "cut.bin"
    cut.write_bytes(small_ct2.read_bytes()[:-1000])
    with pytest.raises(ApplianceError, match="not a usable CTranslate2 model"):
        bake_small(cut, "ct2", ranks, noise, out)
    silence = tmp_path / "silence.wav"
    silence.write_bytes(b"nothing")
    with pytest.raises(ApplianceError, match="can't be decoded"):
        bake_small(save_checkpoint(tmp_path / "o.pt", SMALL, make_weights(SMALL, 5)), "pt", ranks, silence, out)
    assert contents(out) == good
    assert sorted(path.name for path in out.iterdir()) == [".mini.lock", "mini"]


def test_failed_first_bake_leaves_nothing(small_ct2: Path, noise: Path, tmp_path: Path) -> None:
    other = write_ranks(tmp_path / "other.tiktoken", (b" t",))
    with pytest.raises(ApplianceError, match="do not make the model's vocabulary"):
        bake_small(small_ct2, "ct2", other, noise, tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == [".mini.lock"]


@pytest.mark.parametrize("kind", ["ct2", "pt"])
def test_source_of_another_model_than_the_manifest_says(
    kind: str, small_ct2: Path, small_pt: Path, ranks: Path, noise: Path, tmp_path: Path
) -> None:
    model, weights = model_entry(small_ct2 if kind == "ct2" else small_pt, kind, WIDE)
    with pytest.raises(ApplianceError, match="n_audio_state 128 instead of 192") as caught:
        bake(model, weights, ranks, noise, tmp_path / "out")
    assert caught.value.code == "mismatched_source"


def test_source_changed_since_it_was_fetched(small_ct2: Path, ranks: Path, noise: Path, tmp_path: Path) -> None:
    model, weights = model_entry(small_ct2, "ct2")
    with pytest.raises(ApplianceError, match="has changed since it was fetched"):
        bake(
            model, Artifact(weights.path, "0" * 64, weights.size, "ct2", weights.source), ranks, noise, tmp_path / "out"
        )


def test_unwritable_out(small_ct2: Path, ranks: Path, noise: Path, tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(ApplianceError, match="cannot write to") as caught:
        bake_small(small_ct2, "ct2", ranks, noise, tmp_path / "file")
    assert "--out" in caught.value.hint


def test_too_little_space_is_told_before_anything_is_written(
    small_ct2: Path, ranks: Path, noise: Path, tmp_path: Path
) -> None:
    model, weights = model_entry(small_ct2, "ct2")
    huge = Artifact(weights.path, weights.sha256, 10**18, "ct2", weights.source)
    with pytest.raises(ApplianceError, match="baking needs up to") as caught:
        bake(model, huge, ranks, noise, tmp_path / "out")
    assert caught.value.code == "disk_full"
    assert not (tmp_path / "out/mini").exists()


def test_disk_that_fills_up_on_the_way(
    small_ct2: Path, ranks: Path, noise: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> NoReturn:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(baking, "write_decoder", full)
    with pytest.raises(ApplianceError, match="no space left"):
        bake_small(small_ct2, "ct2", ranks, noise, tmp_path / "out")
    assert [path.name for path in (tmp_path / "out").iterdir()] == [".mini.lock"]


def _bake_in_a_process(
    path: Path, ranks: Path, recording: Path, out: Path, results: "multiprocessing.Queue[bool]"
) -> None:
    results.put(bake_small(path, "ct2", ranks, recording, out).reused)


def test_two_runs_at_once_bake_once(small_ct2: Path, ranks: Path, noise: Path, tmp_path: Path) -> None:
    context = multiprocessing.get_context("spawn")
    results: multiprocessing.Queue[bool] = context.Queue()
    arguments = (small_ct2, ranks, noise, tmp_path / "out", results)
    runs = [context.Process(target=_bake_in_a_process, args=arguments) for _ in range(2)]
    for run in runs:
        run.start()
    reused = sorted(results.get(timeout=120) for _ in runs)
    for run in runs:
        run.join()
    assert reused == [False, True]


def test_leftovers_of_a_killed_run_do_not_matter(small_ct2: Path, ranks: Path, noise: Path, tmp_path: Path) -> None:
    (tmp_path / ".mini.partial/faster-whisper-mini").mkdir(parents=True)
    (tmp_path / ".mini.old").mkdir()
    bake_small(small_ct2, "ct2", ranks, noise, tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir() if path.name.startswith(".mini")) == [".mini.lock"]


def test_module_needs_no_torch_until_there_is_something_to_make() -> None:
    tree = ast.parse(Path(baking.__file__).read_text())
    top = [node.module for node in tree.body if isinstance(node, ast.ImportFrom)]
    heavy = {"proof", "checkpoint", "decoder_weights", "torch_encoder"}
    assert not {f"appliance.pair.{name}" for name in heavy} & set(top)


@pytest.mark.model
def test_real_base_from_its_model_bin(base_files: BaseFiles, tmp_path: Path) -> None:
    baked = bake(base_files.model, base_files.weights, base_files.ranks, base_files.recording, tmp_path)
    assert baked.record.proof.logits_error_below <= 1e-5
    assert baked.record.proof.tokens >= 20
    again = bake(base_files.model, base_files.weights, base_files.ranks, base_files.recording, tmp_path / "again")
    assert contents(tmp_path / "base") == contents(tmp_path / "again/base")
    assert again.pair.dimensions == base_files.model.dimensions


@pytest.mark.model
def test_real_base_there_and_back(base_files: BaseFiles, tmp_path: Path) -> None:
    """From CTranslate2 to an OpenAI checkpoint and back: the derived model is the original, byte for byte."""
    origin = open_ct2(base_files.weights.path)
    path = save_checkpoint(tmp_path / "base.pt", origin.dimensions(), checkpoint_from_ct2(origin))
    weights = Artifact(path, sha256_file(path), path.stat().st_size, "pt", "local base.pt")
    baked = bake(base_files.model, weights, base_files.ranks, base_files.recording, tmp_path / "out")
    assert baked.record.proof.encoder_error_below is not None
    assert baked.record.proof.encoder_error_below <= 1e-4
    derived = open_ct2(baked.pair.encoder_dir / "model.bin")
    assert derived.variables.keys() == origin.variables.keys()
    for name in origin.variables:
        np.testing.assert_array_equal(derived.array(name), origin.array(name), name)
    assert sha256_file(derived.path) == base_files.weights.sha256


@pytest.mark.model
def test_real_base_transcribes_with_faster_whisper_and_no_other_files(
    base_files: BaseFiles, tmp_path: Path, librivox: tuple[Spoken, ...]
) -> None:
    from faster_whisper import WhisperModel

    pair = bake(base_files.model, base_files.weights, base_files.ranks, base_files.recording, tmp_path).pair
    assert ctranslate2.models.Whisper(str(pair.encoder_dir), compute_type="int8").is_multilingual
    model = WhisperModel(str(pair.encoder_dir), device="cpu", compute_type="int8", local_files_only=True)
    segments, info = model.transcribe(str(librivox[1].path), word_timestamps=True)
    text = "".join(segment.text for segment in segments)
    assert "not an ill" in text.lower()
    assert info.language == "en"
    assert load_decoder_weights(pair)["ln.weight"].shape == (512,)
