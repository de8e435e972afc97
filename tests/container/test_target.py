from pathlib import Path

import pytest

from appliance.container.target import diarizations, host_architecture, load_target, target_names
from appliance.errors import ApplianceError, UsageError
from tests.conftest import ROOT

DIGEST = "sha256:" + "0" * 64


def make(root: Path, name: str, facts: str, base: str = f"base@{DIGEST}") -> None:
    folder = root / name
    folder.mkdir()
    (folder / "Dockerfile").write_text(f"ARG BASE={base}\nFROM ${{BASE}}\n", encoding="utf-8")
    (folder / "target.mk").write_text(facts, encoding="utf-8")
    (folder / "requirements.lock").write_text(f"torch==9.9 \\\n    --hash={DIGEST}\n", encoding="utf-8")


def facts(name: str) -> str:
    rows = ("architectures := arm64", "python := 3.12", "cuda := 13.0", "size_mb := 9000")
    return "".join(f"{name}.{row}\n" for row in rows)


@pytest.mark.parametrize("name", target_names(ROOT / "images"))
def test_shipped_targets_are_complete(name: str) -> None:
    target = load_target(name, ROOT / "images")
    assert "@sha256:" in target.base and target.torch != "none" and target.size_mb > 500
    assert set(target.architectures) <= {"amd64", "arm64"}


def test_a_new_board_is_a_new_folder(tmp_path: Path) -> None:
    make(tmp_path, "board", facts("board"))
    target = load_target("board", tmp_path)
    assert (target.python, target.cuda, target.torch, target.ctranslate2) == ("3.12", "13.0", "9.9", "none")
    assert target.sources == () and target.base == f"base@{DIGEST}"
    assert target.architecture(None) == "arm64"
    with pytest.raises(UsageError, match="board has no architecture 'amd64'"):
        target.architecture("amd64")


def test_versions_of_other_architectures_are_shown_where_they_differ(tmp_path: Path) -> None:
    make(tmp_path, "board", facts("board").replace(":= arm64", ":= amd64 arm64"))
    rows = [f'torch==1.0 ; platform_machine != "aarch64" --hash={DIGEST}']
    rows += [f'torch==2.0 ; platform_machine == "aarch64" --hash={DIGEST}', f"ctranslate2==3.0 --hash={DIGEST}"]
    (tmp_path / "board/requirements.lock").write_text("\n".join(rows), encoding="utf-8")
    target = load_target("board", tmp_path)
    assert (target.torch, target.ctranslate2) == ("1.0 (arm64: 2.0)", "3.0")


def test_what_is_compiled_tells_its_version(tmp_path: Path) -> None:
    make(tmp_path, "board", facts("board"))
    rows = ["CTRANSLATE2_SOURCE=https://host/c.git", "CTRANSLATE2_VERSION=4.9", f"CTRANSLATE2_COMMIT={'c' * 40}"]
    (tmp_path / "board/versions.env").write_text("\n".join(rows), encoding="utf-8")
    assert load_target("board", tmp_path).ctranslate2 == "4.9"


def test_diarization_is_a_lock_of_its_own(tmp_path: Path) -> None:
    make(tmp_path, "board", facts("board") + "board.sdists := grammar\n")
    (tmp_path / "board/requirements-tellapart.lock").write_text(f"torch==8.8 --hash={DIGEST}\n", encoding="utf-8")
    (tmp_path / "board/pip.lock").write_text(f"pip==1.0 --hash={DIGEST}\n", encoding="utf-8")
    plain, variant = load_target("board", tmp_path), load_target("board", tmp_path, "tellapart")
    assert (plain.name, plain.torch, variant.name, variant.torch) == ("board", "9.9", "board-tellapart", "8.8")
    assert [lock.name for lock in plain.locks] == ["pip.lock", "requirements.lock"]
    assert [lock.name for lock in variant.locks] == ["pip.lock", "requirements-tellapart.lock"]
    assert variant.sdists == ("grammar",) and diarizations(tmp_path / "board") == ["none", "tellapart"]
    with pytest.raises(UsageError, match="board has no diarization 'crystal-ball'") as raised:
        load_target("board", tmp_path, "crystal-ball")
    assert raised.value.hint == "one of: none, tellapart"


def test_this_machine_comes_first(tmp_path: Path) -> None:
    make(tmp_path, "both", facts("both").replace(":= arm64", ":= arm64 amd64"))
    assert load_target("both", tmp_path).architecture(None) == host_architecture()


def test_an_unknown_target_is_told_with_those_there_are(tmp_path: Path) -> None:
    make(tmp_path, "board", facts("board"))
    with pytest.raises(UsageError, match="unknown target: 'mars'") as raised:
        load_target("mars", tmp_path)
    assert "board" in raised.value.hint


def test_a_missing_fact_is_told(tmp_path: Path) -> None:
    make(tmp_path, "board", facts("board").replace("board.python := 3.12\n", ""))
    with pytest.raises(ApplianceError, match="does not tell python"):
        load_target("board", tmp_path)


def test_a_base_by_tag_only_is_refused(tmp_path: Path) -> None:
    make(tmp_path, "board", facts("board"), base="python:3.11-slim-bookworm")
    with pytest.raises(ApplianceError, match="pins no base image") as raised:
        load_target("board", tmp_path)
    assert "ARG BASE=NAME@sha256:DIGEST" in raised.value.hint
