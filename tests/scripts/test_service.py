"""The steps of the units, with an engine that only notes what it is told: settings, models, GPUs, other digests.

tests/boot runs them for real.
"""

import contextlib
import os
import shutil
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.conftest import ROOT
from tests.programs import put

IMAGE = f"sha256:{'1' * 64}"
LAYERS = ("2" * 64, "3" * 64)
CONTENTS = f"""wlk-bundle 1
version 0.1.0
models base small
image {IMAGE}
archive image.tar.zst
tag wlk-appliance:0.1.0-cpu-base_small
layer {LAYERS[0]} 512 1024
layer {LAYERS[1]} 2048 1024
"""
KNOWN_BY_DIGEST = f'[ "$3" = {IMAGE} ]'
KNOWN_BY_TAG = f"""
case "$*" in
*{IMAGE}*) exit 1 ;;
*--format*0.1.0*) echo sha256:{LAYERS[0]}; echo sha256:{LAYERS[1]}; echo ;;
esac
"""


@dataclass(frozen=True)
class Installed:
    """A release in a folder of a test's own, and what its engine was told."""

    root: Path

    @property
    def release(self) -> Path:
        return self.root / "release"

    def settings(self, text: str, name: str = "wlk") -> None:
        (self.root / "config" / f"{name}.env").write_text(text, encoding="utf-8")

    def engine(self, image: str, load: str = "exit 1") -> None:
        """``image``: how it answers `image inspect`; what it is told otherwise stands in ``root/told``."""
        body = (
            f'case "$1" in ps) ;; image) {image} ;; load) {load} ;; run) printf "%s\\n" "$@" >{self.root}/told ;; esac'
        )
        put(self.root / "bin", "docker", body)

    def step(self, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
        places = {"WLK_CONFIG": f"{self.root}/config", "WLK_STATE": f"{self.root}/state", **environment}
        return subprocess.run(
            ["bash", self.release / "service.sh", *words],
            env={"PATH": f"{self.root}/bin:{os.environ['PATH']}", **places},
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )

    def told(self) -> list[str]:
        return (self.root / "told").read_text(encoding="utf-8").splitlines()


@pytest.fixture
def installed(tmp_path: Path) -> Installed:
    made = Installed(tmp_path)
    (tmp_path / "config").mkdir()
    made.release.mkdir()
    for name in ("service.sh", "site.sh", "errors.sh", "run_wlk.sh"):
        shutil.copy(ROOT / "scripts" / name, made.release)
    (made.release / "CONTENTS").write_text(CONTENTS, encoding="utf-8")
    made.engine(KNOWN_BY_DIGEST)
    put(tmp_path / "bin", "systemctl", "echo 0")
    return made


def test_wrong_use_is_told(installed: Installed) -> None:
    for words in ((), ("load", "cert"), ("sing",)):
        done = installed.step(*words)
        assert done.returncode == 2 and "hint:" in done.stderr
    assert "load" in installed.step("--help").stdout


def test_it_serves_the_first_model_by_digest(installed: Installed) -> None:
    shutil.copy(ROOT / "systemd/wlk.env", installed.root / "config/wlk.env")
    assert installed.step("serve").returncode == 0
    told = installed.told()
    assert told[-1] == IMAGE and "WLK_MODEL=base" in told
    assert "0.0.0.0:8000:8000" in told and f"{installed.root}/state:/var/lib/wlk" in told
    assert told[told.index("--name") + 1] == "wlk-service" and "--gpus" not in told
    assert "WLK_COMMIT" in told and not {"WLK_PORT", "WLK_LISTEN", "WLK_GPUS", "WLK_MEMORY"} & set(told)


def test_settings_of_the_file_reach_the_container(installed: Installed) -> None:
    installed.settings(
        "# a remark\n\nWLK_MODEL=small\nWLK_PORT=8443\r\nWLK_LISTEN=127.0.0.1\nWLK_LANGUAGE=zh\n"
        'WLK_MEMORY=3g\nWLK_TOKEN="a b $HOME `id`"\nWLK_GPUS=device=1'
    )
    assert installed.step("serve").returncode == 0
    told = installed.told()
    assert "127.0.0.1:8443:8000" in told and "WLK_MODEL=small" in told and "WLK_LANGUAGE" in told
    assert told[told.index("--memory") + 1] == "3g"
    assert told[told.index("--gpus") + 1] == "device=1" and "WLK_DEVICE=cuda" in told
    assert "WLK_TOKEN" in told and not any("a b" in word for word in told)


def test_what_the_file_says_is_not_run(installed: Installed) -> None:
    put(
        installed.root / "bin",
        "docker",
        f'case "$1" in run) env >{installed.root}/told ;; image) {KNOWN_BY_DIGEST} ;; esac',
    )
    installed.settings('WLK_TOKEN="a b $HOME `touch /tmp/never` $(id)"\nWLK_INITIAL_PROMPT=it\'s "quoted" inside\n')
    assert installed.step("serve").returncode == 0
    assert "WLK_TOKEN=a b $HOME `touch /tmp/never` $(id)" in installed.told()
    assert 'WLK_INITIAL_PROMPT=it\'s "quoted" inside' in installed.told()


def test_tokens_with_names_reach_the_server_and_no_command_line(installed: Installed) -> None:
    """From systemd's credential, from the file beside the settings, or from the one that these name; in this order."""
    run = f'printf "%s\\n" "$@" >{installed.root}/told; env >{installed.root}/env'
    put(installed.root / "bin", "docker", f'case "$1" in run) {run} ;; image) {KNOWN_BY_DIGEST} ;; esac')
    credentials = installed.root / "credentials"
    credentials.mkdir()
    files = {
        "beside": installed.root / "config/tokens",
        "credential": credentials / "wlk-tokens",
        "named": installed.root / "named",
    }
    for name, file in files.items():
        file.write_text(f"anna: $(id) of {name}\nbert: `id`\n")
        if name == "named":
            installed.settings(f"WLK_TOKEN_FILE={file}\n")
        assert installed.step("serve", CREDENTIALS_DIRECTORY=str(credentials)).returncode == 0
        told = installed.told()
        assert "WLK_TOKENS" in told and "WLK_TOKEN_FILE" not in told and not any("anna" in word for word in told)
        environment = (installed.root / "env").read_text(encoding="utf-8")
        assert f"WLK_TOKENS=anna: $(id) of {name}\nbert: `id`\n" in environment


@pytest.mark.parametrize(("text", "seen"), [("", "holds no token"), (None, "can't read the tokens")])
def test_a_list_without_tokens_does_not_open_the_door(installed: Installed, text: str | None, seen: str) -> None:
    file = installed.root / "tokens"
    installed.settings(f"WLK_TOKEN_FILE={file}\n")
    if text is not None:
        file.write_text(text)
    done = installed.step("serve")
    assert done.returncode == 1 and seen in done.stderr and str(file) in done.stderr and "hint:" in done.stderr
    assert not (installed.root / "told").exists()


def test_an_instance_has_its_own_file_over_the_common_one(installed: Installed) -> None:
    installed.settings("WLK_PORT=8000\nWLK_LANGUAGE=en\n")
    missing = installed.step("serve", WLK_INSTANCE="large")
    assert missing.returncode == 1 and "config/large.env" in missing.stderr
    installed.settings("WLK_PORT=8001\n", "large")
    assert installed.step("serve", WLK_INSTANCE="large").returncode == 0
    told = installed.told()
    assert "0.0.0.0:8001:8000" in told and "WLK_LANGUAGE" in told
    assert told[told.index("--name") + 1] == "wlk-service-large"


@pytest.mark.parametrize(
    ("settings", "seen"),
    [
        ("WLK_PORT 8000\n", "wlk.env, line 1, is no setting"),
        ("\nPATH=/tmp\n", "wlk.env, line 2, is no setting"),
        ("WLK_LISTEN=::1\n", "WLK_LISTEN is '::1'"),
        ("WLK_MODEL=medium\n", "no model medium here: the image holds base small"),
        ("WLK_MODEL=../small\n", "no model ../small here"),
        ("WLK_PORT=0\n", "not a port: 0"),
    ],
)
def test_wrong_settings_are_told(installed: Installed, settings: str, seen: str) -> None:
    installed.settings(settings)
    done = installed.step("serve")
    assert done.returncode != 0 and seen in done.stderr and "hint:" in done.stderr
    assert not (installed.root / "told").exists()


def test_models_beside_the_image_and_of_the_site(installed: Installed) -> None:
    for model, folder in (("medium", installed.release / "models/medium"), ("ours", installed.root / "site")):
        for half in ("faster-whisper", "pytorch-whisper"):
            (folder / f"{half}-{model}").mkdir(parents=True)
        installed.settings(f"WLK_MODEL={model}\nWLK_SITE_MODELS={installed.root}/site\n")
        done = installed.step("serve")
        assert done.returncode == 0, done.stderr
        assert f"{folder}:/site-models:ro" in installed.told()


def test_an_engine_with_other_digests_knows_the_image_by_its_layers(installed: Installed) -> None:
    installed.engine(KNOWN_BY_TAG)
    assert installed.step("serve").returncode == 0
    assert installed.told()[-1] == "wlk-appliance:0.1.0-cpu-base_small"
    installed.engine(KNOWN_BY_TAG.replace("3" * 64, "4" * 64))  # somebody else's image under this name
    done = installed.step("serve")
    assert done.returncode == 1 and "image.tar.zst is missing" in done.stderr


def test_loading(installed: Installed) -> None:
    archive = installed.release / "image.tar.zst"
    assert "loaded already" in installed.step("load").stdout
    loaded = f"[ -e {installed.root}/loaded ]"
    installed.engine(loaded, f"cat >/dev/null; touch {installed.root}/loaded")
    assert "image.tar.zst is missing" in installed.step("load").stderr
    archive.write_bytes(b"no archive")
    failed = installed.step("load")
    assert failed.returncode == 1 and "can't be loaded" in failed.stderr
    (installed.root / "loaded").unlink(missing_ok=True)
    subprocess.run(["zstd", "--quiet", "--force", installed.release / "CONTENTS", "-o", archive], check=True)
    assert installed.step("load").returncode == 0 and (installed.root / "loaded").exists()
    installed.engine("exit 1", "cat >/dev/null")
    done = installed.step("load")
    assert done.returncode == 1 and "not the image of this release" in done.stderr


@pytest.mark.parametrize(
    ("publishing", "running", "said", "restarted"),
    [
        ("", "", "Docker keeps port 8443 for a container that is gone: restarting Docker", True),
        ("", "1234", "hint: systemctl restart docker", False),
        ("grafana", "1234", "port 8443 is that of the container grafana", False),
    ],
)
def test_a_port_that_the_engine_has_lost_count_of_is_freed_once(
    installed: Installed, publishing: str, running: str, said: str, restarted: bool
) -> None:
    """As after a power cut in the middle of a start; tests/boot/test_power.py has the real one."""
    root = installed.root
    refused = "docker: Error response from daemon: Bind for 0.0.0.0:8443 failed: port is already allocated."
    installed.settings("WLK_PORT=8443")
    body = (
        f'case "$*" in *publish=8443*) echo {publishing} ;; *--quiet*) echo {running} ;; --version) echo Docker ;; esac'
    )
    put(root / "bin", "docker", body)
    put(root / "bin", "systemctl", f'case "$1" in restart) echo "$@" >>{root}/restarts ;; *) echo 0 ;; esac')
    put(root / "bin", "journalctl", f"echo '{refused}'")
    (root / "run").mkdir()
    environment = {"RUNTIME_DIRECTORY": f"{root}/run", "MAINPID": ""}
    assert installed.step("free", **environment).stdout == ""
    assert "already allocated" in installed.step("ready", **environment).stdout
    first, second = (installed.step("free", **environment) for _ in range(2))
    assert first.returncode == second.returncode == 0
    assert said in first.stdout + first.stderr and second.stdout + second.stderr == ""
    assert (root / "restarts").exists() is restarted


def test_a_server_that_does_not_come_to_serve_in_time_says_why(installed: Installed) -> None:
    root = installed.root
    shutil.copy(ROOT / "systemd/wlk.env", root / "config/wlk.env")
    put(root / "bin", "docker", 'case "$*" in *--ready) exit 1 ;; *health*) echo "loading (503)"; exit 1 ;; esac')
    with subprocess.Popen(["sleep", "600"]) as server:
        try:
            done = installed.step("ready", MAINPID=str(server.pid), WLK_START_SECONDS="1", WLK_ENGINE="docker")
        finally:
            server.kill()
    assert done.returncode == 1
    assert "did not start: it was not ready after 1 s: " in done.stdout + done.stderr


def test_systemd_hears_that_all_is_well_only_while_the_server_says_so(installed: Installed) -> None:
    """While it starts, too; and nobody asks any more when its process is gone."""
    root = installed.root
    shutil.copy(ROOT / "systemd/wlk.env", root / "config/wlk.env")
    ask = f'case "$*" in *--ready) [ -e {root}/ready ] ;; *) cat {root}/health; [ -e {root}/well ] ;; esac'
    put(root / "bin", "docker", f'case "$1" in exec) {ask} ;; esac')
    put(root / "bin", "systemd-notify", f'echo "$1" >>{root}/notified')
    (root / "notified").touch()
    (root / "health").write_text("stuck (https://127.0.0.1:8000/healthz: 503)\n")
    (root / "well").touch()

    def beats() -> int:
        return (root / "notified").read_text(encoding="utf-8").split("\n").count("WATCHDOG=1")

    def more_than(count: int) -> bool:
        return wait_until(lambda: beats() > count)

    with subprocess.Popen(["sleep", "600"]) as server, (root / "said").open("w") as said:
        environment = {"MAINPID": str(server.pid), "NOTIFY_SOCKET": "/nowhere", "WLK_WATCH_SECONDS": "0.5"}
        places = {"WLK_CONFIG": f"{root}/config", "WLK_STATE": f"{root}/state", "WLK_ENGINE": "docker"}
        starting = subprocess.Popen(
            ["bash", installed.release / "service.sh", "ready"],
            env={"PATH": f"{root}/bin:{os.environ['PATH']}", **environment, **places},
            stdout=said,
            stderr=said,
        )
        assert more_than(1) and starting.poll() is None, "not ready yet, and not hung"
        (root / "ready").touch()
        assert starting.wait(30) == 0
        assert more_than(beats() + 1)
        (root / "well").unlink()
        assert wait_until(lambda: "wlk: not well: stuck (https:" in (root / "said").read_text())
        before = beats()
        assert wait_until(lambda: (root / "said").read_text().count("not well") > 3) and beats() == before
        (root / "well").touch()
        assert more_than(before)
        server.kill()
        server.wait()
        assert wait_until(lambda: not watchers(server.pid))


def watchers(of: int) -> list[str]:
    """Processes that were told of this one as the unit's."""
    wanted = f"MAINPID={of}".encode()
    found = []
    for place in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            if wanted in (place / "environ").read_bytes().split(b"\0"):
                found.append(place.name)
    return found


def wait_until(condition: Callable[[], bool], seconds: float = 30.0) -> bool:
    give_up = time.monotonic() + seconds
    while not condition() and time.monotonic() < give_up:
        time.sleep(0.05)
    return condition()


def test_no_engine_is_told(installed: Installed) -> None:
    put(installed.root / "bin", "docker", "exit 1")
    for step in ("load", "serve", "try"):
        done = installed.step(step, WLK_ENGINE="docker", WLK_ENGINE_SECONDS="1")
        assert done.returncode == 1 and "no container engine answers" in done.stderr
