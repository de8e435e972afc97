"""What a site lacks of a bundle, and the whole made of it again by the script of the site."""

import gzip
import io
import os
import shutil
import tarfile
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from appliance.delivery.contents import Contents, Entry, LayerPlace, entries, parse_contents
from appliance.delivery.create import layer_places
from appliance.delivery.delta import create_delta, read_base
from appliance.delivery.single import write_single
from appliance.delivery.verify import verify_bundle
from appliance.digest import sha256_file
from appliance.errors import ApplianceError
from tests.conftest import ROOT
from tests.delivery.bundles import make, public, script, sign
from tests.fetch.items import sha256

LAYERS = {"base": b"a" * 700, "library": bytes(range(256)) * 30, "model": b"m" * 5000, "code": b"one" * 50}


def image(path: Path, layers: dict[str, bytes]) -> Path:
    """An archive as `appliance.container.reproducible` lays it out."""
    with tarfile.open(path, "w") as archive:
        members = [(f"{sha256(content)}/layer.tar", content) for content in layers.values()]
        for name, content in [*members, ("manifest.json", b"[]")]:
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return path


def bundle_of(folder: Path, plain: Path, version: str, key: Ed25519PrivateKey) -> Contents:
    """A bundle whose archive is that image, with the site's real scripts."""
    made = make(folder, key, version=version)
    (folder / "image.tar.zst").unlink()
    (folder / "image.tar.gz").write_bytes(gzip.compress(plain.read_bytes(), mtime=0))
    (folder / "only-here").write_text(version, encoding="utf-8")
    for name in ("verify.sh", "signed.sh", "errors.sh"):
        shutil.copy(ROOT / "scripts" / name, folder)
    text = made.text().replace("archive image.tar.zst", "archive image.tar.gz")
    rows = [row for row in text.splitlines() if not row.startswith(("file ", "layer ", "tar "))]
    rows += [f"tar {sha256_file(plain)} {plain.stat().st_size}"]
    rows += [f"layer {one.sha256} {one.offset} {one.size}" for one in layer_places(plain)]
    rows += [f"file {one.sha256} {one.size} {one.path}" for one in entries(folder)]
    sign(folder, "\n".join(rows) + "\n", key)
    return verify_bundle(folder, key.public_key())


@pytest.fixture
def old(tmp_path: Path, key: Ed25519PrivateKey) -> Path:
    bundle_of(tmp_path / "old.bundle", image(tmp_path / "old.tar", LAYERS), "0.1.0", key)
    return tmp_path / "old.bundle"


@pytest.fixture
def new(tmp_path: Path, key: Ed25519PrivateKey) -> Path:
    layers = {"first": b"now first", **LAYERS, "code": b"two" * 60}
    bundle_of(tmp_path / "wlk.bundle", image(tmp_path / "new.tar", layers), "0.2.0", key)
    return tmp_path / "wlk.bundle"


@pytest.fixture
def delta(tmp_path: Path, old: Path, new: Path, key: Ed25519PrivateKey) -> Path:
    return create_delta(new, tmp_path / "new.tar", read_base(old), key, compression="gzip")


def test_places_of_layers_hold_the_layers(tmp_path: Path) -> None:
    plain = image(tmp_path / "image.tar", LAYERS)
    content = plain.read_bytes()
    places = layer_places(plain)
    assert [content[one.offset : one.offset + one.size] for one in places] == list(LAYERS.values())
    assert [one.sha256 for one in places] == [sha256(layer) for layer in LAYERS.values()]


def test_the_whole_is_made_at_the_site_bit_for_bit(
    tmp_path: Path, old: Path, new: Path, delta: Path, key: Ed25519PrivateKey
) -> None:
    site = tmp_path / "site.bundle"
    done = script("apply.sh", "--key", public(tmp_path, key), "--base", old, "--to", site, delta)
    assert (done.returncode, done.stdout) == (0, f"whole: {site}\n"), done.stderr
    assert (site / "image.tar").read_bytes() == (tmp_path / "new.tar").read_bytes()
    assert verify_bundle(site, key.public_key()) == verify_bundle(new, key.public_key())
    for entry in entries(new):
        assert entry.path == "image.tar.gz" or (site / entry.path).read_bytes() == (new / entry.path).read_bytes()
    assert not list(tmp_path.glob("*.partial"))


def test_it_carries_only_what_is_lacking(delta: Path) -> None:
    carried = {path.relative_to(delta / "full").as_posix() for path in (delta / "full").rglob("*") if path.is_file()}
    assert carried == {"CONTENTS", "CONTENTS.sig", "only-here"}
    fresh = gzip.decompress((delta / "image.new.gz").read_bytes())
    assert b"now first" in fresh and b"twotwo" in fresh
    assert not any(layer in fresh for name, layer in LAYERS.items())


def test_the_next_delta_builds_on_what_a_delta_made(
    tmp_path: Path, old: Path, new: Path, delta: Path, key: Ed25519PrivateKey
) -> None:
    words = ("--key", public(tmp_path, key))
    assert script("apply.sh", *words, "--base", old, "--to", tmp_path / "one", delta).returncode == 0
    bundle_of(tmp_path / "third.bundle", image(tmp_path / "third.tar", {**LAYERS, "code": b"3"}), "0.3.0", key)
    third = create_delta(
        tmp_path / "third.bundle", tmp_path / "third.tar", read_base(new / "CONTENTS"), key, compression="gzip"
    )
    done = script("apply.sh", *words, "--base", tmp_path / "one", "--to", tmp_path / "two", third)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "two/image.tar").read_bytes() == (tmp_path / "third.tar").read_bytes()


def test_the_list_alone_or_the_single_file_is_enough_to_make_one(
    tmp_path: Path, old: Path, new: Path, delta: Path, key: Ed25519PrivateKey
) -> None:
    write_single(old, verify_bundle(old, key.public_key()), tmp_path / "old.bundle.tar")
    before = {path.name: path.read_bytes() for path in delta.iterdir() if path.is_file()}
    for since in (old / "CONTENTS", tmp_path / "old.bundle.tar"):
        made = create_delta(new, tmp_path / "new.tar", read_base(since), key, compression="gzip")
        assert made == delta
        assert {path.name: path.read_bytes() for path in made.iterdir() if path.is_file()} == before
    (tmp_path / "none").write_text("nothing", encoding="utf-8")
    for wrong in (tmp_path / "none", tmp_path / "missing"):
        with pytest.raises(ApplianceError):
            read_base(wrong)


def test_another_base_is_refused(tmp_path: Path, new: Path, delta: Path, key: Ed25519PrivateKey) -> None:
    done = script("apply.sh", "--key", public(tmp_path, key), "--base", new, "--to", tmp_path / "site", delta)
    assert done.returncode == 1 and "made for another bundle" in done.stderr
    assert not (tmp_path / "site").exists()


@pytest.mark.parametrize("name", ["image.new.gz", "full/only-here", "apply.sh", "DELTA"])
def test_a_changed_delta_is_refused(tmp_path: Path, old: Path, delta: Path, key: Ed25519PrivateKey, name: str) -> None:
    content = (delta / name).read_bytes()
    (delta / name).write_bytes(content[:-1] + bytes([content[-1] ^ 4]))
    done = script("apply.sh", "--key", public(tmp_path, key), "--base", old, "--to", tmp_path / "site", delta)
    assert done.returncode == 1 and ("not as it was signed" in done.stderr or "is not signed" in done.stderr)
    assert {path.name for path in tmp_path.glob("site*")} == {"site.pub"}


def test_a_stick_that_changes_after_the_check_runs_nothing(
    tmp_path: Path, old: Path, delta: Path, key: Ed25519PrivateKey
) -> None:
    """It shows what is signed first, and a script of its own when it is copied."""
    (tmp_path / "bin").mkdir()
    real = shutil.which("cp")
    shim = f'#!/bin/sh\ncase "$*" in *full/*) echo "touch {tmp_path}/run" >full/verify.sh ;; esac\nexec {real} "$@"\n'
    (tmp_path / "bin" / "cp").write_text(shim, encoding="utf-8")
    (tmp_path / "bin" / "cp").chmod(0o755)
    words = ("--key", public(tmp_path, key), "--base", old, "--to", tmp_path / "site.bundle", delta)
    done = script("apply.sh", *words, PATH=f"{tmp_path}/bin:{os.environ['PATH']}")
    assert done.returncode == 1 and "the copy of full/verify.sh is not what was checked" in done.stderr
    assert not (tmp_path / "run").exists() and not (tmp_path / "site.bundle").exists()


def test_what_lies_in_folders_that_are_not_there_is_told(
    tmp_path: Path, old: Path, delta: Path, key: Ed25519PrivateKey
) -> None:
    to = tmp_path / "new" / "folder" / "site.bundle"
    done = script("apply.sh", "--key", public(tmp_path, key), "--base", old, "--to", to, delta)
    assert (done.returncode, done.stdout) == (0, f"whole: {to}\n"), done.stderr
    done = script("verify.sh", "--key", tmp_path / "none" / "key.pub", old)
    assert done.returncode == 1 and f"no key {tmp_path}/none/key.pub" in done.stderr


def test_of_what_the_site_has_already_there_is_no_delta(tmp_path: Path, new: Path, key: Ed25519PrivateKey) -> None:
    with pytest.raises(ApplianceError, match="is what the site has"):
        create_delta(new, tmp_path / "new.tar", read_base(new), key)


@pytest.mark.parametrize("name", ["image.tar.gz", "accounts/build.json"])
def test_a_damaged_base_is_noticed(tmp_path: Path, old: Path, delta: Path, key: Ed25519PrivateKey, name: str) -> None:
    if name == "image.tar.gz":
        plain = gzip.decompress((old / name).read_bytes())
        changed = gzip.compress(plain.replace(b"mmmm", b"mmmM", 1), mtime=0)
    else:
        changed = b"{]\n"
    (old / name).write_bytes(changed)
    done = script("apply.sh", "--key", public(tmp_path, key), "--base", old, "--to", tmp_path / "site", delta)
    assert done.returncode == 1 and "not the bundle that was signed" in done.stderr
    assert {path.name for path in tmp_path.glob("site*")} == {"site.pub"}


def test_what_is_there_is_not_replaced(tmp_path: Path, old: Path, delta: Path, key: Ed25519PrivateKey) -> None:
    done = script("apply.sh", "--key", public(tmp_path, key), "--base", old, "--to", old, delta)
    assert done.returncode == 1 and "is there already" in done.stderr
    assert verify_bundle(old, key.public_key()).version == "0.1.0"


def test_a_list_tells_its_layers(old: Path) -> None:
    contents = parse_contents((old / "CONTENTS").read_text(encoding="utf-8"))
    assert [type(one) for one in contents.layers] == [LayerPlace] * 4 and type(contents.files[0]) is Entry
