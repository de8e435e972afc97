"""An image copied into a registry and read back: a real registry, with each tool that is to be had."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.container.archive import read_archive
from appliance.container.build import Names
from appliance.container.engine import Engine, LocalImage
from appliance.container.registry import Tool, Upload, push, repository
from appliance.errors import ApplianceError, UsageError
from tests.conftest import ROOT, missing
from tests.container.archives import archive, layer
from tests.programs import put

DIGEST = "sha256:" + "d" * 64
IMAGE_ID = "sha256:" + "1" * 64


def no_engine() -> Engine:
    raise AssertionError("another tool was there")


@pytest.mark.parametrize("wrong", ["https://host", "host:port", "host/", "host/Upper", "", "a b"])
def test_a_registry_is_an_address_without_a_scheme(wrong: str) -> None:
    with pytest.raises(UsageError, match="not a registry"):
        repository(wrong, "wlk-appliance:1")


def test_an_image_keeps_its_name_in_a_folder_of_the_registry() -> None:
    upload = Upload(
        Path("a.tar"), IMAGE_ID, "wlk-appliance:0.1.0-cpu-base", repository("h:5000/wlk", "wlk-appliance:1")
    )
    assert upload.reference == "h:5000/wlk/wlk-appliance:0.1.0-cpu-base"
    assert upload.by_digest(DIGEST) == f"h:5000/wlk/wlk-appliance@{DIGEST}"


def crane(folder: Path, holds: str) -> None:
    """A stand-in for crane, which is to be had nowhere here: writes down its words, tells what the registry holds."""
    manifest = json.dumps({"config": {"digest": holds}})
    body = f"""echo "$@" >>{folder}/asked
case "$1" in push) echo "h/wlk-appliance@{DIGEST}" ;; manifest) echo '{manifest}' ;; esac"""
    put(folder, "crane", body)


def test_crane_is_taken_where_it_is(tmp_path: Path, programs: Path) -> None:
    crane(programs, IMAGE_ID)
    upload = Upload(tmp_path / "a.tar", IMAGE_ID, "wlk-appliance:1", "h/wlk-appliance", insecure=True)
    assert push(upload, None, no_engine) == (DIGEST, "crane")
    assert (programs / "asked").read_text(encoding="utf-8").splitlines() == [
        f"push --insecure {tmp_path}/a.tar h/wlk-appliance:1",
        f"manifest --insecure h/wlk-appliance@{DIGEST}",
    ]


def test_another_image_in_the_registry_is_noticed(tmp_path: Path, programs: Path) -> None:
    crane(programs, "sha256:" + "2" * 64)
    upload = Upload(tmp_path / "a.tar", IMAGE_ID, "wlk-appliance:1", "h/wlk-appliance")
    with pytest.raises(ApplianceError, match=f"is sha256:2{{64}}, not {IMAGE_ID}"):
        push(upload, "crane", no_engine)


def test_a_registry_that_does_not_answer_is_told(tmp_path: Path, programs: Path) -> None:
    put(programs, "crane", "echo connection refused >&2; exit 1")
    upload = Upload(tmp_path / "a.tar", IMAGE_ID, "wlk-appliance:1", "h/wlk-appliance")
    with pytest.raises(ApplianceError, match="connection refused") as raised:
        push(upload, None, no_engine)
    assert "--insecure" in raised.value.hint


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of Debian's registry, running on a free port."""
    program = shutil.which("docker-registry")
    if program is None:
        missing("docker-registry: apt-get install docker-registry")
    folder = tmp_path_factory.mktemp("registry")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    settings = folder / "config.yml"
    settings.write_text(
        f"version: 0.1\nhttp: {{addr: '127.0.0.1:{port}'}}\n"
        f"storage: {{filesystem: {{rootdirectory: {folder}/data}}}}\n",
        encoding="utf-8",
    )
    with (folder / "log").open("wb") as log:
        server = subprocess.Popen([program, "serve", settings], stdout=log, stderr=log)
    try:
        for _ in range(100):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.1)
        else:
            pytest.fail((folder / "log").read_text(encoding="utf-8"))
        yield f"127.0.0.1:{port}"
    finally:
        server.terminate()
        server.wait(10)
        shutil.rmtree(folder)


def small(folder: Path) -> tuple[Path, str]:
    """An archive of a small image."""
    path = archive(folder / "image.tar", [layer({"opt/a": os.urandom(50_000)})])
    return path, read_archive(path).image_id


def test_skopeo_pushes_and_reads_back(tmp_path: Path, registry: str) -> None:
    if shutil.which("skopeo") is None:
        missing("skopeo: apt-get install skopeo")
    path, image_id = small(tmp_path)
    where = repository(f"{registry}/site", "wlk-appliance:1")
    digest, tool = push(Upload(path, image_id, "wlk-appliance:1", where, insecure=True), "skopeo", no_engine)
    assert tool == "skopeo"
    words = ["skopeo", "copy", "--quiet", "--src-tls-verify=false", f"docker://{where}@{digest}"]
    subprocess.run([*words, f"docker-archive:{tmp_path}/back.tar"], check=True)
    assert read_archive(tmp_path / "back.tar").image_id == image_id


def test_a_registry_with_tls_is_not_asked_without(tmp_path: Path, registry: str) -> None:
    if shutil.which("skopeo") is None:
        missing("skopeo: apt-get install skopeo")
    path, image_id = small(tmp_path)
    upload = Upload(path, image_id, "wlk-appliance:1", repository(registry, "wlk-appliance:1"))
    with pytest.raises(ApplianceError, match="skopeo"):
        push(upload, "skopeo", no_engine)


@pytest.mark.image
@pytest.mark.parametrize("tool", ["engine", "skopeo"])
def test_the_real_image_comes_back_the_same(engine: Engine, image: LocalImage, registry: str, tool: Tool) -> None:
    words = [
        sys.executable,
        "-m",
        "appliance",
        "push",
        "--registry",
        f"{registry}/{tool}",
        "--tool",
        tool,
        "--insecure",
    ]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    found = re.search(r"^\S+@(sha256:[0-9a-f]{64})$", done.stdout, re.MULTILINE)
    assert found is not None
    engine.run(["pull", "--quiet", found[0]], capture=True)
    try:
        pulled = engine.describe(found[0])
        assert pulled is not None and pulled.image_id == image.image_id
        assert engine.describe(Names("cpu", ("base",)).full) is not None
    finally:
        engine.forget(found[0])
