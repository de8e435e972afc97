import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from appliance.commands.bake import main
from appliance.digest import sha256_file
from appliance.errors import ApplianceError
from tests.pair.models import HEADS, SMALL, make_weights, save_checkpoint, write_noise, write_ranks


def source(path: Path, kind: str) -> dict[str, object]:
    return {
        "kind": "local",
        "path": str(path),
        "format": kind,
        "size": path.stat().st_size,
        "sha256": sha256_file(path),
    }


@pytest.fixture
def manifest_file(tmp_path: Path) -> Path:
    checkpoint = save_checkpoint(tmp_path / "mini.pt", SMALL, make_weights(SMALL))
    content = {
        "version": 1,
        "models": {
            "mini": {
                "aliases": ["small-one"],
                "licence": "MIT",
                "tokenizer": "ranks",
                "dimensions": SMALL.as_dict(),
                "alignment_heads": [list(head) for head in HEADS],
                "sources": [source(checkpoint, "pt")],
            }
        },
        "tokenizers": {
            "ranks": {"licence": "MIT", "languages": 99, "sources": [source(write_ranks(tmp_path / "r"), "tiktoken")]}
        },
        "recordings": {
            "noise": {
                "language": "en",
                "licence": "none",
                "transcript": "none",
                "sources": [source(write_noise(tmp_path / "noise.wav"), "wav")],
            }
        },
    }
    path = tmp_path / "manifest.yaml"
    path.write_text(yaml.safe_dump(content))
    return path


def bake(manifest_file: Path, *words: str) -> int:
    folder = manifest_file.parent
    fixed = ["--manifest", str(manifest_file), "--store", str(folder / "store"), "--out", str(folder / "pairs")]
    return main([*words, *fixed])


def test_bakes_then_keeps(manifest_file: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert bake(manifest_file, "mini", "--offline") == 0
    first = capsys.readouterr().out
    assert first.startswith(f"baked {manifest_file.parent / 'pairs/mini'}\n")
    assert "pytorch-whisper-mini/decoder.safetensors" in first
    assert "encoder error below 1e-0" in first
    assert bake(manifest_file, "small-one") == 0
    assert capsys.readouterr().out == first.replace("baked", "kept", 1)


def test_unknown_model(manifest_file: Path) -> None:
    with pytest.raises(ApplianceError, match="unknown model: 'minni'") as caught:
        bake(manifest_file, "minni")
    assert "mini" in caught.value.hint


def test_manifest_without_recordings(manifest_file: Path) -> None:
    content = yaml.safe_load(manifest_file.read_text())
    del content["recordings"]
    manifest_file.write_text(yaml.safe_dump(content))
    with pytest.raises(ApplianceError, match="no English recording"):
        bake(manifest_file, "mini")


def test_failure_is_one_message_and_a_status(manifest_file: Path, tmp_path: Path) -> None:
    words = ["--offline", "--manifest", manifest_file, "--store", tmp_path / "store", "--out", "/dev/null/pairs"]
    done = subprocess.run(
        [sys.executable, "-m", "appliance", "bake", "mini", *map(str, words)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stdout == ""
    assert "error: cannot write to /dev/null/pairs" in done.stderr
    assert "Traceback" not in done.stderr
