"""Boxes to boot: each is new, with nothing of ours on it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.errors import ApplianceError
from tests.boot.box import Box, lacking
from tests.boot.rootfs import ensure_rootfs
from tests.conftest import missing


@pytest.fixture(scope="session")
def rootfs() -> Path:
    """What is installed on every box."""
    lack = lacking()
    if lack is not None:
        missing(lack)
    try:
        return ensure_rootfs()
    except ApplianceError as error:
        missing(f"the root file system of a box: {error}")


@pytest.fixture
def box(rootfs: Path) -> Iterator[Box]:
    """A box that has booted."""
    with Box(rootfs) as new:
        assert new.boot() == "running", new.run("systemctl", "--no-pager", "--failed").stdout
        yield new
