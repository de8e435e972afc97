"""Small bundles made for a test, and the site's scripts run on them."""

import hashlib
import os
import subprocess
from collections.abc import Mapping
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from appliance.delivery.contents import LIST_FILE, SIGNATURE_FILE, Contents, LayerPlace, entries
from appliance.delivery.keys import public_pem
from tests.conftest import ROOT

FILES = {
    "image.tar.zst": bytes(range(256)) * 40,
    "verify.sh": b"#!/bin/sh\n",
    "accounts/build.json": b"{}\n",
    "accounts/licences/a+b/LICENSE": b"",
}
MACHINE = {"x86_64": "amd64", "aarch64": "arm64"}[os.uname().machine]


def make(folder: Path, key: Ed25519PrivateKey, version: str = "0.2.0", architecture: str = MACHINE) -> Contents:
    """A bundle of a few files, signed."""
    for name, content in {**FILES, "key.pem": public_pem(key.public_key())}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    archive = hashlib.sha256(FILES["image.tar.zst"]).hexdigest()
    contents = Contents(
        version=version,
        target="cpu",
        models=("base", "small.en"),
        architecture=architecture,
        image_id=f"sha256:{'1' * 64}",
        made="2026-11-01T12:00:00Z",
        tags=("wlk-appliance:cpu-base",),
        archive="image.tar.zst",
        tar_sha256=archive,
        tar_size=len(FILES["image.tar.zst"]),
        layers=(LayerPlace("2" * 64, 512, 1024),),
        files=entries(folder),
    )
    sign(folder, contents.text(), key)
    return contents


def sign(folder: Path, text: str, key: Ed25519PrivateKey) -> None:
    (folder / LIST_FILE).write_text(text, encoding="utf-8")
    (folder / SIGNATURE_FILE).write_bytes(key.sign(text.encode()))


def public(folder: Path, key: Ed25519PrivateKey) -> Path:
    """The public key in a file."""
    path = folder / "site.pub"
    path.write_bytes(public_pem(key.public_key()))
    return path


def script(name: str, *words: str | Path, **environment: str | Path) -> subprocess.CompletedProcess[str]:
    """Run one of the site's scripts, on a machine where nothing is installed unless told."""
    places: Mapping[str, str | Path] = {"WLK_PREFIX": "/nonexistent", "WLK_CONFIG": "/nonexistent", **environment}
    return subprocess.run(
        ["bash", ROOT / "scripts" / name, *words],
        env={"PATH": os.environ["PATH"], **{key: str(value) for key, value in places.items()}},
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
