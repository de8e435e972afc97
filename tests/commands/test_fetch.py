from pathlib import Path

import pytest
import yaml

from appliance.cli import main
from appliance.server.models import VAD_NAME
from tests.conftest import ROOT
from tests.fetch.items import item, manifest_of, pinned, sha256


@pytest.fixture
def options(tmp_path: Path) -> list[str]:
    """Two things that are there and one that is not, all from local files."""
    things = []
    for name in ("one", "two", "gone"):
        path = tmp_path / name
        if name != "gone":
            path.write_bytes(name.encode())
        things.append(item(pinned("local", name.encode(), path=str(path)), name=name))
    manifest, _ = manifest_of(tmp_path, *things)
    return ["--manifest", str(manifest), "--store", str(tmp_path / "store")]


def test_prints_one_line_a_file(options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fetch", *options, "one", "two", "one"]) == 0
    first, second = capsys.readouterr().out.splitlines()
    assert first.startswith(f"one  3 bytes  sha256:{sha256(b'one')}  onnx  local ")
    assert second.startswith("two  3 bytes")
    assert main(["fetch", *options, "one", "--offline"]) == 0
    assert capsys.readouterr().out.rstrip().endswith("already in the store")


def test_a_missing_file_does_not_hold_up_the_others(options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["fetch", *options, "gone", "one"]) == 1
    out, err = capsys.readouterr()
    assert out.startswith("one  ")
    assert "error: gone can't be fetched: its only source failed: local " in err
    assert "  hint: " in err


def test_lists_what_there_is(options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    main(["fetch", *options, "one"])
    capsys.readouterr()
    assert main(["fetch", *options, "--list"]) == 0
    listed = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert set(listed) == {"one", "two", "gone"}
    assert "in store" in listed["one"]
    assert "in store" not in listed["two"]


def test_a_translator_is_laid_out_as_its_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    files = {}
    for name in ("model.bin", "config.json"):
        (tmp_path / name).write_bytes(name.encode())
        files[name] = [pinned("local", name.encode(), path=str(tmp_path / name))]
    (tmp_path / "by-nc.txt").write_text("no commercial use")
    nllb = {"aliases": ["nllb"], "licence": "CC-BY-NC-4.0", "licence_text": "by-nc.txt", "files": files}
    manifest = tmp_path / "manifest.yaml"
    manifest.write_text(yaml.safe_dump({"version": 1, "models": {}, "translators": {"nllb-600m": nllb}}))
    options = ["--manifest", str(manifest), "--store", str(tmp_path / "store")]
    assert main(["fetch", *options, "nllb", "--out", str(tmp_path / "made/nllb")]) == 0
    assert {file.name: file.read_text() for file in (tmp_path / "made/nllb").iterdir()} == {
        "model.bin": "model.bin",
        "config.json": "config.json",
        "licence.txt": "no commercial use",
    }
    assert capsys.readouterr().out.startswith("nllb-600m/config.json  11 bytes")
    assert main(["fetch", *options, "--all", "--out", str(tmp_path / "other")]) == 2
    assert "--out is for one translator, or for assets" in capsys.readouterr().err


def test_assets_are_laid_where_a_server_looks_for_them(tmp_path: Path) -> None:
    assets = {}
    for name, kind, form in (("ears", "vad", "onnx"), ("voices", "diarizer", "pt")):
        (tmp_path / name).write_text(name)
        source = pinned("local", name.encode(), path=str(tmp_path / name)) | {"format": form}
        assets[name] = {"kind": kind, "licence": "MIT", "sources": [source]}
    manifest = tmp_path / "manifest.yaml"
    manifest.write_text(yaml.safe_dump({"version": 1, "models": {}, "assets": assets}))
    options = ["--manifest", str(manifest), "--store", str(tmp_path / "store")]
    assert main(["fetch", *options, "ears", "voices", "--out", str(tmp_path / "pairs")]) == 0
    laid = {str(file.relative_to(tmp_path / "pairs")) for file in (tmp_path / "pairs").rglob("*") if file.is_file()}
    assert laid == {VAD_NAME, "diarizer/voices.pt"}


@pytest.mark.parametrize("name", ["nllb", "nllb-200-distilled-600m"])
def test_a_policy_refuses_a_model_before_anything_is_fetched(
    tmp_path: Path, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    shipped = ["--manifest", str(ROOT / "models/manifest.yaml"), "--store", str(tmp_path / "store")]
    commercial = ["--licence-policy", "commercial", "--out", str(tmp_path / "made"), "--offline"]
    assert main(["fetch", *shipped, *commercial, name]) == 1
    out, err = capsys.readouterr()
    assert out == "" and not (tmp_path / "made").exists()
    assert "nllb-200-distilled-600m/model.bin: CC-BY-NC-4.0 (no commercial use)" in err
    assert "error: the licence policy 'commercial' does not allow:" in err


def test_the_free_translator_passes_the_commercial_policy(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shipped = ["--manifest", str(ROOT / "models/manifest.yaml"), "--store", str(tmp_path / "store")]
    assert main(["fetch", *shipped, "m2m100", "--licence-policy", "commercial", "--offline"]) == 1
    assert "error: 4 of 4 files are missing:" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "status", "said"),
    [
        (["on"], 1, "error: unknown name: 'on'\n  hint: did you mean one"),
        ([], 2, "error: nothing to fetch"),
        (["one", "--manifest", "/nowhere.yaml"], 1, "error: no manifest at /nowhere.yaml\n  hint: "),
        (["one", "--store", "/dev/null/store"], 1, "error: cannot write to the store /dev/null/store: Not a directory"),
    ],
)
def test_what_goes_wrong_is_told(
    options: list[str], words: list[str], status: int, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["fetch", *options, *words]) == status
    assert said in capsys.readouterr().err
