from pathlib import Path

import pytest

from appliance.container import base
from appliance.container.base import BASE_VARIABLE, ensure_base, stand_in_name
from appliance.container.engine import Engine
from appliance.container.target import Target, load_target
from appliance.errors import ApplianceError
from tests.conftest import ROOT
from tests.programs import put

ARM64_IMAGE = """[{"Id": "sha256:1", "Architecture": "arm64", "Config": {}, "Size": 1, "RootFS": {"Layers": []}}]"""


@pytest.fixture
def jetson() -> Target:
    return load_target("jetson-thor", ROOT / "images")


def engine(folder: Path, body: str) -> Engine:
    """An engine that answers as the script does, and notes what it was asked."""
    return Engine("docker", put(folder, "docker", f'echo "$@" >>{folder}/asked\n{body}'), "20.10")


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


def test_a_base_that_no_registry_has_is_told_with_what_to_do(jetson: Target, tmp_path: Path) -> None:
    with pytest.raises(ApplianceError, match="base image of jetson-thor can't be had") as raised:
        ensure_base(engine(tmp_path, "echo no route >&2; exit 1"), jetson, "arm64", tmp_path)
    assert BASE_VARIABLE in raised.value.hint and jetson.base in raised.value.message


def test_a_base_that_can_not_be_pulled_is_told(jetson: Target, tmp_path: Path) -> None:
    body = 'case "$1" in manifest) ;; *) echo "toomanyrequests: slow down" >&2; exit 1 ;; esac'
    with pytest.raises(ApplianceError, match="toomanyrequests"):
        ensure_base(engine(tmp_path, body), jetson, "arm64", tmp_path)
    assert f"pull --quiet --platform=linux/arm64 {jetson.base}" in (tmp_path / "asked").read_text(encoding="utf-8")


def test_a_named_base_of_another_architecture_is_refused(
    jetson: Target, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(BASE_VARIABLE, "own:1")
    one = engine(tmp_path, f"echo '{ARM64_IMAGE}'")
    assert ensure_base(one, jetson, "arm64", tmp_path).name == "own:1"
    with pytest.raises(ApplianceError, match="own:1 is for arm64, not for amd64"):
        ensure_base(one, load_target("cpu", ROOT / "images"), "amd64", tmp_path)


def test_what_the_engine_holds_for_another_architecture_is_not_taken(jetson: Target, tmp_path: Path) -> None:
    """Both have the same name and digest; a pull brings the other one."""
    with pytest.raises(ApplianceError, match="can't be had"):
        body = f"""case "$1" in image) echo '{ARM64_IMAGE}' ;; *) exit 1 ;; esac"""
        ensure_base(engine(tmp_path, body), jetson, "amd64", tmp_path)
