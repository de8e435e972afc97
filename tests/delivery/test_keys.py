import subprocess
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from appliance.delivery.keys import fingerprint, generate, is_signed, load_private, load_public
from appliance.errors import ApplianceError


def test_a_key_signs_what_its_public_half_checks(tmp_path: Path) -> None:
    public, digits = generate(tmp_path / "key")
    key = load_public(public)
    signature = load_private(tmp_path / "key").sign(b"list")
    assert is_signed(b"list", signature, key) and not is_signed(b"lisT", signature, key)
    assert (tmp_path / "key").stat().st_mode & 0o777 == 0o600
    assert digits == fingerprint(key)


def test_openssl_tells_the_same_fingerprint(tmp_path: Path) -> None:
    public, digits = generate(tmp_path / "key")
    der = subprocess.run(
        ["openssl", "pkey", "-pubin", "-in", public, "-outform", "DER"], capture_output=True, check=True
    ).stdout
    told = subprocess.run(["sha256sum"], input=der, capture_output=True, check=True).stdout
    assert told.split()[0].decode() == digits


def test_a_key_is_never_replaced(tmp_path: Path) -> None:
    generate(tmp_path / "key")
    before = (tmp_path / "key").read_bytes()
    with pytest.raises(ApplianceError, match="is there already"):
        generate(tmp_path / "key")
    assert (tmp_path / "key").read_bytes() == before


def test_other_files_are_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("hello", encoding="utf-8")
    other = ec.generate_private_key(ec.SECP256R1())
    (tmp_path / "other").write_bytes(other.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    generate(tmp_path / "key")
    for load, name in ((load_private, "text"), (load_private, "other"), (load_private, "none"), (load_public, "text")):
        with pytest.raises(ApplianceError, match=name):
            load(tmp_path / name)
    with pytest.raises(ApplianceError, match="no public key"):
        load_public(tmp_path / "key")


def test_keys_differ() -> None:
    one, other = Ed25519PrivateKey.generate().public_key(), Ed25519PrivateKey.generate().public_key()
    assert fingerprint(one) != fingerprint(other)
