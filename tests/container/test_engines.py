"""The same image from more than one engine, and again from the same one: with networking off, bit for bit."""

import filecmp
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.container.accounts import differences, read_accounts
from appliance.container.archive import read_archive
from appliance.container.base import stand_in_name
from appliance.container.demo import running, wait_ready
from appliance.container.engine import Engine, LocalImage
from appliance.container.engine_setup import ENGINE_VARIABLE, find_engine
from appliance.container.target import host_architecture
from tests.conftest import ROOT, missing
from tests.container.builds import NAMES, build, change_the_code, names_kept

pytestmark = pytest.mark.image


def found(kind: str) -> Engine:
    """The engine of that kind, found as a user who names it finds it."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(ENGINE_VARIABLE, kind)
        engine, problems = find_engine()
    if engine is None:
        missing(f"{kind}: {'; '.join(problems) or 'not installed'}")
    return engine


@pytest.fixture(autouse=True)
def _tidy(names: None, tmp_path: Path) -> Iterator[None]:
    """Each of these tests writes gigabytes: they go also when it fails."""
    yield
    shutil.rmtree(tmp_path)


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Where podman and buildah keep images in these tests: a build leaves gigabytes there."""
    folder = tmp_path_factory.mktemp("storage")
    settings = folder / "storage.conf"
    settings.write_text(
        f'[storage]\ndriver = "overlay"\ngraphroot = "{folder}/images"\nrunroot = "{folder}/run"\n', encoding="utf-8"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CONTAINERS_STORAGE_CONF", str(settings))
        yield {"CONTAINERS_STORAGE_CONF": str(settings)}
    subprocess.run(["umount", folder / "images/overlay"], check=False, capture_output=True)
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module", autouse=True)
def base(engine: Engine) -> None:
    """The stand-in base, where the image was built on it, as an archive for the other engines."""
    name = stand_in_name(host_architecture())
    archive = ROOT / "build/base" / f"{name.replace(':', '-')}.tar"
    if engine.describe(name) is not None and not archive.is_file():
        archive.parent.mkdir(parents=True, exist_ok=True)
        engine.save(name, archive)


def test_a_second_build_makes_the_same_image(image: LocalImage, tmp_path: Path) -> None:
    """Every step of it anew, in another folder and later."""
    found("docker")
    first = ROOT / "build/images" / f"{NAMES.file}.tar"
    second = build(tmp_path, "docker", "--no-cache")
    assert list(differences(read_accounts(first), read_accounts(second))) == []
    assert read_archive(second).image_id == image.image_id
    assert filecmp.cmp(first, second, shallow=False)


def test_a_changed_line_of_code_changes_a_few_megabytes(image: LocalImage, tmp_path: Path) -> None:
    docker = found("docker")
    change_the_code(tmp_path)
    before = ROOT / "build/images" / f"{NAMES.file}.tar"
    with names_kept(docker):
        after = read_archive(build(tmp_path, "docker"))
    known = {layer.diff_id for layer in read_archive(before).layers}
    changed = [layer for layer in after.layers if layer.diff_id not in known]
    assert 0 < sum(layer.size for layer in changed) < 3_000_000, [(layer.step, layer.size) for layer in changed]


def test_a_kit_makes_the_same_image_with_an_engine_and_bash_alone(
    image: LocalImage, engine: Engine, tmp_path: Path
) -> None:
    build(tmp_path, "docker", action="kit")
    [kit] = (tmp_path / "dist").glob("*.kit")
    engine.forget(NAMES.full)
    try:
        done = subprocess.run(
            ["bash", kit / "build.sh"], env={"PATH": os.environ["PATH"]}, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr[-3000:]
        made = engine.describe(NAMES.full)
        assert made is not None and made.image_id == image.image_id
    finally:
        if engine.describe(NAMES.full) is None:
            engine.load(ROOT / "build/images" / f"{NAMES.file}.tar")
    assert not list(kit.glob(".work*"))

    (kit / "more.log").touch()
    done = subprocess.run(["bash", kit / "build.sh"], capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "a file that its list does not name: more.log" in done.stderr
    with (kit / "context/Dockerfile").open("a", encoding="utf-8") as file:
        file.write("# changed on the way\n")
    done = subprocess.run(["bash", kit / "build.sh"], capture_output=True, text=True, check=False)
    assert done.returncode == 1 and "this kit is damaged" in done.stderr and "Dockerfile" in done.stderr


def test_buildah_builds_it_where_there_is_no_network_at_all(
    image: LocalImage, storage: dict[str, str], tmp_path: Path
) -> None:
    """Its whole build runs in a network of its own, without any interface: no connection could be made.

    And a secret of this host's that a build may need elsewhere is nowhere in what comes out.
    """
    found("buildah")
    secret = "wlk-secret-4711"
    hidden = {
        "PIP_INDEX_URL": f"https://user:{secret}@index.invalid/simple",
        "HF_TOKEN": secret,
        "REQUESTS_CA_BUNDLE": f"/{secret}.pem",
    }
    archive = build(tmp_path, "buildah", "--no-cache", **hidden, **storage)
    docker = read_accounts(ROOT / "build/images" / f"{NAMES.file}.tar")
    ours = read_accounts(archive)
    assert [layer.diff_id for layer in ours.image.layers] == [layer.diff_id for layer in docker.image.layers]
    assert ours.components == docker.components and ours.record == docker.record
    with archive.open("rb") as file:
        before = b""
        while piece := file.read(1 << 24):
            assert secret.encode() not in before + piece
            before = piece[-len(secret) :]


def test_podman_runs_what_buildah_built(storage: dict[str, str]) -> None:
    engine = found("podman")
    if engine.describe(NAMES.full) is None:
        missing(f"{NAMES.full} in podman's storage: the test before builds it")
    with running(engine, NAMES.full) as name:
        wait_ready(engine, name, 300)
