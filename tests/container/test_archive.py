from pathlib import Path

import pytest

from appliance.container.archive import read_archive
from appliance.errors import ApplianceError
from tests.container.archives import archive, layer

LOWER = {"etc/passwd": b"root", "opt/wlk/a": b"lower", "opt/wlk/b": b"lower", "opt/old/c": b"lower"}
UPPER = {"opt/wlk/a": b"upper", "opt/wlk/.wh.b": b"", "opt/old/.wh..wh..opq": b"", "opt/old/d": b"upper"}


def wanted(name: str) -> bool:
    return name.startswith("opt/")


@pytest.mark.parametrize("name", ["image.tar", "image.tar.gz"])
def test_an_archive_is_read_as_a_container_would_see_it(tmp_path: Path, name: str) -> None:
    found = read_archive(archive(tmp_path / name, [layer(LOWER), layer(UPPER)]), wanted)
    assert found.files == {"opt/wlk/a": b"upper", "opt/old/d": b"upper"}
    assert found.tags == ("some:tag",)
    assert [(each.size, each.step) for each in found.layers] == [(19, "step 0"), (10, "step 1")]
    assert found.size == 29 and found.labels == {"a": "b"}


def test_large_layers_are_read_too(tmp_path: Path) -> None:
    files = {"opt/large": bytes(3_000_000), "opt/small": b"x"}
    found = read_archive(archive(tmp_path / "image.tar.gz", [layer(files)]), lambda name: name == "opt/small")
    assert found.files == {"opt/small": b"x"} and found.size == 3_000_001


def test_a_damaged_layer_is_told(tmp_path: Path) -> None:
    path = archive(tmp_path / "image.tar", [layer({"opt/file": b"content of a layer"})])
    path.write_bytes(path.read_bytes().replace(b"content of a layer", b"another content..."))
    with pytest.raises(ApplianceError, match=r"layer sha256:.* is damaged"):
        read_archive(path)


@pytest.mark.parametrize("share", [0.2, 0.5, 0.9])
def test_an_archive_that_is_cut_short_is_told(tmp_path: Path, share: float) -> None:
    path = archive(tmp_path / "image.tar.gz", [layer({"opt/file": bytes(range(256)) * 20_000})])
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    with pytest.raises(ApplianceError, match=r"can't be read as an archive|is no image archive"):
        read_archive(path)


@pytest.mark.parametrize("content", [b"", b"no archive at all", layer({"manifest.json": b"[]"}), layer({"a": b"b"})])
def test_what_is_no_image_archive_is_told(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "file").write_bytes(content)
    with pytest.raises(ApplianceError, match="archive"):
        read_archive(tmp_path / "file")


def test_a_missing_archive_is_told(tmp_path: Path) -> None:
    with pytest.raises(ApplianceError, match="no archive"):
        read_archive(tmp_path / "none.tar")
