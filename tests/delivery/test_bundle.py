"""The real image as a bundle: made as a user makes it, checked and unpacked as a site does."""

import os
import random
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from appliance.container.build import Names
from appliance.container.engine import Engine, LocalImage
from appliance.delivery.contents import parse_contents
from appliance.digest import sha256_file
from tests.delivery.bundles import script
from tests.delivery.releases import Release

pytestmark = pytest.mark.image

TRIALS = 300
CHANGED_LESS_THAN = 4_000_000


def test_it_holds_what_a_site_needs(release: Release, image: LocalImage) -> None:
    bundle = release.bundle
    contents = parse_contents((bundle / "CONTENTS").read_text(encoding="utf-8"))
    assert (contents.image_id, contents.archive) == (image.image_id, "image.tar.zst")
    assert contents.tar_sha256 == sha256_file(release.archive)
    names = {path.name for path in bundle.iterdir()}
    assert {
        "image.tar.zst",
        "accounts",
        "install.sh",
        "systemd",
        "API.md",
        "openapi.json",
        "LICENSE",
        "CONTENTS",
        "key.pem",
    } <= names
    assert (bundle / "accounts/sbom.cdx.json").is_file() and (bundle / "accounts/licences/models").is_dir()
    done = script("verify.sh", "--key", release.key, bundle)
    assert done.returncode == 0, done.stderr


def test_its_archive_loads_as_the_image_that_it_names(release: Release, engine: Engine, image: LocalImage) -> None:
    with subprocess.Popen(["zstd", "-dc", release.bundle / "image.tar.zst"], stdout=subprocess.PIPE) as unpacked:
        subprocess.run([engine.program, "load", "--quiet"], stdin=unpacked.stdout, check=True, capture_output=True)
    assert engine.describe(Names("cpu", ("base",)).full) == image


def test_every_flipped_bit_is_caught(release: Release, tmp_path: Path) -> None:
    """Half of the places anywhere in the bundle, which is nearly always in the archive, half in files by turns."""
    copies = [tmp_path / str(number) for number in range(min(4, len(os.sched_getaffinity(0))))]
    with ThreadPoolExecutor(len(copies)) as pool:
        list(pool.map(lambda copy: flip_bits(release, copy, -(-TRIALS // len(copies))), copies))
    shutil.rmtree(tmp_path)


def flip_bits(release: Release, bundle: Path, trials: int) -> None:
    shutil.copytree(release.bundle, bundle)
    chance = random.Random(bundle.name)
    files = sorted(path for path in bundle.rglob("*") if path.is_file() and path.stat().st_size)
    sizes = [path.stat().st_size for path in files]
    for trial in range(trials):
        file = chance.choices(files, sizes)[0] if trial % 2 else chance.choice(files)
        at, bit = chance.randrange(file.stat().st_size), 1 << chance.randrange(8)
        flip(file, at, bit)
        done = script("verify.sh", "--key", release.key, bundle)
        assert (done.returncode, done.stdout) == (1, ""), (file, at, bit)
        assert str(file.relative_to(bundle)) in done.stderr or file.name in ("CONTENTS", "CONTENTS.sig")
        flip(file, at, bit)
    assert script("verify.sh", "--key", release.key, bundle).returncode == 0


def flip(file: Path, at: int, bit: int) -> None:
    with file.open("r+b") as content:
        content.seek(at)
        byte = content.read(1)[0]
        content.seek(at)
        content.write(bytes([byte ^ bit]))


def test_a_changed_line_travels_as_a_small_delta(release: Release, next_release: Release, tmp_path: Path) -> None:
    delta = next_release.delta
    assert delta is not None
    assert sum(path.stat().st_size for path in delta.rglob("*") if path.is_file()) < CHANGED_LESS_THAN
    done = script("apply.sh", "--key", release.key, "--base", release.bundle, "--to", tmp_path / "new", delta)
    assert done.returncode == 0, done.stderr
    assert sha256_file(tmp_path / "new/image.tar") == sha256_file(next_release.archive)
    shutil.rmtree(tmp_path)
