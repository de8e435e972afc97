"""The appliance where Podman is the engine: the units through its socket, and the unit that Quadlet makes."""

from collections.abc import Iterator

import pytest

from appliance.errors import ApplianceError
from tests.boot.box import Box, lacking
from tests.boot.rootfs import PODMAN, ensure_rootfs
from tests.boot.site import Site
from tests.boot.test_service import SOON
from tests.conftest import Spoken, missing
from tests.delivery.releases import Release

pytestmark = [pytest.mark.image, pytest.mark.boot]

QUADLET = "/etc/containers/systemd/wlk.container"
LEFT = {"/etc/wlk", "/etc/wlk/wlk.env", "/var/lib/wlk"}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, librivox: tuple[Spoken, ...]) -> Iterator[Site]:
    """A box with Podman, and nothing of ours at first."""
    lack = lacking()
    if lack is not None:
        missing(lack)
    try:
        rootfs = ensure_rootfs(PODMAN)
    except ApplianceError as error:
        missing(f"the root file system of a box: {error}")
    stick = tmp_path_factory.getbasetemp()
    with Box(rootfs, stick=stick, engine="podman") as box:
        assert box.boot() == "running"
        yield Site(box, stick, librivox[0])


def install(site: Site, release: Release, *words: str) -> None:
    done = site.install(release.bundle, "--key", site.on_stick(release.key), *words)
    assert done.returncode == 0, done.stdout + done.stderr


def uninstalled(site: Site) -> bool:
    """Whether nothing is left after it is taken off, but for what it says that it keeps."""
    site.box.run("bash", "/opt/wlk/current/uninstall.sh")
    assert site.box.images() == [] and site.box.engine("ps", "--all", "--quiet") == ""
    assert site.box.engine("volume", "ls", "--quiet") == ""
    left = site.said("find", "/", "-xdev", "-name", "*wlk*", "-not", "-path", "/proc/*", "-not", "-path", "/media/*")
    return set(left.split()) == LEFT


def test_the_units_are_clients_of_its_socket(site: Site, release: Release) -> None:
    box = site.box
    install(site, release)
    assert (site.state(), site.version(), site.hears()) == ("active", "0.1.0", True)
    assert box.engine("ps", "--format", "{{.Names}}") == "wlk-service"
    assert "error" not in box.journal("wlk").lower()
    for unit in ("wlk.service", "wlk-load.service"):
        told = site.said("systemd-analyze", "--no-pager", "security", unit).splitlines()[-1]
        assert float(told.split(":")[1].split()[0]) <= 2.0, told

    assert box.reboot() == "running"
    assert (site.state(), site.hears()) == ("active", True)
    box.cut_power()
    assert box.boot() == "running"
    assert (site.state(), site.hears()) == ("active", True)

    # An instance beside it; and one that can't start says why.
    box.run("tee", "/etc/wlk/two.env", input_text="WLK_PORT=8001\n")
    box.run("systemctl", "start", "wlk@two")
    assert site.hears(8001)
    box.run("systemctl", "stop", "wlk@two")
    box.run("tee", "/etc/wlk/two.env", input_text="WLK_MODEL=huge\n")
    assert box.run("systemctl", "start", "wlk@two", check=False).returncode != 0
    assert "no model huge" in site.said("systemctl", "status", "wlk@two")
    box.run("systemctl", "stop", "wlk@two")
    box.run("rm", "/etc/wlk/two.env")

    # An image that was lost is loaded by the unit.
    box.run("systemctl", "stop", "wlk", "wlk-load")
    box.engine("image", "rm", "--force", "--all")
    box.run("systemctl", "start", "wlk", timeout_s=300)
    assert site.hears()


def test_a_unit_of_quadlet_serves_where_it_is_asked_for(site: Site, release: Release) -> None:
    """After the test above: the other way in, and back."""
    box = site.box
    install(site, release, "--quadlet")
    assert QUADLET in site.said("systemctl", "show", "--property=SourcePath", "wlk")
    assert (site.state(), site.hears()) == ("active", True)
    assert site.said("systemd-analyze", "verify", "wlk.service") == ""

    assert box.reboot() == "running"
    assert (site.state(), site.hears()) == ("active", True)
    box.engine("kill", "wlk-service")
    seen = "systemctl show --property NRestarts --property ActiveState wlk | sort | tr '\\n' ' '"
    back = f"until {seen} | grep -q '^ActiveState=active NRestarts=[1-9]'; do sleep 1; done"
    box.run("timeout", "300", "bash", "-c", back, timeout_s=320)
    assert site.hears()

    # One that hangs comes back too, sooner than it would by itself.
    box.run("mkdir", "--parents", "/run/systemd/system/wlk.service.d")
    box.run("tee", "/run/systemd/system/wlk.service.d/soon.conf", input_text=SOON)
    box.run("systemctl", "daemon-reload")
    box.run("systemctl", "restart", "wlk")
    box.engine("kill", "--signal=STOP", "wlk-service")
    box.run("timeout", "300", "bash", "-c", back, timeout_s=320)
    assert site.hears() and "Watchdog timeout" in box.journal("wlk")
    box.run("rm", "-r", "/run/systemd/system/wlk.service.d")
    box.run("systemctl", "daemon-reload")
    box.run("systemctl", "restart", "wlk")

    # It is kept by the next installation, which has nothing to do.
    started = site.said("systemctl", "show", "--property=ActiveEnterTimestamp", "wlk")
    install(site, release)
    assert site.said("systemctl", "show", "--property=ActiveEnterTimestamp", "wlk") == started

    box.run("sed", "--in-place", "s/^WLK_MODEL=.*/WLK_MODEL=huge/", "/etc/wlk/wlk.env")
    assert box.run("systemctl", "restart", "wlk", check=False).returncode != 0
    assert "no model 'huge'" in site.said("systemctl", "status", "wlk")
    box.run("sed", "--in-place", "s/^WLK_MODEL=.*/WLK_MODEL=/", "/etc/wlk/wlk.env")

    # And back.
    box.run("rm", QUADLET)
    install(site, release)
    assert "/etc/systemd/system/wlk.service" in site.said("systemctl", "show", "--property=FragmentPath", "wlk")
    assert (site.state(), site.hears()) == ("active", True)
    assert uninstalled(site)
