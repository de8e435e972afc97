"""A key for small bundles, and real releases that are made once for all tests: each takes a minute and gigabytes."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from appliance.container.engine import Engine, LocalImage
from tests.conftest import ROOT, missing
from tests.container.conftest import engine, image, names_held
from tests.delivery.releases import Release, first, later

__all__ = ["engine", "image"]  # fixtures


@pytest.fixture(scope="session")
def key() -> Ed25519PrivateKey:
    return Ed25519PrivateKey.generate()


@pytest.fixture(scope="session")
def release(tmp_path_factory: pytest.TempPathFactory, image: LocalImage) -> Iterator[Release]:
    """The bundle of the image that was built here; also in parts."""
    for program in ("zstd", "openssl"):
        if shutil.which(program) is None:
            missing(f"{program}: apt-get install {program}")
    folder = tmp_path_factory.mktemp("release")
    yield first(folder, "--split", "300M")
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def next_release(tmp_path_factory: pytest.TempPathFactory, engine: Engine, release: Release) -> Iterator[Release]:
    """A newer one, with another line of code."""
    yield from _later(tmp_path_factory.mktemp("next"), engine, release, "0.2.0")


@pytest.fixture(scope="session")
def deaf_release(tmp_path_factory: pytest.TempPathFactory, engine: Engine, release: Release) -> Iterator[Release]:
    """A newer one whose server starts, and says no word of what it hears."""
    change = ("server/protocol.py", '"text": line.text.strip()', '"text": ""')
    yield from _later(tmp_path_factory.mktemp("deaf"), engine, release, "0.3.0", change)


def _later(
    folder: Path, engine: Engine, release: Release, version: str, change: tuple[str, str, str] | None = None
) -> Iterator[Release]:
    with names_held():
        try:
            made = later(folder, release, version, change)
        finally:
            engine.load(ROOT / "build/images" / release.archive.name)  # its names went to the one just built
    yield made
    shutil.rmtree(folder)
