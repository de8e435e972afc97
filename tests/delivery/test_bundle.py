"""The real image as a bundle: made as a user makes it, checked and unpacked as a site does."""

import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.container.engine import Engine, LocalImage
from appliance.delivery.contents import parse_contents
from appliance.delivery.keys import generate
from appliance.digest import sha256_file
from tests.conftest import ROOT, missing
from tests.container.builds import NAMES, build, change_the_code
from tests.container.conftest import engine, image
from tests.delivery.bundles import script

__all__ = ["engine", "image"]  # fixtures

pytestmark = pytest.mark.image

TRIALS = 300
CHANGED_LESS_THAN = 4_000_000


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory, image: LocalImage) -> Iterator[Path]:
    """A folder with a key, and the bundle of the image made there."""
    for program in ("zstd", "openssl"):
        if shutil.which(program) is None:
            missing(f"{program}: apt-get install {program}")
    folder = tmp_path_factory.mktemp("site")
    generate(folder / "key")
    make(folder)
    yield folder
    shutil.rmtree(folder)


def make(folder: Path, *words: str | Path) -> None:
    """Make the bundle of what was built in a folder, or here."""
    for name in ("images", "models", "docs", "LICENSE", "scripts", "build", "dist"):
        if not (folder / name).exists() and name != "dist":
            (folder / name).symlink_to(ROOT / name)
    done = subprocess.run(
        [sys.executable, "-m", "appliance", "bundle", "create", "--key", folder / "key", *words],
        cwd=folder,
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr


def bundle_in(folder: Path) -> Path:
    return folder / "dist" / f"{NAMES.bundle}.bundle"


def test_it_holds_what_a_site_needs(site: Path, image: LocalImage) -> None:
    bundle = bundle_in(site)
    contents = parse_contents((bundle / "CONTENTS").read_text(encoding="utf-8"))
    assert (contents.image_id, contents.archive) == (image.image_id, "image.tar.zst")
    assert contents.tar_sha256 == sha256_file(ROOT / "build/images" / f"{NAMES.file}.tar")
    names = {path.name for path in bundle.iterdir()}
    assert {"image.tar.zst", "accounts", "verify.sh", "run_wlk.sh", "API.md", "LICENSE", "CONTENTS", "key.pem"} <= names
    assert (bundle / "accounts/sbom.cdx.json").is_file() and (bundle / "accounts/licences/models").is_dir()
    done = script("verify.sh", "--key", site / "key.pub", bundle)
    assert done.returncode == 0, done.stderr


def test_its_archive_loads_as_the_image_that_it_names(site: Path, engine: Engine, image: LocalImage) -> None:
    with subprocess.Popen(["zstd", "-dc", bundle_in(site) / "image.tar.zst"], stdout=subprocess.PIPE) as unpacked:
        subprocess.run([engine.program, "load", "--quiet"], stdin=unpacked.stdout, check=True, capture_output=True)
    assert engine.describe(NAMES.full) == image


def test_every_flipped_bit_is_caught(site: Path) -> None:
    """Half of the places anywhere in the bundle, which is nearly always in the archive, half in files by turns."""
    bundle, chance = bundle_in(site), random.Random(7)
    files = sorted(path for path in bundle.rglob("*") if path.is_file() and path.stat().st_size)
    sizes = [path.stat().st_size for path in files]
    for trial in range(TRIALS):
        file = chance.choices(files, sizes)[0] if trial % 2 else chance.choice(files)
        at, bit = chance.randrange(file.stat().st_size), 1 << chance.randrange(8)
        flip(file, at, bit)
        done = script("verify.sh", "--key", site / "key.pub", bundle)
        assert (done.returncode, done.stdout) == (1, ""), (file, at, bit)
        assert str(file.relative_to(bundle)) in done.stderr or file.name in ("CONTENTS", "CONTENTS.sig")
        flip(file, at, bit)
    assert script("verify.sh", "--key", site / "key.pub", bundle).returncode == 0


def flip(file: Path, at: int, bit: int) -> None:
    with file.open("r+b") as content:
        content.seek(at)
        byte = content.read(1)[0]
        content.seek(at)
        content.write(bytes([byte ^ bit]))


def test_a_changed_line_travels_as_a_small_delta(site: Path, engine: Engine, image: LocalImage, tmp_path: Path) -> None:
    change_the_code(tmp_path)
    try:
        archive = build(tmp_path, "docker")
    finally:
        engine.load(ROOT / "build/images" / f"{NAMES.file}.tar")
    shutil.copy(site / "key", tmp_path)
    make(tmp_path, "--since", bundle_in(site) / "CONTENTS")
    [delta] = (tmp_path / "dist").glob("*.delta")
    assert sum(path.stat().st_size for path in delta.rglob("*") if path.is_file()) < CHANGED_LESS_THAN
    words = ("--key", site / "key.pub", "--base", bundle_in(site), "--to", tmp_path / "new")
    done = script("apply.sh", *words, delta)
    assert done.returncode == 0, done.stderr
    assert sha256_file(tmp_path / "new/image.tar") == sha256_file(archive)
    shutil.rmtree(tmp_path)
