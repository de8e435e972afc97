"""The real engine and the real image, made by the same code as `make image`."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.container.demo import running, wait_ready
from appliance.container.engine import Engine, find_engine
from appliance.container.image import Image, image_name, inspect_image
from tests.conftest import missing


@pytest.fixture(scope="session")
def engine() -> Engine:
    found, problems = find_engine()
    if found is None:
        missing(f"a container engine: {'; '.join(problems) or 'none installed'}")
    return found


@pytest.fixture(scope="session")
def image(engine: Engine) -> Image:
    name = image_name("cpu", "base")
    found = inspect_image(engine, name)
    if found is None:
        missing(f"the image {name}: make image")
    return found


@pytest.fixture(scope="session")
def container(engine: Engine, image: Image) -> Iterator[str]:
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
