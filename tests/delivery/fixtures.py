"""Real releases that are made once for all tests: each takes a minute and gigabytes."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.container.engine import Engine, LocalImage
from tests.conftest import missing
from tests.container.builds import names_kept
from tests.container.fixtures import names_held
from tests.delivery.releases import Release, first, later


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
    with names_held(), names_kept(engine):
        made = later(folder, release, version, change)
    yield made
    shutil.rmtree(folder)
