import io
import tarfile
from pathlib import Path

import pytest

from appliance.fetch.archive import open_member
from appliance.fetch.errors import SourceError
from tests.fetch.items import sdist, wheel

FILES = {"pkg/a.bin": b"a" * 100_000, "pkg/b.bin": b"b"}


@pytest.mark.parametrize(("packed", "filename"), [(wheel(FILES), "x.whl"), (sdist(FILES), "x.tar.gz")])
def test_reads_one_file(tmp_path: Path, packed: bytes, filename: str) -> None:
    path = tmp_path / "archive"
    path.write_bytes(packed)
    with open_member(path, "pkg/a.bin", filename) as file:
        assert file.read() == FILES["pkg/a.bin"]
    with pytest.raises(SourceError, match=f"{filename} has no file a.bin"), open_member(path, "a.bin", filename):
        pass


@pytest.mark.parametrize(("packed", "filename"), [(wheel(FILES), "x.whl"), (sdist(FILES), "x.tar.gz")])
@pytest.mark.parametrize("damage", ["cut", "changed", "another kind"])
def test_a_damaged_archive_is_told(tmp_path: Path, packed: bytes, filename: str, damage: str) -> None:
    middle = len(packed) // 3
    changed = packed[:middle] + bytes(255 - byte for byte in packed[middle : middle + 20]) + packed[middle + 20 :]
    path = tmp_path / "archive"
    path.write_bytes({"cut": packed[:middle], "changed": changed, "another kind": b"<html>no such file</html>"}[damage])
    with pytest.raises(SourceError, match=f"{filename} is damaged"), open_member(path, "pkg/a.bin", filename) as file:
        file.read()


def test_a_link_is_not_a_file(tmp_path: Path) -> None:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        link = tarfile.TarInfo("pkg/a.bin")
        link.type = tarfile.SYMTYPE
        link.linkname = "/etc/passwd"
        archive.addfile(link)
    path = tmp_path / "archive"
    path.write_bytes(packed.getvalue())
    with pytest.raises(SourceError, match="has no file"), open_member(path, "pkg/a.bin", "x.tar.gz"):
        pass
