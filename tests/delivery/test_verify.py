"""A bundle is refused unless it is what was signed: by the tool that makes it, and by the script of the site alike."""

import random
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from appliance.delivery.keys import fingerprint
from appliance.delivery.single import write_single
from appliance.delivery.verify import verify_bundle
from appliance.errors import ApplianceError
from tests.delivery.bundles import FILES, MACHINE, make, public, script, sign

Change = Callable[[Path], object]


def refused(folder: Path, key: Ed25519PrivateKey, keys: Path) -> tuple[str, str]:
    """What the tool and the script say against it."""
    with pytest.raises(ApplianceError) as raised:
        verify_bundle(folder, key.public_key())
    done = script("verify.sh", "--key", public(keys, key), folder)
    assert (done.returncode, done.stdout) == (1, "")
    return raised.value.message, done.stderr


@pytest.fixture
def bundle(tmp_path: Path, key: Ed25519PrivateKey) -> Path:
    folder = tmp_path / "wlk.bundle"
    make(folder, key)
    return folder


def test_a_good_one_passes(tmp_path: Path, bundle: Path, key: Ed25519PrivateKey) -> None:
    contents = verify_bundle(bundle, key.public_key())
    assert [entry.path for entry in contents.files] == sorted([*FILES, "key.pem"])
    done = script("verify.sh", "--key", public(tmp_path, key), bundle)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == (
        f"good: cpu with base small.en, version 0.2.0, for {MACHINE}; 5 files, "
        f"signed with {fingerprint(key.public_key())}\n"
    )


def replace_by_link(folder: Path) -> None:
    (folder / "verify.sh").rename(folder.parent / "elsewhere")
    (folder / "verify.sh").symlink_to(folder.parent / "elsewhere")


CHANGES: dict[str, tuple[Change, str]] = {
    "a flipped byte": (lambda f: (f / "accounts/build.json").write_bytes(b"{]\n"), "accounts/build.json: its content"),
    "cut short": (lambda f: (f / "image.tar.zst").write_bytes(b"short"), "image.tar.zst: 5 bytes instead of 10240"),
    "removed": (lambda f: (f / "verify.sh").unlink(), "verify.sh: missing"),
    "added": (lambda f: (f / "accounts/more").write_bytes(b""), "accounts/more: not in the list"),
    "added and hidden": (lambda f: (f / ".more").write_bytes(b""), ".more: not in the list"),
    "renamed": (lambda f: (f / "verify.sh").rename(f / "verify2.sh"), "verify2.sh: not in the list"),
    "a link in its place": (replace_by_link, "verify.sh: no plain file"),
    "a link added": (lambda f: (f / "up").symlink_to("/etc"), "up: not in the list"),
    "its key changed": (lambda f: (f / "key.pem").write_bytes(b"x" * 113), "key.pem: its content has changed"),
}


@pytest.mark.parametrize("name", CHANGES)
def test_each_change_is_named(tmp_path: Path, bundle: Path, key: Ed25519PrivateKey, name: str) -> None:
    change, said = CHANGES[name]
    change(bundle)
    for words in refused(bundle, key, tmp_path):
        assert said in words


def test_all_that_is_wrong_is_named_at_once(tmp_path: Path, bundle: Path, key: Ed25519PrivateKey) -> None:
    for name in ("a flipped byte", "removed", "added"):
        CHANGES[name][0](bundle)
    for words in refused(bundle, key, tmp_path):
        assert all(CHANGES[name][1] in words for name in ("a flipped byte", "removed", "added"))


def test_another_key_or_no_signature_is_refused(tmp_path: Path, bundle: Path, key: Ed25519PrivateKey) -> None:
    other = Ed25519PrivateKey.generate()
    for words in refused(bundle, other, tmp_path):
        assert f"not signed with the key {fingerprint(other.public_key())}" in words
    text = (bundle / "CONTENTS").read_text(encoding="utf-8")
    sign(bundle, text.replace("0.2.0", "9.9.9"), other)
    for words in refused(bundle, key, tmp_path):
        assert "not signed" in words
    for name in ("CONTENTS.sig", "CONTENTS"):
        (bundle / name).unlink()
        for words in refused(bundle, key, tmp_path):
            assert f"no {name}" in words


def test_a_script_without_a_key_tells_the_fingerprint_and_takes_it(bundle: Path, key: Ed25519PrivateKey) -> None:
    digits = fingerprint(key.public_key())
    done = script("verify.sh", bundle)
    assert done.returncode == 1 and f"--trust {digits}" in done.stderr
    spaced = " ".join(digits[at : at + 4] for at in range(0, 32, 4)).upper()
    assert script("verify.sh", "--trust", spaced, bundle).returncode == 0
    assert script("verify.sh", "--trust", digits[:31], bundle).returncode == 2
    wrong = script("verify.sh", "--trust", "0" * 64, bundle)
    assert wrong.returncode == 1 and "another fingerprint" in wrong.stderr


def test_the_key_that_a_machine_trusts_is_used(tmp_path: Path, bundle: Path, key: Ed25519PrivateKey) -> None:
    public(tmp_path, key).rename(tmp_path / "bundle-key.pem")
    assert script("verify.sh", bundle, WLK_CONFIG=tmp_path).returncode == 0
    make(tmp_path / "foreign.bundle", Ed25519PrivateKey.generate())
    assert "not signed" in script("verify.sh", tmp_path / "foreign.bundle", WLK_CONFIG=tmp_path).stderr


def test_another_architecture_is_refused_at_the_site(tmp_path: Path, key: Ed25519PrivateKey) -> None:
    other = "arm64" if MACHINE == "amd64" else "amd64"
    make(tmp_path / "b", key, architecture=other)
    done = script("verify.sh", "--key", public(tmp_path, key), tmp_path / "b")
    assert done.returncode == 1 and f"is for {other}, this machine is {MACHINE}" in done.stderr


@pytest.mark.parametrize(("installed", "taken"), [("0.1.9", True), ("0.2.0", True), ("0.10.0", False)])
def test_an_older_version_wants_to_be_asked_for(
    tmp_path: Path, bundle: Path, key: Ed25519PrivateKey, installed: str, taken: bool
) -> None:
    make(tmp_path / "prefix/current", key, version=installed)
    words = ("--key", public(tmp_path, key), bundle)
    done = script("verify.sh", *words, WLK_PREFIX=tmp_path / "prefix")
    assert (done.returncode == 0) is taken
    assert taken or f"holds version 0.2.0, and {installed} is installed" in done.stderr
    assert script("verify.sh", "--allow-downgrade", *words, WLK_PREFIX=tmp_path / "prefix").returncode == 0


def test_every_flipped_bit_of_a_folder_is_caught(tmp_path: Path, bundle: Path, key: Ed25519PrivateKey) -> None:
    chance = random.Random(4)
    files = sorted(path for path in bundle.rglob("*") if path.is_file() and path.stat().st_size)
    for trial in range(60):
        file = files[trial % len(files)]
        whole = file.read_bytes()
        at = chance.randrange(len(whole))
        file.write_bytes(whole[:at] + bytes([whole[at] ^ 1 << chance.randrange(8)]) + whole[at + 1 :])
        refused(bundle, key, tmp_path)
        file.write_bytes(whole)
    verify_bundle(bundle, key.public_key())


def test_every_flipped_bit_of_the_single_file_is_caught(tmp_path: Path, bundle: Path, key: Ed25519PrivateKey) -> None:
    chance = random.Random(5)
    file = tmp_path / "wlk.bundle.tar"
    write_single(bundle, verify_bundle(bundle, key.public_key()), file)
    whole = file.read_bytes()
    assert verify_bundle(file, key.public_key()).version == "0.2.0"
    for trial in range(1500):
        at = trial if trial < 600 else chance.randrange(len(whole))
        file.write_bytes(whole[:at] + bytes([whole[at] ^ 1 << chance.randrange(8)]) + whole[at + 1 :])
        with pytest.raises(ApplianceError):
            verify_bundle(file, key.public_key())
    for changed in (whole[:-1], whole + b"\0", whole[:5000], b"", whole[512:]):
        file.write_bytes(changed)
        with pytest.raises(ApplianceError):
            verify_bundle(file, key.public_key())


def test_tar_unpacks_the_single_file(tmp_path: Path, bundle: Path, key: Ed25519PrivateKey) -> None:
    file = tmp_path / "wlk.bundle.tar"
    write_single(bundle, verify_bundle(bundle, key.public_key()), file)
    again = tmp_path / "again.tar"
    write_single(bundle, verify_bundle(bundle, key.public_key()), again)
    assert file.read_bytes() == again.read_bytes()
    shutil.unpack_archive(file, tmp_path / "site", "tar")
    assert script("verify.sh", "--key", public(tmp_path, key), tmp_path / "site/wlk.bundle").returncode == 0
    assert (tmp_path / "site/wlk.bundle/verify.sh").stat().st_mode & 0o111
