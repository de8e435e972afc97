"""A bundle cut into parts, and put together again by the script of the site."""

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from appliance.delivery.parts import part_size, split_bundle
from appliance.delivery.single import write_single
from appliance.delivery.verify import verify_bundle
from appliance.errors import UsageError
from tests.delivery.bundles import make, public, script

SIZE = 4000


@pytest.fixture
def parts(tmp_path: Path, key: Ed25519PrivateKey) -> Path:
    contents = make(tmp_path / "wlk.bundle", key)
    write_single(tmp_path / "wlk.bundle", contents, tmp_path / "wlk.bundle.tar")
    folder = split_bundle(tmp_path / "wlk.bundle.tar", SIZE, key)
    assert not (tmp_path / "wlk.bundle.tar").exists()
    return folder


def numbered(folder: Path) -> list[Path]:
    return sorted(folder.glob("*.tar.*"))


def test_sizes_are_those_of_sticks() -> None:
    assert (part_size("3900M"), part_size("2G"), part_size("1000000")) == (3_900_000_000, 2_000_000_000, 1_000_000)
    for wrong in ("", "0", "999K", "3,9G", "-1G", "4GB"):
        with pytest.raises(UsageError):
            part_size(wrong)


def test_parts_are_joined_and_unpacked(tmp_path: Path, parts: Path, key: Ed25519PrivateKey) -> None:
    assert len(numbered(parts)) > 3 and max(part.stat().st_size for part in numbered(parts)) == SIZE
    done = script("join.sh", "--key", public(tmp_path, key), "--to", tmp_path / "site", parts)
    assert (done.returncode, done.stdout) == (0, f"whole: {tmp_path}/site/wlk.bundle\n"), done.stderr
    verify_bundle(tmp_path / "site/wlk.bundle", key.public_key())
    assert [path.name for path in (tmp_path / "site").iterdir()] == ["wlk.bundle"]


def test_parts_come_stick_by_stick(tmp_path: Path, parts: Path, key: Ed25519PrivateKey) -> None:
    later = tmp_path / "later"
    later.mkdir()
    words = ("--key", public(tmp_path, key), "--to", tmp_path / "site", parts)
    for part in numbered(parts)[2:]:
        part.rename(later / part.name)
    first = script("join.sh", *words)
    assert first.returncode == 3
    assert all(f"missing: {part.name}" in first.stderr for part in numbered(later))
    for part in numbered(parts):  # the first stick is gone
        part.unlink()
    for part in numbered(later):
        part.rename(parts / part.name)
    with (tmp_path / "site/wlk.bundle.tar.joining").open("ab") as file:
        file.write(b"a part that was cut off")
    assert script("join.sh", *words).returncode == 0
    verify_bundle(tmp_path / "site/wlk.bundle", key.public_key())


def test_a_damaged_part_is_named_and_can_be_copied_again(tmp_path: Path, parts: Path, key: Ed25519PrivateKey) -> None:
    words = ("--key", public(tmp_path, key), "--to", tmp_path / "site", parts)
    second = numbered(parts)[1]
    whole = second.read_bytes()
    second.write_bytes(whole[:100] + b"?" + whole[101:])
    third = numbered(parts)[2]
    third.unlink()
    done = script("join.sh", *words)
    assert done.returncode == 1
    assert f"damaged: {second.name}" in done.stderr and f"missing: {third.name}" in done.stderr
    second.write_bytes(whole)
    assert script("join.sh", *words).returncode == 3


def test_what_was_joined_is_checked_as_a_whole(tmp_path: Path, parts: Path, key: Ed25519PrivateKey) -> None:
    words = ("--key", public(tmp_path, key), "--to", tmp_path / "site", parts)
    (tmp_path / "site").mkdir()
    (tmp_path / "site/wlk.bundle.tar.joining").write_bytes(bytes(SIZE))
    assert "not what was signed" in script("join.sh", *words).stderr
    assert script("join.sh", *words).returncode == 0


def test_a_list_that_is_not_signed_is_refused(tmp_path: Path, parts: Path, key: Ed25519PrivateKey) -> None:
    text = (parts / "PARTS").read_text(encoding="utf-8")
    (parts / "PARTS").write_text(text.replace("wlk.bundle", "../../bad", 1), encoding="utf-8")
    done = script("join.sh", "--key", public(tmp_path, key), "--to", tmp_path / "site", parts)
    assert done.returncode == 1 and "is not signed with the key" in done.stderr
    assert not (tmp_path / "site/wlk.bundle.tar.joining").exists()


def test_a_file_of_somebody_else_is_not_written_through(tmp_path: Path, parts: Path, key: Ed25519PrivateKey) -> None:
    (tmp_path / "site").mkdir()
    (tmp_path / "site/wlk.bundle.tar.joining").symlink_to(tmp_path / "theirs")
    done = script("join.sh", "--key", public(tmp_path, key), "--to", tmp_path / "site", parts)
    assert done.returncode == 1 and "somebody else's" in done.stderr
    assert not (tmp_path / "theirs").exists()
