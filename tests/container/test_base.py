from pathlib import Path

import pytest

from appliance.container import base
from appliance.container.base import stand_in_name


def test_stand_in_has_another_tag_for_another_recipe(monkeypatch: pytest.MonkeyPatch) -> None:
    before = stand_in_name("amd64")
    monkeypatch.setattr(base, "_PACKAGES", (*base._PACKAGES, "perl"))
    assert stand_in_name("amd64") != before


def test_prune_keeps_copyright_files_and_empties_caches(tmp_path: Path) -> None:
    for name in ("usr/share/doc/bash/copyright", "usr/share/doc/bash/README", "var/lib/apt/lists/x/y", "etc/hostname"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("x", encoding="utf-8")
    base._prune(tmp_path)
    left = sorted(str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file())
    assert left == ["usr/share/doc/bash/copyright"]
    assert (tmp_path / "var/lib/apt/lists").is_dir()
