"""The real engine and the real image, made by the same code as `make image`."""

import contextlib
import fcntl
from collections.abc import Iterator

import pytest

from appliance.container.engine import Engine, LocalImage
from appliance.container.engine_setup import find_engine
from tests.conftest import ROOT, missing
from tests.container.builds import NAMES


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
    with names_held():
        found = engine.describe(NAMES.full)
    if found is None:
        missing(f"the image {NAMES.full}: make image")
    return found
