"""The units on a booted box: what runs, how closed in, and what becomes of it when something fails."""

import json
import re
import time
from collections.abc import Iterator

import pytest

from tests.boot.site import Site

pytestmark = [pytest.mark.image, pytest.mark.boot]

SETTINGS = "/etc/wlk/wlk.env"
SOON = "[Service]\nWatchdogSec=30s\nEnvironment=WLK_WATCH_SECONDS=3\n"
"""A watchdog that waits for less than two minutes."""


@pytest.fixture(autouse=True)
def serving(site: Site) -> Iterator[None]:
    """Each test finds it serving, and leaves it so."""
    assert site.state() == "active"
    yield
    site.box.run("rm", "-rf", "/etc/systemd/system/wlk.service.d")
    site.box.run("cp", "/opt/wlk/current/wlk.env", SETTINGS)
    site.box.run("systemctl", "daemon-reload")
    site.box.run("systemctl", "start", "docker.socket", "docker")  # a test that failed may have left it stopped
    done = site.box.run("timeout", "300", "systemctl", "start", "wlk", check=False, timeout_s=330)
    assert done.returncode == 0, site.said("systemctl", "list-jobs") + site.box.journal("wlk*")[-5000:]


def put_setting(site: Site, name: str, value: str) -> None:
    site.box.run("sed", "--in-place", f"s|^{name}=.*|{name}={value}|", SETTINGS)


def container(site: Site) -> str:
    return site.said("docker", "inspect", "--format", "{{.Id}}", "wlk-service")


@pytest.mark.parametrize("unit", ["wlk-load.service", "wlk-cert.service", "wlk.service", "wlk@other.service"])
def test_systemd_has_nothing_to_remark_and_little_is_exposed(site: Site, unit: str) -> None:
    done = site.box.run("systemd-analyze", "verify", unit, check=False)
    assert (done.returncode, done.stdout + done.stderr) == (0, "")
    site.box.run("touch", "/etc/wlk/other.env")
    said = site.said("systemd-analyze", "security", "--no-pager", unit)
    site.box.run("rm", "/etc/wlk/other.env")
    found = re.search(r"Overall exposure level for \S+: ([0-9.]+)", said)
    assert found, said
    assert float(found[1]) <= 2.0


def test_the_container_is_closed_in(site: Site) -> None:
    [seen] = json.loads(site.said("docker", "inspect", "wlk-service"))
    host = seen["HostConfig"]
    assert host["ReadonlyRootfs"] and host["CapDrop"] == ["ALL"] and not host["Privileged"]
    assert host["SecurityOpt"] == ["no-new-privileges"]
    assert host["Memory"] == 6 * 2**30 and host["PidsLimit"] == 512
    assert host["LogConfig"]["Type"] == "none" and seen["Config"]["User"] == "10001:10001"
    assert host["Binds"] == ["/var/lib/wlk:/var/lib/wlk"]
    who = site.said("docker", "exec", "wlk-service", "cat", "/proc/1/status")
    assert re.search(r"^Uid:\s10001\b", who, re.MULTILINE) and re.search(r"^CapEff:\s0+$", who, re.MULTILINE)
    assert re.search(r"^NoNewPrivs:\s1$", who, re.MULTILINE)


def test_the_certificate_is_made_as_the_servers_user(site: Site) -> None:
    rows = site.said("bash", "-c", "stat --dereference --format '%a %u %n' /var/lib/wlk/tls/*.pem").splitlines()
    assert {row.split()[2].rpartition("/")[2]: row.split()[:2] for row in rows} == {
        "ca.pem": ["644", "10001"],
        "certificate.pem": ["644", "10001"],
        "ca-key.pem": ["600", "10001"],
        "key.pem": ["600", "10001"],
    }
    assert site.said("systemctl", "show", "--property=Result", "--value", "wlk-cert") == "success"
    assert "NEXT" in site.said("systemctl", "list-timers", "wlk-cert.timer")


def test_a_new_address_comes_into_the_certificate(site: Site) -> None:
    def names() -> str:
        return site.said(
            "openssl", "x509", "-in", "/var/lib/wlk/tls/certificate.pem", "-noout", "-ext", "subjectAltName"
        )

    before = names()
    assert "DNS:box" in before and "DNS:localhost" in before and "IP Address:127.0.0.1" in before
    site.box.run("ip", "address", "add", "10.77.0.5/24", "dev", "lo")
    ca = site.said("cat", "/var/lib/wlk/tls/ca.pem")
    site.box.run("systemctl", "start", "wlk-cert")
    assert "IP Address:10.77.0.5" in names()
    assert site.said("cat", "/var/lib/wlk/tls/ca.pem") == ca
    site.box.run("ip", "address", "delete", "10.77.0.5/24", "dev", "lo")


def test_a_start_that_fails_says_why(site: Site) -> None:
    put_setting(site, "WLK_COMMIT", "soon")
    began = time.monotonic()
    done = site.box.run("systemctl", "restart", "wlk", check=False)
    assert done.returncode != 0 and time.monotonic() - began < 120
    status = site.said("systemctl", "status", "--no-pager", "wlk")
    assert re.search(r'Status: "did not start: .*WLK_COMMIT.* is \'soon\'', status), status
    put_setting(site, "WLK_COMMIT", "fast")
    site.box.run("systemctl", "restart", "wlk")
    assert 'Status: "serving base on port 8000"' in site.said("systemctl", "status", "--no-pager", "wlk")


def test_each_wrong_setting_is_told(site: Site) -> None:
    for name, value, why in (
        ("WLK_MODEL", "large-v3", "no model large-v3 here: the image holds base"),
        ("WLK_LISTEN", "10.0.0.1", "WLK_LISTEN is '10.0.0.1'"),
        ("WLK_PORT", "eighty", "not a port: eighty"),
    ):
        before = site.said("grep", f"^{name}=", SETTINGS).partition("=")[2]
        put_setting(site, name, value)
        assert site.box.run("systemctl", "restart", "wlk", check=False).returncode != 0
        site.box.run("systemctl", "stop", "wlk")  # or it would be tried again
        status = site.box.journal("wlk", "--lines=20")
        assert re.search(f"did not start: .*{re.escape(why)}", status), status
        put_setting(site, name, before)


def test_a_crash_loop_waits_longer_each_time_and_ends(site: Site) -> None:
    folder = "/etc/systemd/system/wlk.service.d"
    site.box.run("mkdir", "--parents", folder)
    site.box.run("tee", f"{folder}/site.conf", input_text="[Service]\nEnvironment=WLK_START_TRIES=3\n")
    site.box.run("systemctl", "daemon-reload")
    put_setting(site, "WLK_COMMIT", "soon")
    site.box.run("systemctl", "stop", "wlk")
    began = time.time()
    site.box.run("systemctl", "start", "wlk", check=False)
    site.comes_to("failed")
    log = site.box.journal("wlk", f"--since=@{began:.0f}")
    assert log.count("trying again in 5 s") == 1 and log.count("trying again in 10 s") == 1
    assert "gave up after 3 starts that failed" in site.said("systemctl", "status", "--no-pager", "wlk")
    put_setting(site, "WLK_COMMIT", "balanced")
    began = time.time()
    site.box.run("systemctl", "start", "wlk")
    assert time.time() - began < 120 and site.hears()


def test_a_killed_server_comes_back(site: Site) -> None:
    before = container(site)
    site.box.run("docker", "kill", "--signal=KILL", "wlk-service")
    wait_for_another(site, before)
    assert site.hears()
    before = container(site)
    pid = site.said("systemctl", "show", "--property=MainPID", "--value", "wlk")
    site.box.run("kill", "-9", pid)  # the engine's client: the container would go on without it
    wait_for_another(site, before)
    assert len(site.said("docker", "ps", "--all", "--quiet").split()) == 1


def test_a_server_that_hangs_comes_back(site: Site) -> None:
    """With the unit's own watchdog, but for a shorter time."""
    assert site.said("systemctl", "show", "--property=WatchdogUSec", "--value", "wlk") == "2min"
    folder = "/etc/systemd/system/wlk.service.d"
    site.box.run("mkdir", "--parents", folder)
    site.box.run("tee", f"{folder}/site.conf", input_text=SOON)
    site.box.run("systemctl", "daemon-reload")
    site.box.run("systemctl", "restart", "wlk")
    before = container(site)
    time.sleep(45)
    assert container(site) == before, "one that is well is left alone"
    site.box.run("docker", "kill", "--signal=STOP", "wlk-service")
    wait_for_another(site, before)
    assert site.hears()
    log = site.box.journal("wlk")
    assert "Watchdog timeout" in log and re.search(r"wlk: not well: no answer from https://.*/healthz", log)


def test_it_comes_back_when_the_engine_does(site: Site) -> None:
    before = container(site)
    site.box.run("systemctl", "restart", "docker")
    wait_for_another(site, before)
    before = container(site)
    site.box.run("systemctl", "stop", "docker.socket", "docker")
    give_up = time.monotonic() + 120  # it may have to try again first, after a wait
    while "waiting for the container engine" not in site.said("systemctl", "status", "--no-pager", "wlk"):
        assert time.monotonic() < give_up, site.box.journal("wlk")[-3000:]
        time.sleep(0.5)
    site.box.run("systemctl", "start", "docker")
    wait_for_another(site, before)


def test_a_start_without_the_engine_waits_for_it(site: Site) -> None:
    site.box.run("systemctl", "stop", "wlk", "wlk-load", "docker.socket", "docker")
    site.box.run("systemctl", "start", "--no-block", "wlk")
    time.sleep(3)
    assert site.state() in ("inactive", "activating")
    site.box.run("systemctl", "start", "docker.socket", "docker")
    wait_for_another(site, "none")


def test_a_restart_by_hand_is_never_one_too_many(site: Site) -> None:
    for _ in range(7):
        site.box.run("systemctl", "stop", "wlk")
        site.box.run("systemctl", "start", "--no-block", "wlk")
    site.box.run("systemctl", "start", "wlk")
    site.box.run("docker", "stop", "wlk-service")  # and nobody but systemd ends it
    wait_for_another(site, "none")


def wait_for_another(site: Site, before: str) -> None:
    give_up = time.monotonic() + 300
    while time.monotonic() < give_up:
        if site.state() == "active" and container(site) not in ("", before):
            return
        time.sleep(0.5)
    pytest.fail(site.box.journal("wlk")[-3000:])


def test_a_stop_is_quick_and_leaves_no_container(site: Site) -> None:
    began = time.monotonic()
    site.box.run("systemctl", "stop", "wlk")
    assert time.monotonic() - began < 120
    # It would be "failed" if systemd had ended it, or the server itself, since it took too long.
    assert site.state() == "inactive" and site.said("docker", "ps", "--all", "--quiet") == ""


def test_an_image_that_the_engine_lost_is_loaded_at_the_next_boot(site: Site) -> None:
    site.box.run("systemctl", "stop", "wlk")
    for name in site.box.images():
        site.box.run("docker", "image", "rm", "--force", name)
    assert site.box.images() == []
    assert site.box.reboot() == "running"
    assert site.state() == "active" and site.hears()
    assert "loading /opt/wlk/releases/" in site.box.journal("wlk-load")


def test_another_instance_has_its_own_port_and_settings(site: Site) -> None:
    failed = site.box.run("systemctl", "start", "wlk@second", check=False)
    assert failed.returncode != 0
    assert "no /etc/wlk/second.env" in site.said("systemctl", "status", "--no-pager", "wlk@second")
    site.box.run("systemctl", "stop", "wlk@second")
    site.box.run("tee", "/etc/wlk/second.env", input_text="WLK_PORT=8001\nWLK_COMMIT='fast'\n")
    site.box.run("systemctl", "start", "wlk@second")
    assert site.hears(8001) and site.hears(8000)
    settings = site.said("docker", "inspect", "--format", "{{.Config.Env}}", "wlk-service-second")
    assert "WLK_COMMIT=fast" in settings and "WLK_INSTANCE" not in settings
    site.box.run("systemctl", "stop", "wlk@second")
    site.box.run("rm", "/etc/wlk/second.env")


def test_a_token_is_asked_for_and_stands_in_no_command_line(site: Site) -> None:
    put_setting(site, "WLK_TOKEN", "a-secret-of-the-site")
    site.box.run("systemctl", "restart", "wlk")
    assert "a-secret-of-the-site" not in site.said("ps", "-eo", "args")
    assert "a-secret-of-the-site" not in site.box.journal("wlk")
    with pytest.raises(AssertionError, match="token"):
        site.hears()


def test_an_operator_sees_how_closed_it_is(site: Site) -> None:
    """The units here by the systemd that runs them, the container by the kernel; and one that is loosened."""

    def rows() -> tuple[int, dict[str, tuple[str, str]]]:
        done = site.box.run("/opt/wlk/current/harden-check.sh", check=False)
        found = [line for line in done.stdout.splitlines() if line[:6].strip()]
        return done.returncode, {line[6:34].strip(): (line[:6].strip(), line[34:].strip()) for line in found}

    status, seen = rows()
    assert (status, {name: row for name, row in seen.items() if row[0] == "FAIL"}) == (0, {})
    inside = (
        "user",
        "capabilities",
        "new privileges",
        "system calls",
        "file system",
        "memory",
        "processes",
        "open port",
    )
    units = ("wlk.service", "wlk-load.service", "wlk-cert.service")
    around = ("tls1_3", "ciphers", "certificate", "settings", "state", "private key", "programs", "process list")
    assert {seen[name][0] for name in (*inside, "way out", *units, *around)} == {"ok"}
    site.box.run("mkdir", "-p", "/etc/systemd/system/wlk-cert.service.d")
    loose = "[Service]\nProtectSystem=no\nPrivateDevices=no\nSystemCallFilter=\nCapabilityBoundingSet=~\n"
    site.box.run("tee", "/etc/systemd/system/wlk-cert.service.d/loose.conf", input_text=loose)
    site.box.run("systemctl", "daemon-reload")
    site.box.run("chmod", "0644", "/etc/wlk/wlk.env")
    status, seen = rows()
    site.box.run("rm", "-r", "/etc/systemd/system/wlk-cert.service.d")
    site.box.run("chmod", "0600", "/etc/wlk/wlk.env")
    site.box.run("systemctl", "daemon-reload")
    assert (status, seen["settings"][0], seen["wlk-cert.service"][0]) == (1, "FAIL", "FAIL")


def test_the_doctor_sees_what_is_well_and_what_is_not(site: Site) -> None:
    def findings() -> tuple[int, dict[str, tuple[str, str]]]:
        done = site.box.run("/opt/wlk/current/doctor.sh", "--json", check=False)
        told = json.loads(done.stdout)
        return done.returncode, {row["check"]: (row["severity"], row["seen"]) for row in told["findings"]}

    status, seen = findings()
    bad = {check: row for check, row in seen.items() if row[0] in ("warning", "error")}
    assert (status, bad) == (0, {})
    assert {"engine", "image", "certificate names", "clock", "port", "service"} <= seen.keys()
    assert any(check.startswith("inside ") for check in seen)
    put_setting(site, "WLK_COMMIT", "soon")
    site.box.run("systemctl", "restart", "wlk", check=False)
    site.box.run("systemctl", "stop", "wlk")
    site.box.run("chown", "0:0", "/var/lib/wlk")
    status, seen = findings()
    assert status == 2
    assert seen["service"][0] == "error" and "WLK_COMMIT" in " ".join(row[1] for row in seen.values())
    site.box.run("chown", "10001:10001", "/var/lib/wlk")
    put_setting(site, "WLK_TOKEN", "a-secret-of-the-site")
    site.box.run("/opt/wlk/current/doctor.sh", "--support-bundle", "/var/tmp/support.tar.gz", check=False)
    assert site.said("stat", "--format", "%a", "/var/tmp/support.tar.gz") == "600"
    packed = site.said("tar", "--extract", "--gzip", "--to-stdout", "--file", "/var/tmp/support.tar.gz")
    assert "WLK_TOKEN" in packed and "a-secret-of-the-site" not in packed
    assert "is 'soon'" in packed and "PRIVATE KEY" not in packed
