"""Boxes to boot: each is new, with nothing of ours on it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.errors import ApplianceError
from tests.boot.box import Box, lacking
from tests.boot.rootfs import ensure_rootfs
from tests.boot.site import Site
from tests.conftest import Spoken, missing
from tests.delivery.releases import Release


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


@pytest.fixture(scope="module")
def bare(rootfs: Path, tmp_path_factory: pytest.TempPathFactory, librivox: tuple[Spoken, ...]) -> Iterator[Site]:
    """A site with a box on which nothing of ours is, shared by the tests of a module in their order."""
    stick = tmp_path_factory.getbasetemp()
    with Box(rootfs, stick=stick) as box:
        assert box.boot() == "running"
        yield Site(box, stick, librivox[0])


@pytest.fixture(scope="module")
def site(bare: Site, release: Release) -> Site:
    """The same, with the first release installed."""
    done = bare.install(release.bundle, "--key", bare.on_stick(release.key))
    assert done.returncode == 0, done.stdout + done.stderr
    return bare
