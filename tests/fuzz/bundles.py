"""A bundle of a few small files, signed with a key that is made for it."""

from functools import cache
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from appliance.delivery.contents import LIST_FILE, SIGNATURE_FILE, Entry, parse_contents
from appliance.delivery.single import ending, header, padding
from tests.delivery.bundles import make, public
from tests.fuzz.material import scratch


@cache
def key() -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(bytes(32))


@cache
def folder() -> Path:
    """The bundle as a folder."""
    path = scratch() / "wlk-cpu-base-0.2.0.bundle"
    make(path, key())
    return path


@cache
def public_key() -> Path:
    return public(scratch(), key())


@cache
def text() -> str:
    """Its list, as it was signed first."""
    return (folder() / LIST_FILE).read_text(encoding="utf-8")


def single(content: bytes) -> bytes:
    """The one file of the bundle with another list, signed as the true one would be."""
    signature = key().sign(content)
    parts = {LIST_FILE: content, SIGNATURE_FILE: signature}
    parts |= {entry.path: (folder() / entry.path).read_bytes() for entry in true_entries()}
    out = b"".join(header(folder().name, name, len(data)) + data + padding(len(data)) for name, data in parts.items())
    return out + ending(len(out))


@cache
def true_entries() -> tuple[Entry, ...]:
    return parse_contents(text()).files
