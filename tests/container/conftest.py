"""The real engine and the real image, made by the same code as `make image`."""

import contextlib
import fcntl
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.container.build import Names
from appliance.container.demo import running, wait_ready
from appliance.container.engine import Engine, LocalImage
from appliance.container.engine_setup import find_engine
from tests.conftest import ROOT, missing


@pytest.fixture(scope="session")
def engine() -> Engine:
    found, problems = find_engine()
    if found is None:
        missing(f"a container engine: {'; '.join(problems) or 'none installed'}")
    return found


@contextlib.contextmanager
def names_held() -> Iterator[None]:
    """While images take each other's names: tests of boxes make releases while others run images."""
    with (ROOT / "build/names.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@pytest.fixture
def names() -> Iterator[None]:
    """For tests that name images, or go by names without a version."""
    with names_held():
        yield


@pytest.fixture(scope="session")
def image(engine: Engine) -> LocalImage:
    name = Names("cpu", ("base",)).full
    with names_held():
        found = engine.describe(name)
    if found is None:
        missing(f"the image {name}: make image")
    return found


@pytest.fixture(scope="session")
def container(engine: Engine, image: LocalImage) -> Iterator[str]:
    """Name of a container of the image, without network, ready to serve."""
    with running(engine, image.name, "--health-interval", "2s") as name:
        wait_ready(engine, name)
        yield name


@pytest.fixture
def programs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is all of PATH, for stand-in programs."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", str(folder))
    return folder
