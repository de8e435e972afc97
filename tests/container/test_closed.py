"""A container as `run_wlk.sh` starts it, looked at from inside, where the kernel says what the server may do."""

import contextlib
import os
import re
import secrets
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.container.demo import wait_ready
from appliance.container.engine import Engine, LocalImage
from tests.conftest import ROOT

pytestmark = pytest.mark.image

MEMORY = 3 << 30
PROCESSES = 512
OURS = {"/tmp", "/var/lib/wlk"}
_SYSTEM = re.compile(r"/(proc|dev|sys)(/.*)?|/etc/(hosts|hostname|resolv\.conf)|/run/\.containerenv")
"""What every engine mounts: views of the kernel, which other rules guard, and names of this container."""

TOKEN = "a-secret-of-this-test"


@pytest.fixture(scope="module")
def closed(engine: Engine, image: LocalImage) -> Iterator[str]:
    """The name of a container that an operator started, with its port on the network; ready."""
    name = f"wlk-test-{secrets.token_hex(4)}"
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    site = {"WLK_NAME": name, "WLK_STATE_VOLUME": f"{name}-state", "WLK_ENGINE": str(engine.program)}
    site |= {"WLK_IMAGE": image.image_id, "WLK_MEMORY": f"{MEMORY}b", "WLK_TOKEN": TOKEN}
    try:
        subprocess.run(
            ["bash", ROOT / "scripts/run_wlk.sh", "base", "--local", "--port", str(port)],
            env={**os.environ, **site},
            check=True,
            capture_output=True,
        )
        wait_ready(engine, name)
        yield name
    finally:
        engine.run(["rm", "--force", name], check=False, capture=True)
        engine.run(["volume", "rm", "--force", f"{name}-state"], check=False, capture=True)


def read(engine: Engine, name: str, *paths: str) -> str:
    return engine.output(["exec", name, "cat", *paths])


@pytest.fixture
def status(engine: Engine, closed: str) -> dict[str, str]:
    """What the kernel says of the server's process."""
    rows = read(engine, closed, "/proc/1/status").splitlines()
    return {key: value.strip() for key, _, value in (row.partition(":") for row in rows)}


def python(engine: Engine, name: str, program: str) -> tuple[int, str]:
    done = engine.run(["exec", name, "python3", "-c", program], check=False, capture=True)
    return done.returncode, (done.stdout + done.stderr).strip()


def test_the_server_is_a_plain_user_without_rights_that_it_could_ever_get(status: dict[str, str]) -> None:
    assert set(status["Uid"].split() + status["Gid"].split()) == {"10001"} and status["Groups"] in ("", "10001")
    for rights in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb"):
        assert int(status[rights], 16) == 0, rights
    assert (status["NoNewPrivs"], status["Seccomp"]) == ("1", "2")


def test_a_crash_leaves_no_memory_on_a_disk_of_the_machine(engine: Engine, closed: str) -> None:
    assert re.search(r"^Max core file size +1 +1 ", read(engine, closed, "/proc/1/limits"), re.MULTILINE)


def test_nothing_can_be_written_but_state_and_what_goes_with_the_container(engine: Engine, closed: str) -> None:
    mounts = [row.split() for row in read(engine, closed, "/proc/1/mounts").splitlines()]
    writable = {place for _, place, _, options, *_ in mounts if "rw" in options.split(",")}
    assert "/" not in writable
    assert {place for place in writable if not _SYSTEM.fullmatch(place)} == OURS
    [temporary] = [options.split(",") for _, place, _, options, *_ in mounts if place == "/tmp"]
    assert {"nosuid", "nodev", "noexec"} <= set(temporary)
    attempts = (
        "/probe",
        "/opt/wlk/app/probe",
        "/models/probe",
        "/etc/passwd",
        "/usr/bin/python3",
        "/opt/wlk/lib/probe",
    )
    for path in attempts:
        code, said = python(engine, closed, f"open({path!r}, 'a')")
        assert code != 0 and re.search("Read-only|Permission denied", said), (path, said)
    assert not [place for place in writable if place.endswith(".sock")]


TAKEN = ("argparse.py", "sitecustomize.py", ".local/lib/python3.11/site-packages/usercustomize.py")


def test_nothing_is_run_that_could_be_written(engine: Engine, closed: str) -> None:
    """Python takes code from the image alone: not from the state, nor from where somebody stands."""
    for folder in OURS:
        for name in TAKEN:
            path = f"{folder}/{name}"
            write = f"import pathlib; p = pathlib.Path({path!r}); p.parent.mkdir(parents=True, exist_ok=True)"
            code, said = python(engine, closed, f"{write}; p.write_text('print(\"taken over\")')")
            assert code == 0, said
    try:
        for folder in ("/", *OURS):
            said = engine.output(["exec", "--workdir", folder, closed, "python3", "-m", "appliance", "health"])
            assert "taken over" not in said
            listed = engine.output(
                ["exec", "--workdir", folder, closed, "python3", "-c", "import sys; print(sys.path)"]
            )
            assert not [place for place in OURS if place in listed] and "''" not in listed
    finally:
        for folder in OURS:
            places = [f"{folder}/{name}" for name in (*TAKEN[:2], ".local")]
            engine.run(["exec", closed, "rm", "-rf", *places], check=False, capture=True)


def test_there_are_no_devices_of_the_machine(engine: Engine, closed: str) -> None:
    script = "find /dev -xdev \\( -type b -o -type c \\) -printf '%f\\n'"
    assert set(engine.output(["exec", closed, "sh", "-c", script]).split()) <= {
        *("null", "zero", "full", "random", "urandom", "tty", "console"),
    }
    for attempt in (
        "open('/proc/sysrq-trigger', 'w')",
        "open('/proc/sys/kernel/core_pattern', 'w')",
        "open('/sys/kernel/uevent_helper', 'w')",
        "assert open('/proc/kcore', 'rb').read(1)",
    ):
        assert python(engine, closed, attempt)[0] != 0, attempt


def test_memory_and_processes_are_bounded(engine: Engine, closed: str) -> None:
    cgroup = read(engine, closed, "/proc/1/cgroup")
    if re.search("^0::", cgroup, re.MULTILINE) and "memory:" not in cgroup.replace(",", ":"):
        limits = read(engine, closed, "/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/pids.max").split()
    else:
        folder = "/sys/fs/cgroup"
        limits = read(engine, closed, f"{folder}/memory/memory.limit_in_bytes", f"{folder}/pids/pids.max").split()
    assert limits == [str(MEMORY), str(PROCESSES)]
    forks = "import os, time\nwhile True:\n if os.fork() == 0:\n  time.sleep(9)\n  os._exit(0)"
    code, said = python(engine, closed, forks)
    assert code != 0 and "Resource temporarily unavailable" in said
    wait_ready(engine, closed)
    # For as long as they sleep there is no room for anybody's program; they are nobody's then but the server's.
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        counted = engine.run(["exec", closed, "sh", "-c", "ls -d /proc/[0-9]*"], check=False, capture=True)
        if counted.returncode == 0 and len(counted.stdout.split()) < PROCESSES // 10:
            return
        time.sleep(1)
    pytest.fail(f"processes that have ended are still counted: {counted.stdout}{counted.stderr}")


def test_it_listens_at_its_port_alone(engine: Engine, closed: str) -> None:
    rows = [row.split() for row in read(engine, closed, "/proc/1/net/tcp", "/proc/1/net/tcp6").splitlines()]
    listening = {row[1] for row in rows if len(row) > 3 and row[3] == "0A"}
    # Of Docker's own names, where a network has them, the engine serves at 127.0.0.11.
    assert {place.split(":")[1] for place in listening if not place.startswith("0B00007F:")} == {f"{8000:04X}"}
    assert len(engine.output(["port", closed]).splitlines()) == 1


ATTEMPTS = """
import socket
from appliance.server.sealing import seal
seal()
for family, kind, address in (
    (socket.AF_INET, socket.SOCK_STREAM, ("192.0.2.1", 443)),
    (socket.AF_INET6, socket.SOCK_STREAM, ("2001:db8::1", 443)),
    (socket.AF_INET, socket.SOCK_DGRAM, ("192.0.2.1", 53)),
    (socket.AF_INET, socket.SOCK_STREAM, ("127.0.0.1", 8000)),
):
    try:
        socket.socket(family, kind).connect(address)
    except PermissionError:
        continue
    raise SystemExit(f"{address} may be reached")
try:
    socket.getaddrinfo("elsewhere.example", 443)
except OSError:
    print("closed")
"""


def test_the_server_can_open_no_connection(engine: Engine, closed: str, status: dict[str, str]) -> None:
    """It has the engine's filter and one more, its own; and that one refuses any connection here too."""
    beside = python(engine, closed, "print(open('/proc/self/status').read().split('Seccomp_filters:')[1].split()[0])")
    assert int(status["Seccomp_filters"]) == int(beside[1]) + 1
    assert python(engine, closed, ATTEMPTS) == (0, "closed")
    logged = engine.run(["logs", closed], capture=True)
    assert "this server opens no connection: the kernel refuses it any" in logged.stdout + logged.stderr


def test_a_token_stands_in_no_command_line_and_no_log(engine: Engine, closed: str) -> None:
    """Neither inside nor outside, where the engine's client and its shims are; who may use the engine can read it."""
    lines = [read(engine, closed, "/proc/1/cmdline")]
    for file in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):  # it ended
            lines.append(file.read_text(errors="replace"))
    assert not [line for line in lines if TOKEN in line]
    logged = engine.run(["logs", closed], capture=True)
    assert TOKEN not in logged.stdout + logged.stderr


def test_an_operator_sees_the_same_from_outside(engine: Engine, closed: str) -> None:
    address = engine.output(["port", closed]).split("-> ")[1]
    done = subprocess.run(
        ["bash", ROOT / "scripts/harden-check.sh", "--url", f"https://{address}", "--container", closed],
        env={**os.environ, "WLK_ENGINE": str(engine.program)},
        capture_output=True,
        text=True,
        check=False,
    )
    rows = {line[6:34].strip(): line[:6].strip() for line in done.stdout.splitlines() if line[:6].strip()}
    wanted = ("tls1", "ciphers", "content policy", "tokens", "user", "capabilities", "new privileges", "system calls")
    assert {rows[name] for name in (*wanted, "file system", "memory", "processes", "open port", "way out")} == {"ok"}


def test_a_container_that_is_weakened_fails(engine: Engine, image: LocalImage) -> None:
    name = f"wlk-test-{secrets.token_hex(4)}"
    weak = ["--detach", "--name", name, "--user", "0", "--cap-add", "SYS_ADMIN", "--network", "host"]
    weak += ["--security-opt", "seccomp=unconfined", "--entrypoint", "sleep"]
    try:
        engine.run(["run", *weak, image.image_id, "60"], capture=True)
        done = subprocess.run(
            ["bash", ROOT / "scripts/harden-check.sh", "--url", "https://127.0.0.1:9", "--container", name],
            env={**os.environ, "WLK_ENGINE": str(engine.program)},
            capture_output=True,
            text=True,
            check=False,
        )
    finally:
        engine.run(["rm", "--force", "--volumes", name], check=False, capture=True)
    failed = {line[6:34].strip() for line in done.stdout.splitlines() if line.startswith("FAIL")}
    wanted = {"user", "capabilities", "new privileges", "system calls", "file system", "memory", "network"}
    assert done.returncode == 1 and wanted <= failed, done.stdout
