"""A container of the real image, and stand-ins for programs."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.container.demo import running, wait_ready
from appliance.container.engine import Engine, LocalImage


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
