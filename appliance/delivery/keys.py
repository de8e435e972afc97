"""Keys that sign what is carried to a site: Ed25519 (RFC 8032), in PEM files as openssl reads and writes them.

At the site one call of openssl checks a signature:
``openssl pkeyutl -verify -pubin -inkey key.pem -rawin -in LIST -sigfile LIST.sig``.
"""

import hashlib
import os
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from appliance.errors import ApplianceError

PUBLIC_SUFFIX = ".pub"
SIGNATURE_SUFFIX = ".sig"
KEY_FILE = "key.pem"
"""The public key in what is carried: to be trusted by its fingerprint only."""

_FORMATS = "an Ed25519 key in PEM, as `wlk-appliance bundle keygen` makes it"


def generate(path: Path) -> tuple[Path, str]:
    """Make a private key (mode 0600) and its public key beside it; returns that file and its fingerprint.

    Raises:
        ApplianceError: one of the files is there already, or can't be written.
    """
    public = path.with_name(path.name + PUBLIC_SUFFIX)
    key = Ed25519PrivateKey.generate()
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    for file, content, mode in ((path, pem, 0o600), (public, public_pem(key.public_key()), 0o644)):
        try:
            handle = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        except FileExistsError as error:
            raise ApplianceError(
                f"{file} is there already", "a key is never replaced: name another file, or move that one away"
            ) from error
        except OSError as error:
            raise ApplianceError(f"can't write {file}: {error.strerror}", "name a place you can write to") from error
        with os.fdopen(handle, "wb") as out:
            out.write(content)
    return public, fingerprint(key.public_key())


def load_private(path: Path) -> Ed25519PrivateKey:
    """Read a key to sign with.

    Raises:
        ApplianceError: it can't be read, or is another kind of file.
    """
    try:
        key = serialization.load_pem_private_key(_read(path), password=None)
    except (ValueError, TypeError) as error:
        raise ApplianceError(f"{path} is no private key", f"give {_FORMATS}") from error
    if not isinstance(key, Ed25519PrivateKey):
        raise ApplianceError(f"{path} is a key of another kind", f"give {_FORMATS}")
    return key


def load_public(path: Path) -> Ed25519PublicKey:
    """Read a key to check signatures with.

    Raises:
        ApplianceError: it can't be read, or is another kind of file.
    """
    try:
        key = serialization.load_pem_public_key(_read(path))
    except ValueError as error:
        raise ApplianceError(f"{path} is no public key", f"give {_FORMATS} (NAME{PUBLIC_SUFFIX})") from error
    if not isinstance(key, Ed25519PublicKey):
        raise ApplianceError(f"{path} is a key of another kind", f"give {_FORMATS}")
    return key


def public_pem(key: Ed25519PublicKey) -> bytes:
    return key.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)


def fingerprint(key: Ed25519PublicKey) -> str:
    """SHA-256 of the key in DER, 64 hexadecimal digits: what people read to each other.

    At the site: ``openssl pkey -pubin -in key.pem -outform DER | sha256sum``.
    """
    der = key.public_bytes(serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)
    return hashlib.sha256(der).hexdigest()


def is_signed(content: bytes, signature: bytes, key: Ed25519PublicKey) -> bool:
    try:
        key.verify(signature, content)
    except InvalidSignature:
        return False
    return True


def write_signed(file: Path, text: str, key: Ed25519PrivateKey) -> None:
    """Write a list, and its signature beside it in ``NAME.sig``."""
    file.write_text(text, encoding="utf-8")
    file.with_name(file.name + SIGNATURE_SUFFIX).write_bytes(key.sign(text.encode()))


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise ApplianceError(f"can't read the key {path}: {error.strerror}", f"give {_FORMATS}") from error
