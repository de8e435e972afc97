"""Power lost, or the installer killed, at any moment of an update: the next boot serves either release."""

import random
import time

import pytest

from tests.boot.box import Box
from tests.boot.site import Site
from tests.delivery.releases import Release

pytestmark = [pytest.mark.image, pytest.mark.boot]

STEPS = ("- copy the release", "- hand the image", "- try the image", "- install the units", "- make the certificate")
OUTPUT = "/var/tmp/update.out"
LINKS = ("/opt/wlk/current", "/opt/wlk/previous")

# Read by bash before install.sh: ends it before a command of those that switch, or at the latest before it starts wlk.
KILLER = """
case "$0" in
*install.sh)
    set -o functrace
    at=-1
    next_command() {
        local where="${FUNCNAME[1]:-}"
        [[ $at -ge 0 || $where = switch ]] || return 0
        at=$((at + 1))
        [[ $at -ne $KILL_AT && $where != restart ]] || { echo "$at $where: $1" >/var/tmp/killed; kill -KILL $$; }
    }
    trap '[ "$BASH_SUBSHELL" != 0 ] || next_command "$BASH_COMMAND"' DEBUG
    ;;
esac
"""


def said_so(box: Box, step: str) -> None:
    """Wait until the installer says that it begins a step."""
    give_up = time.monotonic() + 600
    while time.monotonic() < give_up:
        if step in box.run("cat", OUTPUT, check=False).stdout:
            return
        time.sleep(0.05)
    pytest.fail(box.run("cat", OUTPUT, check=False).stdout)


def test_power_cut_in_every_step_of_an_update(site: Site, next_release: Release) -> None:
    box, chance = site.box, random.Random(5)
    bundle = site.on_stick(next_release.bundle)
    ends = []
    for step in STEPS:
        if site.version() == "0.2.0":
            box.run("/opt/wlk/current/install.sh", "--rollback")
        box.run("rm", "-f", OUTPUT)
        log = (f"--property=StandardOutput=file:{OUTPUT}", f"--property=StandardError=append:{OUTPUT}")
        box.run("systemd-run", "--collect", "--unit=update", *log, "/opt/wlk/current/install.sh", bundle)
        said_so(box, step)
        time.sleep(chance.uniform(0, 1.5))
        box.cut_power()
        assert box.boot() == "running", step
        site.comes_to("active")  # its first start may have failed
        assert site.version() in ("0.1.0", "0.2.0"), step
        assert site.served() == site.version(), step
        assert box.run("/opt/wlk/current/verify.sh", "--allow-downgrade").returncode == 0, step
        ends.append(site.version())
    assert ends[0] == "0.1.0" and ends[-1] == "0.2.0"

    # The same command again finishes what was begun, and leaves nothing half made.
    done = site.install(next_release.bundle)
    assert done.returncode == 0, done.stdout + done.stderr
    assert (site.version(), site.served(), site.hears()) == ("0.2.0", "0.2.0", True)
    assert site.said("ls", "/opt/wlk/.unproved") == ""
    halves = ("-name", "*new", "-o", "-name", "*.partial")
    assert site.said("find", "/opt/wlk", "/etc/wlk", "/etc/systemd", "(", *halves, ")") == ""
    assert len(site.said("ls", "/opt/wlk/releases").split()) == 2


@pytest.mark.parametrize("writes", [11, 12, 13])
def test_power_cut_while_a_container_starts(site: Site, writes: int) -> None:
    """Docker writes down what it does with networks, some ten times for a stop, and some times for a start. Between two
    of these it may remember a port for ever whose container it forgets, and no start succeeds until its own next one.
    """
    book = site.box.folder / "layers" / "network" / "files" / "local-kv.db"
    last = book.stat().st_mtime_ns
    site.box.run("systemctl", "restart", "--no-block", "wlk")
    give_up = time.monotonic() + 20
    while writes and time.monotonic() < give_up:
        now = book.stat().st_mtime_ns
        writes, last = writes - (now != last), now
    site.box.cut_power()
    assert site.box.boot() == "running"
    site.comes_to("active")


def test_killed_before_every_command_of_a_switch(site: Site, next_release: Release) -> None:
    """After the update above: each command of the way back is the last one once."""
    box = site.box
    box.run("tee", "/var/tmp/killer.sh", input_text=KILLER)
    places = [site.said("readlink", link) for link in LINKS]
    assert "releases/0.2.0" in places[0] and "releases/0.1.0" in places[1]
    reached, last = set(), ""
    for at in range(1000):
        for link, place in zip(LINKS, places, strict=True):
            box.run("ln", "--symbolic", "--force", "--no-dereference", place, link)
        box.run("rm", "-f", "/var/tmp/killed")
        rollback = f"KILL_AT={at} BASH_ENV=/var/tmp/killer.sh bash /opt/wlk/current/install.sh --rollback"
        assert box.run("bash", "-c", rollback, check=False).returncode != 0
        last = site.said("cat", "/var/tmp/killed")
        assert last.startswith(f"{at} ")
        reached.add(site.version())
        assert site.version() in ("0.1.0", "0.2.0"), last
        assert box.run("systemctl", "cat", "wlk", "wlk-load", "wlk-cert").returncode == 0, last
        if "restart:" in last:
            break
    assert at > 30 and reached == {"0.1.0", "0.2.0"}
    box.cut_power()
    assert box.boot() == "running"
    assert (site.version(), site.served(), site.hears()) == ("0.1.0", "0.1.0", True)
