"""What is left of a build that can't be finished."""

from pathlib import Path

import pytest

from appliance.container.build import Names, build_image, image_archive
from appliance.container.context import Context
from appliance.container.engine import Engine, LocalImage
from appliance.errors import ApplianceError
from tests.container.archives import archive, layer
from tests.programs import put

NAMES = Names("cpu", ("base",))
BASE = LocalImage("base:1", "sha256:1", "amd64", {}, ())
INSPECTED = """[{"Id": "sha256:2", "Architecture": "amd64", "Config": {}, "Size": 1, "RootFS": {"Layers": []}}]"""


def engine(folder: Path, save: str) -> Engine:
    """Builds at once; saves as told; knows only the image that has no name yet."""
    body = f"""echo "$@" >>{folder}/asked
case "$1 $2" in
"build "*) ;;
"save "*) {save} ;;
"image inspect") case "$3" in *unfinished*) echo '{INSPECTED}' ;; *) exit 1 ;; esac ;;
esac"""
    return Engine("docker", put(folder, "docker", body), "20.10")


def asked(folder: Path) -> list[str]:
    return (folder / "asked").read_text(encoding="utf-8").splitlines()


def test_an_engine_without_room_leaves_nothing_and_says_so(tmp_path: Path) -> None:
    one = engine(tmp_path / "engine", "echo no space left on device >&2; exit 1")
    with pytest.raises(ApplianceError, match="no space left") as raised:
        build_image(one, NAMES, BASE, Context(tmp_path, "1"), tmp_path / "images")
    assert "df -h" in raised.value.hint
    assert list((tmp_path / "images").iterdir()) == []
    assert not [line for line in asked(tmp_path / "engine") if line.startswith(("load", "tag"))]


def test_a_disk_that_is_full_leaves_nothing_and_says_so(tmp_path: Path) -> None:
    saved = archive(tmp_path / "saved.tar", [layer({"opt/a": b"a" * 100_000})])
    one = engine(tmp_path / "engine", f'cp {saved} "$3"')
    partial = image_archive(NAMES, tmp_path / "images").with_suffix(".partial")
    partial.parent.mkdir()
    partial.symlink_to("/dev/full")
    with pytest.raises(ApplianceError, match="No space left on device") as raised:
        build_image(one, NAMES, BASE, Context(tmp_path, "1"), tmp_path / "images")
    assert "df -h" in raised.value.hint
    assert list((tmp_path / "images").iterdir()) == []
    assert not [line for line in asked(tmp_path / "engine") if line.startswith(("load", "tag"))]
