"""What systemd does with a server that hangs, and with one that says not to try again: the units and their script for
real, over an engine that only stands there. tests/boot/test_service.py has the real one.
"""

import time
from collections.abc import Callable

import pytest

from tests.boot.box import Box
from tests.conftest import ROOT

pytestmark = pytest.mark.boot

QUICK = "[Service]\nWatchdogSec=8s\nEnvironment=WLK_WATCH_SECONDS=1\n"
"""A watchdog that waits for seconds, not minutes: what stands there for the engine answers at once."""

ENGINE = """#!/bin/bash
case "$1" in
run)
    [ ! -e /run/damaged ] || { sleep 3; echo "error: the model is damaged" >&2; exit 70; }
    exec -a server sleep 100000
    ;;
exec) [ -e /run/well ] || { echo "no answer from https://127.0.0.1:8000/healthz"; exit 1; } ;;
esac
"""


def properties(box: Box) -> dict[str, str]:
    rows = box.run("systemctl", "show", "--property=ActiveState,NRestarts,MainPID,Result", "wlk").stdout.splitlines()
    return dict(row.split("=", 1) for row in rows)


def until(box: Box, condition: Callable[[dict[str, str]], bool]) -> dict[str, str]:
    give_up = time.monotonic() + 120
    while time.monotonic() < give_up:
        if condition(found := properties(box)):
            return found
        time.sleep(0.5)
    pytest.fail(box.journal("wlk")[-3000:])


@pytest.fixture
def wired(box: Box) -> Box:
    """A box with the unit, and nothing behind it."""
    box.run("systemctl", "mask", "--now", "docker.socket", "docker")
    box.run("mkdir", "--parents", "/etc/wlk", "/var/lib/wlk", "/etc/systemd/system/wlk.service.d")
    for name in ("service.sh", "site.sh", "errors.sh", "run_wlk.sh"):
        box.copy(ROOT / "scripts" / name, "/opt/wlk/current")
    box.copy(ROOT / "systemd/wlk.service", "/etc/systemd/system")
    box.copy(ROOT / "systemd/wlk.env", "/etc/wlk")
    contents = f"wlk-bundle 1\nversion 0.1.0\nmodels base\nimage sha256:{'1' * 64}\n"
    for file, text in (
        ("/opt/wlk/current/CONTENTS", contents),
        ("/usr/local/bin/docker", ENGINE),
        ("/etc/systemd/system/wlk.service.d/site.conf", QUICK),
    ):
        box.run("tee", file, input_text=text)
    box.run("chmod", "755", "/usr/local/bin/docker")
    box.run("touch", "/run/well")
    box.run("systemctl", "daemon-reload")
    return box


def test_a_server_that_does_not_answer_is_replaced_and_one_that_does_is_left_alone(wired: Box) -> None:
    wired.run("systemctl", "start", "wlk")
    first = properties(wired)
    time.sleep(12)  # longer than the watchdog waits
    assert properties(wired) == first
    wired.run("rm", "/run/well")
    until(wired, lambda seen: int(seen["NRestarts"]) > 0)
    log = wired.journal("wlk")
    assert "Watchdog timeout" in log and "wlk: not well: no answer from https://127.0.0.1:8000/healthz" in log
    wired.run("touch", "/run/well")
    again = until(wired, lambda seen: seen["ActiveState"] == "active")
    assert again["MainPID"] not in ("0", first["MainPID"])
    wired.run("systemctl", "stop", "wlk")
    assert wired.run("pgrep", "--full", "service.sh ready|served", check=False).stdout == "", "nobody asks any more"


def test_a_server_that_gives_up_is_not_started_again(wired: Box) -> None:
    wired.run("rm", "/run/well")
    wired.run("touch", "/run/damaged")
    assert wired.run("systemctl", "start", "wlk", check=False).returncode != 0
    seen = until(wired, lambda seen: seen["ActiveState"] == "failed")
    assert seen["NRestarts"] == "0"
    assert "did not start: error: the model is damaged" in wired.run("systemctl", "status", "wlk", check=False).stdout
