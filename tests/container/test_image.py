"""The built image, asked with the real engine: what is in it, and how it runs."""

import json
import re
import subprocess
import sys
import time
from typing import Any

import pytest

from appliance import __version__
from appliance.container.accounts import differences, is_account, read_accounts
from appliance.container.archive import ArchivedImage, read_archive
from appliance.container.build import INPUTS_LABEL, Names, require_image
from appliance.container.demo import running, wait_ready
from appliance.container.engine import Engine, LocalImage
from appliance.container.save import save_image
from appliance.digest import sha256_file
from appliance.errors import ApplianceError
from tests.conftest import ROOT

pytestmark = pytest.mark.image

LARGEST_BYTES = 1_200_000_000
ARCHIVES, DIST = ROOT / "build/images", ROOT / "dist"
NAMES = Names("cpu", ("base",))
HEALTHY_WITHIN_S = 300


def shell(engine: Engine, container: str, script: str) -> str:
    return engine.output(["exec", container, "sh", "-c", script])


def inspected(engine: Engine, container: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(engine.output(["inspect", container]))[0]
    return found


@pytest.fixture(scope="module")
def archived(engine: Engine, image: LocalImage) -> ArchivedImage:
    """What the saved archive of the image holds, read without an engine."""
    saved, _ = save_image(NAMES, image, ARCHIVES, DIST)
    return read_archive(DIST / saved.file, is_account)


def test_unpacked_size(archived: ArchivedImage) -> None:
    assert 500_000_000 < archived.size < LARGEST_BYTES


def test_labels_name_version_target_and_model(image: LocalImage) -> None:
    assert image.labels["org.opencontainers.image.version"] == __version__
    assert (image.labels["org.wlk.target"], image.labels["org.wlk.models"]) == ("cpu", "base")
    assert re.fullmatch("[0-9a-f]{64}", image.labels[INPUTS_LABEL])


def test_layers_are_ordered_by_how_often_they_change(archived: ArchivedImage) -> None:
    steps = [layer.step for layer in archived.layers]
    parts = ("/layers/torch", "/opt/wlk/lib /opt/wlk/lib", "silero_vad.onnx", "models/base", "/opt/wlk/app", "accounts")
    places = [next(index for index, step in enumerate(steps) if part in step) for part in parts]
    assert places == sorted(set(places))
    assert sum(layer.size for layer in archived.layers[places[-2] :]) < 5_000_000, "a change of ours is small"


@pytest.mark.parametrize("name", ["gcc", "cc", "c++", "make", "pip", "pip3", "ffmpeg", "git", "curl", "wget", "strace"])
def test_program_is_not_there(engine: Engine, container: str, name: str) -> None:
    done = engine.run(["exec", container, "sh", "-c", f"command -v {name}"], check=False, capture=True)
    assert (done.returncode != 0, done.stdout) == (True, "")


@pytest.mark.parametrize("name", ["pip", "setuptools", "torchaudio", "nemo", "sympy", "pytest", "requests"])
def test_module_is_not_there(engine: Engine, container: str, name: str) -> None:
    script = f"python3 -c 'import importlib.util, sys; sys.exit(importlib.util.find_spec(\"{name}\") is not None)'"
    assert engine.run(["exec", container, "sh", "-c", script], check=False, capture=True).returncode == 0


def test_no_cache_or_package_list_is_left(engine: Engine, container: str) -> None:
    script = "find / -xdev \\( -name '*.whl' -o -path '*/pip/cache/*' -o -path '/var/lib/apt/lists/*' \\) -type f"
    assert shell(engine, container, script + " 2>/dev/null || true") == ""


def test_runs_as_a_plain_user_who_can_write_nothing_but_state(engine: Engine, container: str) -> None:
    assert shell(engine, container, "id -u; id -g").split() == ["10001", "10001"]
    for folder, writable in (("/", False), ("/opt/wlk/app", False), ("/models", False), ("/var/lib/wlk", True)):
        done = engine.run(["exec", container, "touch", f"{folder}/probe"], check=False, capture=True)
        assert (done.returncode == 0) is writable, folder
    host = inspected(engine, container)["HostConfig"]
    assert (host["ReadonlyRootfs"], host["CapDrop"], host["NetworkMode"]) == (True, ["ALL"], "none")


def test_has_no_interface_but_loopback(engine: Engine, container: str) -> None:
    assert shell(engine, container, "ls /sys/class/net").split() == ["lo"]


def test_health_check_turns_healthy_under_tls(engine: Engine, container: str) -> None:
    give_up = time.monotonic() + HEALTHY_WITHIN_S
    while (status := inspected(engine, container)["State"]["Health"]["Status"]) != "healthy":
        assert time.monotonic() < give_up, status
        time.sleep(1)
    script = "python3 -m appliance health --url http://127.0.0.1:8000"
    assert engine.run(["exec", container, "sh", "-c", script], check=False, capture=True).returncode == 1  # TLS only


def test_key_is_readable_by_the_server_alone(engine: Engine, container: str) -> None:
    assert shell(engine, container, "stat -L -c %a /var/lib/wlk/tls/key.pem") == "600"


def test_stops_cleanly_on_sigterm(engine: Engine, image: LocalImage) -> None:
    with running(engine, image.name) as name:
        wait_ready(engine, name)
        started = time.monotonic()
        engine.run(["stop", "--time", "30", name], capture=True)
        assert time.monotonic() - started < 15
        assert inspected(engine, name)["State"]["ExitCode"] in (0, 143)


def test_container_is_removed_also_when_the_work_in_it_fails(engine: Engine, image: LocalImage) -> None:
    with pytest.raises(RuntimeError), running(engine, image.name) as name:
        raise RuntimeError("as if interrupted")
    assert engine.output(["ps", "--all", "--quiet", "--filter", f"name={name}"]) == ""


def test_container_that_can_not_start_is_told_with_its_log(engine: Engine, image: LocalImage) -> None:
    with (
        running(engine, image.name, "--env", "WLK_MODEL=large-v3") as name,
        pytest.raises(ApplianceError, match=r"stopped before it was ready(?s:.*)large-v3"),
    ):
        wait_ready(engine, name)


@pytest.mark.usefixtures("names")
def test_second_build_keeps_the_image(engine: Engine, image: LocalImage) -> None:
    words = [sys.executable, "-m", "appliance", "image", "build", "--offline"]
    done = [subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=True) for _ in range(2)]
    assert done[1].stdout.startswith(f"kept {image.name}")
    assert done[1].stdout.partition(image.name)[2] == done[0].stdout.partition(image.name)[2]


@pytest.mark.usefixtures("names")
def test_archive_loads_again_and_is_saved_once(engine: Engine, image: LocalImage) -> None:
    image = require_image(engine, image.name)  # the test before may have built it anew
    saved, _ = save_image(NAMES, image, ARCHIVES, DIST)
    again, is_new = save_image(NAMES, image, ARCHIVES, DIST)
    assert (again, is_new) == (saved, False)
    assert sha256_file(DIST / saved.file) == saved.sha256
    engine.load(DIST / saved.file)
    assert engine.describe(image.name) == image
    assert read_archive(DIST / saved.file).image_id == image.image_id


def test_the_image_tells_what_it_is_made_of(engine: Engine, archived: ArchivedImage, container: str) -> None:
    accounts = read_accounts(DIST / f"{NAMES.file}.tar.gz")
    installed = shell(engine, container, "dpkg-query --show --showformat '${Package} ${Version}\\n'").splitlines()
    told = [
        f"{one['name']} {one['version']}" for (kind, _), one in accounts.components.items() if kind == "Debian package"
    ]
    assert sorted(told) == sorted(installed)
    script = "import importlib.metadata as m; print(*{d.metadata['Name'] for d in m.distributions()}, sep='\\n')"
    found = engine.output(["exec", container, "python3", "-c", script]).splitlines()
    told = [name for kind, name in accounts.components if kind == "Python package"]
    assert sorted(told) == sorted(re.sub(r"[-_.]+", "-", name).lower() for name in found)
    assert {name for kind, name in accounts.components if kind == "model"} == {"whisper-base", "silero-vad", "campplus"}
    assert accounts.record["commit"] and accounts.record["base"]["layers"]


def test_accounts_lie_beside_the_archive(archived: ArchivedImage) -> None:
    folder = DIST / f"{NAMES.file}.accounts"
    assert {"build.json", "sbom.cdx.json", "pair-base.json", "licences"} == {path.name for path in folder.iterdir()}
    assert len(list((folder / "licences/debian").iterdir())) > 50
    assert {path.name for path in (folder / "licences/models").iterdir()} == {
        "campplus.txt",
        "silero-vad.txt",
        "whisper.txt",
    }
    assert not list(folder.rglob("*.pyc"))
    names = {path.name.partition("-")[0] for path in (folder / "licences/python").iterdir()}
    assert {"torch", "numpy", "starlette", "uvicorn"} <= names
    assert (
        list(differences(read_accounts(DIST / f"{NAMES.file}.tar.gz"), read_accounts(DIST / f"{NAMES.file}.tar.gz")))
        == []
    )


def test_unknown_image_is_an_error_with_what_to_do(engine: Engine) -> None:
    with pytest.raises(ApplianceError, match="no image wlk-appliance:none") as raised:
        require_image(engine, "wlk-appliance:none")
    assert "image build" in raised.value.hint
