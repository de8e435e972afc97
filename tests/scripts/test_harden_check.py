"""harden-check.sh: what it says of a server as it should be, and of others that are weakened one way each."""

import os
import shutil
import signal
import ssl
import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest

from appliance.pair.locate import Pair, open_pair
from appliance.server.headers import HEADERS
from appliance.server.service import Service
from appliance.server.settings import Settings
from appliance.server.tls import keep
from tests.conftest import ROOT, missing
from tests.programs import put
from tests.server.certificates import put_foreign
from tests.server.running import served

SCRIPT = ROOT / "scripts/harden-check.sh"

Rows = dict[str, tuple[str, str]]


def look(*words: str, **variables: str) -> tuple[int, Rows]:
    """Its status, and each row: what it calls the check, how bad that is, and what was seen."""
    done = subprocess.run(
        ["bash", SCRIPT, *words],
        env={**os.environ, **variables},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.stderr == "", done.stderr
    rows: Rows = {}
    for line in done.stdout.splitlines():
        if line[:6].strip() in ("ok", "warn", "FAIL"):
            name, seen = line[6:34].strip(), line[34:].strip()
            rows[name] = (line[:6].strip(), seen)
    return done.returncode, rows


def failed(rows: Rows) -> set[str]:
    return {name for name, (severity, _) in rows.items() if severity == "FAIL"}


@pytest.fixture
def pair(small_pair: tuple[Path, Path]) -> Pair:
    return open_pair(*small_pair)


@pytest.fixture(autouse=True)
def _openssl() -> None:
    if shutil.which("openssl") is None:
        missing("openssl")


@pytest.fixture
def service(pair: Pair, tmp_path: Path) -> Service:
    file = tmp_path / "tokens"
    file.touch(0o600)
    file.write_text("anna: a-secret-of-hers\n")
    return Service(Settings(token_file=file, allowed_origins=("same",)), pair, tmp_path / "none")


def test_a_server_as_it_should_be(service: Service, tmp_path: Path) -> None:
    with served(service, keep(tmp_path).files) as port:
        status, rows = look("--url", f"https://localhost:{port}")
    assert (status, {severity for severity, _ in rows.values()}) == (0, {"ok"}), rows
    assert {"tls1", "tls1_1", "tls1_2", "tls1_3", "ciphers", "content policy", "tokens", "origins"} <= rows.keys()


def lax(config: object, make: Callable[[], ssl.SSLContext]) -> ssl.SSLContext:
    context = make()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        context.minimum_version = ssl.TLSVersion.TLSv1
    context.set_ciphers("ALL:@SECLEVEL=0")
    return context


def test_old_tls_and_weak_ciphers(service: Service, tmp_path: Path) -> None:
    with served(service, keep(tmp_path).files, ssl_context_factory=lax) as port:
        status, rows = look("--url", f"https://localhost:{port}")
    assert (status, failed(rows)) == (1, {"tls1", "tls1_1", "ciphers"})


@pytest.mark.parametrize(
    ("changed", "wrong"),
    [
        (dict.fromkeys(HEADERS, ""), 6),
        ({"content-security-policy": HEADERS["content-security-policy"] + "; script-src 'unsafe-inline'"}, 1),
        ({"content-security-policy": HEADERS["content-security-policy"] + "; font-src https://other.example"}, 1),
        ({"x-content-type-options": "sniff"}, 1),
        ({"permissions-policy": "microphone=*"}, 1),
    ],
)
@pytest.mark.parametrize("program", ["curl", "wget"])
def test_weak_headers(changed: dict[str, str], wrong: int, program: str, service: Service, tmp_path: Path) -> None:
    """Over plain HTTP, which is a FAIL by itself."""
    if shutil.which(program) is None:
        missing(program)
    only = tmp_path / "bin"
    only.mkdir()
    for name in ("bash", "cat", "dirname", "basename", "readlink", "sed", "grep", "tr", "timeout", "head", program):
        (only / name).symlink_to(shutil.which(name) or missing(name))
    headers = [(name, value) for name, value in (HEADERS | changed).items() if value]
    with served(service, headers=headers) as port:
        status, rows = look("--url", f"http://localhost:{port}", PATH=str(only))
    assert status == 1 and "tls" in failed(rows) and len(failed(rows)) == 1 + wrong, rows
    assert rows["tokens"][0] == rows["origins"][0] == "ok"


def test_a_server_that_lets_everybody_in(pair: Pair, tmp_path: Path) -> None:
    with served(Service(Settings(), pair, tmp_path / "none")) as port:
        _, rows = look("--url", f"http://localhost:{port}")
    assert rows["tokens"][0] == rows["origins"][0] == "warn" and "anyone" in rows["tokens"][1]


def test_a_certificate_that_has_expired(service: Service, tmp_path: Path) -> None:
    with served(service, put_foreign(tmp_path, days=-1)) as port:
        status, rows = look("--url", f"https://localhost:{port}")
    assert (status, failed(rows)) == (1, {"certificate"})


def test_nobody_answers() -> None:
    status, rows = look("--url", "https://localhost:9")
    assert status == 1 and {"tls1", "headers"} <= failed(rows)


def test_wrong_use() -> None:
    for words in (("--what",), ("--url",), ("--url", "ftp://x"), ("--url", "https://x;id"), ("--container", "a b")):
        done = subprocess.run(["bash", SCRIPT, *words], capture_output=True, text=True, check=False)
        assert done.returncode == 2 and "error: " in done.stderr and "hint: " in done.stderr
    assert "--instance" in subprocess.run(["bash", SCRIPT, "--help"], capture_output=True, text=True, check=True).stdout


# ---- on the machine


@pytest.fixture
def site(tmp_path: Path) -> dict[str, str]:
    """Places of an installed appliance, and an engine whose container is a process that nothing closes in."""
    for name in ("opt", "etc", "state/tls", "units", "quadlets"):
        (tmp_path / name).mkdir(parents=True)
        (tmp_path / name).chmod(0o700 if name.startswith("state") else 0o755)
    for name in ("etc/wlk.env", "etc/tokens", "state/tls/key.pem", "state/tls/ca-key.pem"):
        (tmp_path / name).touch(0o600)
    (tmp_path / "state").chmod(0o700)
    (tmp_path / "etc/tokens").write_text("anna: hunter2hunter2\n")
    put(tmp_path / "bin", "docker", f'case "$1" in inspect) echo {os.getpid()} ;; esac')
    put(tmp_path / "bin", "systemd-analyze", 'echo "→ Overall exposure level for $3: 1.0 OK 🙂"')
    names = ("PREFIX", "CONFIG", "STATE", "UNITS", "QUADLETS")
    folders = zip(names, ("opt", "etc", "state", "units", "quadlets"), strict=True)
    return {
        "PATH": f"{tmp_path}/bin:{os.environ['PATH']}",
        "WLK_ENGINE": f"{tmp_path}/bin/docker",
        **{f"WLK_{name}": f"{tmp_path}/{folder}" for name, folder in folders},
    }


def on_machine(site: dict[str, str]) -> tuple[int, Rows]:
    return look("--url", "http://localhost:9", "--instance", "second", **site)


def test_a_container_that_nothing_closes_in(site: dict[str, str]) -> None:
    """The process of this test itself: root on most machines that run it, with all that goes with it."""
    status, rows = on_machine(site)
    assert status == 1
    assert {"file system", "network", "memory"} <= failed(rows), rows
    if os.geteuid() == 0:
        assert {"user", "capabilities"} <= failed(rows)
    for name in ("settings", "tokens file", "state", "private key", "programs", "process list", "wlk@second.service"):
        assert rows[name][0] == "ok", (name, rows[name])


@pytest.mark.parametrize(
    ("path", "mode", "row"),
    [
        ("etc/wlk.env", 0o640, "settings"),
        ("etc/tokens", 0o604, "tokens file"),
        ("state", 0o755, "state"),
        ("state/tls/ca-key.pem", 0o644, "private key"),
        ("opt", 0o777, "programs"),
    ],
)
def test_files_that_others_may_have(path: str, mode: int, row: str, site: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / path).chmod(mode)
    if path == "state/tls/ca-key.pem":
        (tmp_path / "state/tls/key.pem").unlink()  # one row each
    assert row in failed(on_machine(site)[1])


def test_a_secret_in_the_list_of_processes(site: dict[str, str]) -> None:
    assert "process list" not in failed(on_machine(site)[1])
    with subprocess.Popen(["sh", "-c", "sleep 60; : hunter2hunter2"]) as told:
        status, rows = on_machine(site)
        told.kill()
    assert status == 1 and str(told.pid) in rows["process list"][1] and "hunter2" not in str(rows)


def test_a_unit_that_is_loosened_and_one_of_quadlet(site: dict[str, str], tmp_path: Path) -> None:
    put(tmp_path / "bin", "systemd-analyze", 'echo "→ Overall exposure level for $3: 9.6 UNSAFE 😨"')
    assert {"wlk@second.service", "wlk-load.service", "wlk-cert.service"} <= failed(on_machine(site)[1])
    (tmp_path / "etc/wlk.env").write_text("WLK_PORT=9\n")
    assert "wlk.service" in failed(look(**site)[1])
    (tmp_path / "quadlets/wlk.container").touch()
    assert look(**site)[1]["wlk.service"][0] == "warn"


HANDED_IN = """
mount -t tmpfs none /run && touch /run/docker.sock && exec "$0" -c '
import socket, time
listener = socket.create_server(("0.0.0.0", 9999))
print("there", flush=True)
time.sleep(600)
'
"""


def test_a_container_with_the_engine_and_another_port(site: dict[str, str], tmp_path: Path) -> None:
    """The engine's socket lies in a folder that was handed in."""
    if os.geteuid() != 0 or shutil.which("unshare") is None:
        missing("root and unshare, to mount a folder")
    alone = ["unshare", "--mount", "--net", "--propagation", "private", "sh", "-c", HANDED_IN, sys.executable]
    with subprocess.Popen(alone, stdout=subprocess.PIPE) as handed:
        try:
            assert handed.stdout and handed.stdout.readline() == b"there\n"
            put(tmp_path / "bin", "docker", f'case "$1" in inspect) echo {handed.pid} ;; esac')
            status, rows = on_machine(site)
        finally:
            handed.kill()
    assert status == 1 and {"engine's socket", "open port"} <= failed(rows), rows
    assert "/run/docker.sock" in rows["engine's socket"][1] and "9999" in rows["open port"][1]


def test_a_container_that_does_not_run(site: dict[str, str], tmp_path: Path) -> None:
    put(tmp_path / "bin", "docker", 'case "$1" in inspect) echo 0 ;; esac')
    assert "container" in failed(on_machine(site)[1])


def test_settings_that_can_not_be_read_are_told(site: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "etc/wlk.env").write_text("what is this\n")
    (tmp_path / "etc/wlk.env").chmod(0o600)
    _, rows = look(**site)
    assert rows["settings"] == ("ok", rows["settings"][1]), "the file itself is its owner's alone"
    said = subprocess.run(["bash", SCRIPT], env={**os.environ, **site}, capture_output=True, text=True, check=False)
    assert "warn  settings" in said.stdout and "line 1, is no setting" in said.stdout


def test_interrupted_it_ends(site: dict[str, str], tmp_path: Path) -> None:
    """Whatever is asked just then."""
    put(tmp_path / "bin", "docker", f"touch {tmp_path}/asked; exec sleep 60")
    words = ["env", "--default-signal=INT", "bash", SCRIPT, "--url", "http://localhost:9", "--container", "wlk"]
    with subprocess.Popen(
        words, env={**os.environ, **site}, stdout=subprocess.DEVNULL, start_new_session=True
    ) as process:
        deadline = time.monotonic() + 60
        while not (tmp_path / "asked").exists():
            assert time.monotonic() < deadline
            time.sleep(0.01)
        time.sleep(1)  # a signal while a program is only starting may be lost to it; the question's own end comes then
        began = time.monotonic()
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(60) == 130 and time.monotonic() - began < 15


def test_no_engine_is_told(site: dict[str, str]) -> None:
    _, rows = on_machine({**site, "WLK_ENGINE": "/none/docker"})
    assert rows["container"][0] == "warn"
