import dataclasses
from pathlib import Path

import pytest

from appliance.digest import sha256_file
from appliance.doctor.finding import Finding
from appliance.doctor.models import check_models
from appliance.pair.locate import find_pair
from appliance.pair.record import FileRecord, PairRecord, ProofRecord, SourceRecord, write_record
from appliance.server.flags import load_settings


@pytest.fixture
def models(small_pair: tuple[Path, Path]) -> Path:
    """A small pair with its record, and something in place of the voice activity model."""
    folder = small_pair[0].parent
    (folder / "silero_vad.onnx").write_bytes(b"vad")
    pair = find_pair(folder, "mini")
    files = [path for half in small_pair for path in half.iterdir()]
    rows = tuple(FileRecord(f.relative_to(folder).as_posix(), f.stat().st_size, sha256_file(f)) for f in files)
    source = SourceRecord(**{field.name: "" for field in dataclasses.fields(SourceRecord)})  # type: ignore[arg-type]
    proof = ProofRecord("", "decoder", 1, None, 0.1, 0.1)
    record = PairRecord("mini", pair.dimensions, pair.alignment_heads, "MIT", source, "", rows, proof, {})
    write_record(folder / "pair.json", record)
    return folder


def checked(folder: Path, *, deep: bool = False) -> dict[str, Finding]:
    found = check_models(load_settings(["--models-dir", str(folder), "--model", "mini"]), deep=deep)
    return {finding.check: finding for finding in found}


@pytest.mark.parametrize("deep", [False, True])
def test_a_sound_pair(models: Path, deep: bool) -> None:
    found = checked(models, deep=deep)
    assert {finding.severity for finding in found.values()} == {"ok"}
    assert ("SHA-256" in found["files"].seen) == deep


def test_a_lost_half(models: Path) -> None:
    (models / "pytorch-whisper-mini").rename(models / "elsewhere")
    found = checked(models)["pair"]
    assert found.severity == "error" and "pytorch-whisper-mini" in found.seen and found.remedy


def test_a_file_that_was_cut_short(models: Path) -> None:
    file = models / "faster-whisper-mini" / "tokenizer.json"
    file.write_bytes(file.read_bytes()[:-1])
    found = checked(models)["files"]
    assert found.severity == "error" and str(file) in found.seen and found.remedy


def test_a_file_that_was_changed_is_seen_by_deep_alone(models: Path) -> None:
    file = models / "faster-whisper-mini" / "tokenizer.json"
    content = bytearray(file.read_bytes())
    content[-1] ^= 1
    file.write_bytes(content)
    assert checked(models)["files"].severity == "ok"
    found = checked(models, deep=True)["files"]
    assert found.severity == "error" and "another content" in found.seen


def test_an_empty_voice_activity_model(models: Path) -> None:
    (models / "silero_vad.onnx").write_bytes(b"")
    assert checked(models)["pair"].severity == "error"


def test_a_pair_of_the_site(models: Path) -> None:
    (models / "pair.json").unlink()
    assert checked(models)["files"].severity == "note"


def test_a_broken_record(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (models / "pair.json").write_text("{}")
    assert checked(models)["pair"].severity == "error"
    monkeypatch.setattr(
        "appliance.pair.locate.find_record", lambda *folders: None
    )  # it breaks after the pair was found
    assert checked(models)["files"].severity == "error"


def test_a_diarizer_that_is_wanted_is_looked_for(models: Path) -> None:
    assert "diarizer" not in checked(models)
    given = ["--models-dir", str(models), "--model", "mini", "--diarization"]

    def finding() -> Finding:
        found = check_models(load_settings(given), deep=False)
        return next(finding for finding in found if finding.check == "diarizer")

    assert finding().severity == "error" and "no diarizer: embedding" in finding().seen
    (models / "diarizer").mkdir()
    (models / "diarizer" / "campplus.pt").touch()
    assert finding() == Finding("diarizer", "ok", f"embedding: {models / 'diarizer' / 'campplus.pt'}, 0 voices")
