"""Lock files, and a wheelhouse filled by the real pip from a folder of wheels made here."""

import hashlib
import re
import zipfile
from pathlib import Path

import pytest

from appliance.container.lock import Pin, read_lock
from appliance.container.wheelhouse import TORCH_INDEX_VARIABLE, fill_wheelhouse
from appliance.errors import ApplianceError
from tests.conftest import ROOT
from tests.fetch.items import sdist, sha256

IMAGE, DEVELOPMENT = ROOT / "images/cpu/requirements.lock", ROOT / "requirements-dev.lock"
LOCKS = [*sorted(ROOT.glob("images/*/*.lock")), DEVELOPMENT]
MACHINES = ("x86_64", "aarch64")


def make_wheel(folder: Path, name: str, content: str = "") -> str:
    """A minimal wheel; returns its lock line."""
    folder.mkdir(exist_ok=True)
    path = folder / f"{name}-1.0-py3-none-any.whl"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(f"{name}.py", content)
        archive.writestr(f"{name}-1.0.dist-info/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        archive.writestr(
            f"{name}-1.0.dist-info/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n"
        )
        archive.writestr(f"{name}-1.0.dist-info/RECORD", "")
    return f"{name}==1.0 \\\n    --hash=sha256:{hashlib.sha256(path.read_bytes()).hexdigest()}\n"


def fill(lock: Path, folder: Path, architecture: str = "amd64") -> list[Path]:
    return fill_wheelhouse([lock], folder, python="3.11", architecture=architecture)


@pytest.fixture
def offered(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder that is all pip may take wheels from."""
    folder = tmp_path / "offered"
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_FIND_LINKS", str(folder))
    return folder


def test_fills_reuses_and_removes_what_the_lock_does_not_name(tmp_path: Path, offered: Path) -> None:
    lock, folder = tmp_path / "lock", tmp_path / "house/wheels"
    lock.write_text(make_wheel(offered, "wlkone") + make_wheel(offered, "wlktwo"), encoding="utf-8")
    assert [wheel.name for wheel in fill(lock, folder)] == [
        "wlkone-1.0-py3-none-any.whl",
        "wlktwo-1.0-py3-none-any.whl",
    ]
    for wheel in offered.iterdir():  # the second time, there is nowhere to download from
        wheel.unlink()
    (folder / "stray-1.0-py3-none-any.whl").write_bytes(b"not in the lock")
    assert len(fill(lock, folder)) == 2


def test_what_another_target_has_is_not_downloaded_again(tmp_path: Path, offered: Path) -> None:
    lock = tmp_path / "lock"
    lock.write_text(make_wheel(offered, "wlk_one") + make_wheel(offered, "wlktwo"), encoding="utf-8")
    first = fill(lock, tmp_path / "house/one")
    for wheel in offered.iterdir():
        wheel.unlink()
    second = fill(lock, tmp_path / "house/two")
    assert [wheel.name for wheel in second] == [wheel.name for wheel in first]
    assert [wheel.stat().st_ino for wheel in second] == [wheel.stat().st_ino for wheel in first]
    first[0].write_bytes(b"damaged")  # and with it the other, which is the same file
    with pytest.raises(ApplianceError):
        fill(lock, tmp_path / "house/three")


def test_what_is_published_as_source_only_is_taken_so_where_the_target_says_it(tmp_path: Path, offered: Path) -> None:
    project = '[build-system]\nrequires = []\nbuild-backend = "b"\nbackend-path = ["."]\n'
    backend = """
import os
def prepare_metadata_for_build_wheel(folder, config_settings=None):
    os.mkdir(f"{folder}/wlkone-1.0.dist-info")
    with open(f"{folder}/wlkone-1.0.dist-info/METADATA", "w") as file:
        file.write("Metadata-Version: 2.1\\nName: wlkone\\nVersion: 1.0\\n")
    return "wlkone-1.0.dist-info"
"""
    offered.mkdir()
    path = offered / "wlkone-1.0.tar.gz"
    path.write_bytes(sdist({"wlkone-1.0/pyproject.toml": project.encode(), "wlkone-1.0/b.py": backend.encode()}))
    lock = tmp_path / "lock"
    lock.write_text(f"wlkone==1.0 --hash=sha256:{sha256(path.read_bytes())}\n", encoding="utf-8")
    with pytest.raises(ApplianceError):
        fill(lock, tmp_path / "house/one")
    found = fill_wheelhouse([lock], tmp_path / "house/one", python="3.11", architecture="amd64", sdists=("wlkone",))
    assert [file.name for file in found] == [path.name]


def test_wheel_with_another_hash_is_refused(tmp_path: Path, offered: Path) -> None:
    lock = tmp_path / "lock"
    lock.write_text(make_wheel(offered, "wlkone"), encoding="utf-8")
    make_wheel(offered, "wlkone", content="import os")
    with pytest.raises(ApplianceError, match=r"HASH|hash"):
        fill(lock, tmp_path / "house/wheels")
    assert not list((tmp_path / "house/wheels").glob("*.whl"))


def test_damaged_wheel_is_fetched_again(tmp_path: Path, offered: Path) -> None:
    lock = tmp_path / "lock"
    lock.write_text(make_wheel(offered, "wlkone"), encoding="utf-8")
    (wheel,) = fill(lock, tmp_path / "house/wheels")
    whole = wheel.read_bytes()
    wheel.write_bytes(whole[:-10])
    fill(lock, tmp_path / "house/wheels")
    assert wheel.read_bytes() == whole


def test_given_torch_index_is_asked(tmp_path: Path, offered: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    lock = tmp_path / "lock"
    line = make_wheel(offered, "torch")
    lock.write_text(line, encoding="utf-8")
    page = tmp_path / "index/torch"
    page.mkdir(parents=True)
    wheel = next(offered.iterdir())
    wheel.rename(page / wheel.name)
    (page / "index.html").write_text(f'<a href="{wheel.name}">{wheel.name}</a>', encoding="utf-8")
    monkeypatch.delenv("PIP_NO_INDEX")
    monkeypatch.setenv("PIP_INDEX_URL", (tmp_path / "none").as_uri())
    monkeypatch.setenv(TORCH_INDEX_VARIABLE, page.parent.as_uri())
    assert [path.name for path in fill(lock, tmp_path / "house/wheels")] == [wheel.name]


def test_requirement_without_hash_is_refused(tmp_path: Path) -> None:
    (tmp_path / "lock").write_text("numpy==2.0\n", encoding="utf-8")
    with pytest.raises(ApplianceError, match="numpy has no hash"):
        read_lock(tmp_path / "lock")


def locked(lock: Path, machine: str) -> dict[str, Pin]:
    return {pin.name: pin for pin in read_lock(lock) if pin.is_for(machine)}


def test_a_requirement_may_be_for_some_machines_only(tmp_path: Path, offered: Path) -> None:
    lock = tmp_path / "lock"
    one, two = make_wheel(offered, "wlkone"), make_wheel(offered, "wlktwo")
    one = one.replace("1.0", '1.0 ; platform_machine == "aarch64"', 1)
    two = two.replace("1.0", '1.0 ; platform_machine != "aarch64"', 1)
    lock.write_text(one + two, encoding="utf-8")
    for architecture, name in (("arm64", "wlkone"), ("amd64", "wlktwo")):
        wheels = fill(lock, tmp_path / architecture, architecture)
        assert [wheel.name for wheel in wheels] == [f"{name}-1.0-py3-none-any.whl"]


@pytest.mark.parametrize("lock", LOCKS, ids=lambda lock: f"{lock.parent.name}-{lock.name}")
def test_real_locks_hold_hashes_and_no_addresses(lock: Path) -> None:
    pins = read_lock(lock)
    assert pins
    for machine in MACHINES:
        names = [pin.name for pin in pins if pin.is_for(machine)]
        assert len(names) == len(set(names))
    assert not re.search(r"https?://|--index|--find-links|file://", lock.read_text(encoding="utf-8"))


@pytest.mark.parametrize("machine", MACHINES)
def test_image_and_development_locks_agree_and_torch_is_a_cpu_build(machine: str) -> None:
    image, development = locked(IMAGE, machine), locked(DEVELOPMENT, machine)
    assert {name: development[name].version for name in image} == {name: pin.version for name, pin in image.items()}
    assert image["torch"].version == ("2.13.0+cpu" if machine == "x86_64" else "2.10.0")
    assert len(image["torch"].hashes) == 1
    assert not {"torchaudio", "nemo-toolkit"} & set(image)
    assert not [name for name in image if name.startswith("nvidia")]


def test_other_targets_hold_the_same_versions_but_for_what_is_their_own() -> None:
    image = locked(IMAGE, "x86_64")
    cuda = locked(ROOT / "images/x86-cuda/requirements.lock", "x86_64")
    assert cuda["torch"].version == "2.13.0" and "nvidia-cublas-cu12" in cuda
    nemo = locked(ROOT / "images/x86-cuda/requirements-sortformer.lock", "x86_64")
    assert {name for name, pin in cuda.items() if nemo[name] != pin} == {"fsspec", "packaging"}
    assert nemo["nemo-toolkit"].version == "3.0.0" and "torchaudio" not in nemo
    assert {name: cuda[name].version for name in image if name != "torch"} == {
        name: pin.version for name, pin in image.items() if name != "torch"
    }
    jetson = ROOT / "images/jetson-thor"
    own = set((jetson / "from_base.txt").read_text(encoding="utf-8").split())
    assert own <= set(image)
    assert {name: pin.version for name, pin in locked(jetson / "requirements.lock", "aarch64").items()} == {
        name: pin.version for name, pin in image.items() if name not in own
    }
