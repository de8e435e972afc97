from pathlib import Path

import pytest

from appliance.container import base
from appliance.container.base import pinned_base, stand_in_name
from appliance.errors import ApplianceError
from tests.conftest import ROOT


def test_every_dockerfile_pins_its_base_by_digest() -> None:
    files = sorted(ROOT.glob("images/*/Dockerfile"))
    assert files
    for file in files:
        assert "@sha256:" in pinned_base(file)


def test_base_by_tag_only_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "Dockerfile"
    file.write_text("ARG BASE=python:3.11-slim-bookworm\nFROM ${BASE}\n", encoding="utf-8")
    with pytest.raises(ApplianceError, match="pins no base image") as raised:
        pinned_base(file)
    assert "ARG BASE=NAME@sha256:DIGEST" in raised.value.hint


def test_stand_in_has_another_tag_for_another_recipe(monkeypatch: pytest.MonkeyPatch) -> None:
    before = stand_in_name()
    monkeypatch.setattr(base, "_PACKAGES", (*base._PACKAGES, "perl"))
    assert stand_in_name() != before


def test_prune_keeps_copyright_files_and_empties_caches(tmp_path: Path) -> None:
    for name in ("usr/share/doc/bash/copyright", "usr/share/doc/bash/README", "var/lib/apt/lists/x/y", "etc/hostname"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x", encoding="utf-8")
    base._prune(tmp_path)
    left = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file())
    assert left == ["usr/share/doc/bash/copyright"]
    assert (tmp_path / "var/lib/apt/lists").is_dir()
