"""The same content makes the same bytes, whenever and by whomever it was built."""

import tarfile
from pathlib import Path

from appliance.container.archive import read_archive
from appliance.container.commit import EARLIEST_S
from appliance.container.reproducible import pack_root, rewrite
from appliance.digest import sha256_file
from tests.container.archives import archive, hard_link, layer

BASE = layer({"etc/os-release": b"Debian"})
FILES = {"opt/z": b"last", "opt/a": b"first", "opt/b": hard_link("opt/b", "opt/z")}


def rewritten(source: Path, *, created_s: int = 10**9, file_time_s: int = EARLIEST_S) -> Path:
    target = source.with_suffix(".new")
    image_id = rewrite(source, target, tags=["my:tag"], base_layers=1, file_time_s=file_time_s, created_s=created_s)
    assert read_archive(target).image_id == image_id
    return target


def test_builds_at_other_times_by_other_hands_give_the_same_archive(tmp_path: Path) -> None:
    one = archive(tmp_path / "one.tar", [BASE, layer(FILES, time_s=1.7e9 + 0.5)], created="2026-01-01T00:00:00Z")
    two = archive(
        tmp_path / "two.tar",
        [BASE, layer(FILES, time_s=1.8e9, owner="ci", reverse=True)],
        created="2027-01-01T00:00:00Z",
    )
    assert sha256_file(one) != sha256_file(two)
    assert sha256_file(rewritten(one)) == sha256_file(rewritten(two))


def test_other_content_gives_another_image(tmp_path: Path) -> None:
    ids = {
        read_archive(
            rewritten(archive(tmp_path / f"{content}.tar", [BASE, layer({"opt/a": content.encode()})]))
        ).image_id
        for content in ("one", "two")
    }
    assert len(ids) == 2


def test_files_and_settings_stay_and_times_do_not(tmp_path: Path) -> None:
    source = archive(tmp_path / "image.tar", [BASE, layer(FILES)], extra={"Env": ["A=b"]})
    found = read_archive(rewritten(source), lambda name: True)
    assert found.files == {"etc/os-release": b"Debian", "opt/a": b"first", "opt/z": b"last"}
    assert found.config["config"] == {"Cmd": ["serve"], "Env": ["A=b"], "Labels": {"a": "b"}}
    assert found.config["created"] == "2001-09-09T01:46:40Z" and found.tags == ("my:tag",)
    assert [row["created_by"] for row in found.config["history"]] == ["step 0", "step 1", "LABEL a=b"]
    with tarfile.open(rewritten(source)) as outer:
        base, own = (outer.extractfile(name) for name in outer.getnames() if name.endswith("layer.tar"))
        assert base is not None and base.read() == BASE, "the base's layers stay as they are"
        with tarfile.open(fileobj=own) as inner:
            members = inner.getmembers()
    assert [member.name for member in members] == ["opt/a", "opt/z", "opt/b"], "a link comes after what it links to"
    assert {(member.mtime, member.uname) for member in members} == {(EARLIEST_S, "")}


def test_what_engines_mount_over_is_left_out(tmp_path: Path) -> None:
    files = {"etc/hosts": b"", "etc/hostname": b"mine", "etc/resolv.conf": b"", "etc/passwd": b"", "opt/etc/hosts": b""}
    source = archive(tmp_path / "image.tar", [BASE, layer(files)])
    found = read_archive(rewritten(source), lambda name: not name.startswith("etc/os"))
    assert set(found.files) == {"etc/hostname", "etc/passwd", "opt/etc/hosts"}


def test_an_earlier_time_stays(tmp_path: Path) -> None:
    source = archive(tmp_path / "image.tar", [BASE, layer({"opt/a": b"a"}, time_s=1000)])
    with tarfile.open(rewritten(source)) as outer:
        *_, own = (outer.extractfile(name) for name in outer.getnames() if name.endswith("layer.tar"))
        with tarfile.open(fileobj=own) as inner:
            assert inner.getmember("opt/a").mtime == 1000


def test_a_root_file_system_becomes_an_image(tmp_path: Path) -> None:
    made = []
    for time_s in (1.7e9, 1.8e9):
        (tmp_path / "files.tar").write_bytes(layer({"etc/os-release": b"Debian"}, time_s=time_s))
        target = tmp_path / f"{time_s}.tar"
        image_id = pack_root(
            tmp_path / "files.tar", target, tag="base:1", architecture="amd64", settings={"Cmd": ["python3"]}
        )
        found = read_archive(target, lambda name: True)
        assert found.image_id == image_id and found.files == {"etc/os-release": b"Debian"}
        assert found.config["config"] == {"Cmd": ["python3"]}
        made.append(image_id)
    assert len(set(made)) == 1
