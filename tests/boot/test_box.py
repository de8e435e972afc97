"""That the box is what other tests take it for: a machine of its own, without a network, that can lose its power."""

import socket
import subprocess
import sys
from pathlib import Path

import pytest

from appliance.errors import ApplianceError
from tests.boot.box import BOXES, STICK, Box
from tests.conftest import ROOT

pytestmark = pytest.mark.boot

IMAGE = "tiny:1"
PORT = 8765
# Debian's own minimal system has perl, and nothing else that listens.
SERVER = """
use IO::Socket::INET;
my $door = IO::Socket::INET->new(LocalPort => 8000, Listen => 5, ReuseAddr => 1) or die $!;
while (my $guest = $door->accept) { print $guest "hello"; close $guest }
"""
# The engine listens on the port before the server in the container does, and then answers with nothing.
CLIENT = f"""
import contextlib, socket, time
for _ in range(100):
    with contextlib.suppress(OSError), socket.create_connection(('127.0.0.1', {PORT}), 5) as server:
        if answer := server.recv(9):
            print(answer.decode())
            break
    time.sleep(0.1)
"""
UNIT = """
[Unit]
Requires=docker.service
After=docker.service
[Service]
ExecStart=/bin/sh -c 'echo started >>/var/lib/probe; exec sleep infinity'
ExecStop=/bin/sh -c 'echo stopped >>/var/lib/probe'
[Install]
WantedBy=multi-user.target
"""


def load_tiny_image(box: Box) -> None:
    """Make an image of a few files that the box has."""
    parts = "bin lib* usr/bin/dash usr/bin/sh usr/bin/sleep usr/bin/perl usr/lib/*-linux-gnu* usr/lib64"
    box.run("sh", "-c", f"cd / && tar --create --ignore-failed-read {parts} | docker import - {IMAGE}")


def install(box: Box, name: str, unit: str) -> None:
    box.run("tee", f"/etc/systemd/system/{name}", input_text=unit)
    box.run("systemctl", "enable", "--now", "--quiet", name)


def test_systemd_is_its_first_process_and_no_python_is_there(box: Box) -> None:
    assert box.run("ps", "--no-headers", "-o", "comm", "1").stdout.strip() == "systemd"
    assert box.run("hostname").stdout.strip() == "box"
    assert box.run("sh", "-c", "ls /usr/bin | grep --count python", check=False).stdout.strip() == "0"


def test_its_engine_is_its_own_and_holds_nothing(box: Box) -> None:
    assert box.images() == [] and box.engine("ps", "--all", "--quiet") == ""
    assert box.run("systemctl", "is-active", "docker").stdout.strip() == "active"
    pid = box.run("systemctl", "show", "--property=MainPID", "--value", "docker").stdout.strip()
    assert box.run("ps", "--no-headers", "-o", "comm", pid).stdout.strip() == "dockerd"


def test_there_is_no_way_to_anywhere(box: Box) -> None:
    links = box.run("ip", "-brief", "link").stdout.splitlines()
    assert sorted(line.split()[0] for line in links) == ["docker0", "lo"]
    assert "default" not in box.run("ip", "route").stdout
    code = "import socket; socket.create_connection(('192.0.2.1', 443), 5)"  # an address for documentation
    assert "Network is unreachable" in box.client(sys.executable, "-c", code, check=False).stderr


def test_it_can_not_change_its_host(box: Box) -> None:
    for name in ("kernel/panic", "vm/swappiness", "fs/file-max"):
        done = box.run("sh", "-c", f"echo 1 >/proc/sys/{name}", check=False)
        assert done.returncode != 0 and "Read-only" in done.stderr
    assert box.run("date", "--set", "@0", check=False).returncode != 0


def test_the_disk_lasts_and_memory_does_not(box: Box) -> None:
    for path in ("/opt/wlk/kept", "/etc/kept", "/var/lib/wlk/kept"):
        box.run("sh", "-c", f"mkdir -p $(dirname {path}) && echo kept >{path}")
    box.run("touch", "/run/lost", "/tmp/lost")
    box.run("logger", "--tag", "probe", "before")
    assert box.reboot() == "running"
    box.cut_power()
    assert box.boot() == "running"
    assert box.run("cat", "/opt/wlk/kept", "/etc/kept", "/var/lib/wlk/kept").stdout.split() == ["kept"] * 3
    assert box.run("ls", "/run/lost", "/tmp/lost", check=False).stdout == ""
    assert "before" in box.run("journalctl", "--boot=-2", "--identifier=probe").stdout


def test_a_reboot_stops_units_in_order_and_a_power_cut_stops_none(box: Box) -> None:
    install(box, "probe.service", UNIT)
    assert box.reboot() == "running"
    assert box.run("cat", "/var/lib/probe").stdout.split() == ["started", "stopped", "started"]
    box.cut_power()
    assert box.boot() == "running"
    assert box.run("cat", "/var/lib/probe").stdout.split() == ["started", "stopped", "started", "started"]
    assert "Started probe.service" in box.journal("probe.service")
    assert "Stopped probe.service" not in box.journal("probe.service", "--boot=-1")
    assert "Stopped probe.service" in box.journal("probe.service", "--boot=-2")


def test_a_unit_that_fails_is_told(box: Box) -> None:
    install(box, "probe.service", UNIT)
    box.run("sed", "--in-place", "s|^ExecStart=.*|ExecStart=/bin/false|", "/etc/systemd/system/probe.service")
    assert box.reboot() == "degraded"
    assert "probe.service: Failed with result" in box.journal("probe.service")


def test_what_its_containers_publish_is_reached_on_it_and_from_nowhere_else(box: Box) -> None:
    load_tiny_image(box)
    publish = ("--publish", f"0.0.0.0:{PORT}:8000")
    box.engine("run", "--detach", "--name", "server", *publish, IMAGE, "/usr/bin/perl", "-e", SERVER)
    assert box.client(sys.executable, "-c", CLIENT).stdout.strip() == "hello"
    with socket.socket() as outside:
        outside.settimeout(5)
        assert outside.connect_ex(("127.0.0.1", PORT)) != 0


def test_its_containers_see_its_disk_and_come_back_as_their_policy_says(box: Box) -> None:
    load_tiny_image(box)
    box.run("mkdir", "--parents", "/var/lib/wlk")
    script = "echo up >>/var/lib/wlk/log; exec sleep 1000"
    for name, policy in (("kept", "unless-stopped"), ("once", "no")):
        words = ("run", "--detach", "--name", name, "--restart", policy, "--memory", "64m", "--stop-signal", "KILL")
        box.engine(*words, "--volume", "/var/lib/wlk:/var/lib/wlk", IMAGE, "/usr/bin/sh", "-c", script)
    assert box.images() == [IMAGE]
    assert box.engine("ps", "--format", "{{.Names}}").split() == ["once", "kept"]
    assert box.run("cat", "/var/lib/wlk/log").stdout.split() == ["up"] * 2

    assert box.reboot() == "running"
    assert box.engine("ps", "--format", "{{.Names}}").split() == ["kept"]
    box.cut_power()
    assert box.boot() == "running"
    assert box.engine("ps", "--format", "{{.Names}}").split() == ["kept"]
    assert box.run("cat", "/var/lib/wlk/log").stdout.split() == ["up"] * 4
    assert box.images() == [IMAGE]


def processes(box: Box) -> set[Path]:
    """The control groups, as this host sees them, that hold the processes of the box."""
    return {file.parent for file in Path("/sys/fs/cgroup").glob(f"**/{box.folder.name}/**/cgroup.procs")}


def test_a_power_cut_ends_everything_and_leaves_nothing(box: Box) -> None:
    assert len(processes(box)) > 5
    box.cut_power()
    assert not box.is_on and processes(box) == set()
    with pytest.raises(ApplianceError, match="the box is off"):
        box.run("true")
    with pytest.raises(ApplianceError, match="the box is off already"):
        box.cut_power()


def test_a_box_that_does_not_come_up_is_told(box: Box) -> None:
    box.run("rm", "/usr/sbin/init")
    box.cut_power()
    with pytest.raises(ApplianceError, match="the box did not boot"):
        box.boot()


def test_files_and_folders_are_put_on_it(box: Box, tmp_path: Path) -> None:
    (tmp_path / "given/deep").mkdir(parents=True)
    (tmp_path / "given/deep/script").write_text("#!/bin/sh\necho ran\n", encoding="utf-8")
    (tmp_path / "given/deep/script").chmod(0o755)
    box.copy(tmp_path / "given", "/root/stick")
    assert box.run("/root/stick/given/deep/script").stdout == "ran\n"
    with pytest.raises(ApplianceError, match="could not be read"):
        box.copy(tmp_path / "absent", "/root/stick")


def test_a_stick_is_read_and_not_written(rootfs: Path, tmp_path: Path) -> None:
    (tmp_path / "given").write_text("given", encoding="utf-8")
    with Box(rootfs, stick=tmp_path) as box:
        box.boot()
        assert box.run("cat", f"{STICK}/given").stdout == "given"
        assert "Read-only" in box.run("touch", f"{STICK}/more", check=False).stderr


def test_systemd_judges_units_there(box: Box) -> None:
    install(box, "probe.service", UNIT)
    assert box.run("systemd-analyze", "verify", "/etc/systemd/system/probe.service").stderr == ""
    box.run("tee", "-a", "/etc/systemd/system/wrong.service", input_text="[Service]\nExecStrat=/bin/true\n")
    done = box.run("systemd-analyze", "verify", "/etc/systemd/system/wrong.service", check=False)
    assert done.returncode != 0 and "ExecStrat" in done.stderr
    for offline in ("false", "true"):
        told = box.run("systemd-analyze", "--no-pager", "security", f"--offline={offline}", "probe.service").stdout
        assert "Overall exposure level for probe.service" in told


def test_two_boxes_know_nothing_of_each_other(box: Box, rootfs: Path) -> None:
    box.run("touch", "/etc/here")
    with Box(rootfs) as other:
        assert other.boot() == "running"
        assert other.run("ls", "/etc/here", check=False).stdout == ""
        folder = other.folder
    assert not folder.exists() and box.is_on


def test_the_box_of_a_run_that_was_killed_goes_when_the_next_one_comes(rootfs: Path) -> None:
    code = f"""
import os, signal
from pathlib import Path
from tests.boot.box import Box
with Box(Path({str(rootfs)!r})) as box:
    box.boot()
    print(box.folder, (box.folder / "pid").read_text(), flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE, text=True, check=False)
    left, pid = done.stdout.split()
    assert Path(left).parent == BOXES and Path("/proc", pid, "cmdline").read_text(encoding="utf-8").startswith("/sbin")
    with Box(rootfs):
        assert not Path(left).exists() and not list(Path("/sys/fs/cgroup").glob(f"**/{Path(left).name}"))
