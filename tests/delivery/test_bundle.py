"""The real image as a bundle: made as a user makes it, checked and unpacked as a site does."""

import os
import random
import re
import shutil
import subprocess
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest

from appliance.container.build import Names
from appliance.container.engine import Engine, LocalImage
from appliance.delivery.contents import LIST_FILE, entries, parse_contents
from appliance.delivery.keys import load_private, write_signed
from appliance.digest import sha256_file
from tests.delivery.bundles import FILES, script
from tests.delivery.releases import Release

pytestmark = pytest.mark.image

ARCHIVE = "image.tar.zst"
TRIALS = 300
ARCHIVE_TRIALS = 20
CHANGED_LESS_THAN = 4_000_000


def test_it_holds_what_a_site_needs(release: Release, image: LocalImage) -> None:
    bundle = release.bundle
    contents = parse_contents((bundle / "CONTENTS").read_text(encoding="utf-8"))
    assert (contents.image_id, contents.archive) == (image.image_id, ARCHIVE)
    assert contents.tar_sha256 == sha256_file(release.archive)
    names = {path.name for path in bundle.iterdir()}
    assert {
        ARCHIVE,
        "accounts",
        "install.sh",
        "systemd",
        "docs",
        "deploy",
        "openapi.json",
        "LICENSE",
        "CONTENTS",
        "key.pem",
    } <= names
    assert (bundle / "accounts/sbom.cdx.json").is_file() and (bundle / "accounts/licences/models").is_dir()
    done = script("verify.sh", "--key", release.key, bundle)
    assert done.returncode == 0, done.stderr


def test_its_documents_lead_somewhere_at_the_site_too(release: Release) -> None:
    documents = sorted((release.bundle / "docs").glob("*.md"))
    assert {"API.md", "install.md", "security.md", "troubleshooting.md"} <= {document.name for document in documents}
    for document in documents:
        links = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", document.read_text(encoding="utf-8"))
        assert [link for link in links if not (document.parent / link).exists()] == [], document.name


@pytest.mark.usefixtures("names")
def test_its_archive_loads_as_the_image_that_it_names(release: Release, engine: Engine, image: LocalImage) -> None:
    with subprocess.Popen(["zstd", "-dc", release.bundle / ARCHIVE], stdout=subprocess.PIPE) as unpacked:
        subprocess.run([engine.program, "load", "--quiet"], stdin=unpacked.stdout, check=True, capture_output=True)
    assert engine.describe(Names("cpu", ("base",)).full) == image


def test_every_flipped_bit_is_caught(release: Release, tmp_path: Path) -> None:
    """Half of the places anywhere in a bundle with a small archive, half in files by turns."""
    copies = [tmp_path / str(number) for number in range(min(4, len(os.sched_getaffinity(0))))]
    with ThreadPoolExecutor(len(copies)) as pool:
        list(pool.map(lambda copy: flip_bits(release, copy, -(-TRIALS // len(copies))), copies))
    shutil.rmtree(tmp_path)


def test_every_flipped_bit_of_the_archive_is_caught(release: Release, tmp_path: Path) -> None:
    """Of the real one, which each trial reads to its end; first and last byte, and places between."""
    bundle = shutil.copytree(release.bundle, tmp_path / "bundle")
    archive = bundle / ARCHIVE
    last = archive.stat().st_size - 1
    chance = random.Random(4)
    for at in (0, last, *(chance.randrange(last) for _ in range(ARCHIVE_TRIALS - 2))):
        flip_is_caught(release, bundle, archive, at, 1 << chance.randrange(8))
    assert script("verify.sh", "--key", release.key, bundle).returncode == 0
    shutil.rmtree(tmp_path)


def flip_bits(release: Release, bundle: Path, trials: int) -> None:
    copy_with_small_archive(release, bundle)
    chance = random.Random(bundle.name)
    files = sorted(path for path in bundle.rglob("*") if path.is_file() and path.stat().st_size)
    sizes = [path.stat().st_size for path in files]
    for trial in range(trials):
        file = chance.choices(files, sizes)[0] if trial % 2 else chance.choice(files)
        flip_is_caught(release, bundle, file, chance.randrange(file.stat().st_size), 1 << chance.randrange(8))
    assert script("verify.sh", "--key", release.key, bundle).returncode == 0


def copy_with_small_archive(release: Release, bundle: Path) -> None:
    """A copy, signed like the release, with little where the image is."""
    shutil.copytree(release.bundle, bundle, ignore=shutil.ignore_patterns(ARCHIVE))
    (bundle / ARCHIVE).write_bytes(FILES[ARCHIVE])
    contents = parse_contents((bundle / LIST_FILE).read_text(encoding="utf-8"))
    changed = replace(contents, files=entries(bundle))
    write_signed(bundle / LIST_FILE, changed.text(), load_private(release.folder / "key"))


def flip_is_caught(release: Release, bundle: Path, file: Path, at: int, bit: int) -> None:
    flip(file, at, bit)
    done = script("verify.sh", "--key", release.key, bundle)
    assert (done.returncode, done.stdout) == (1, ""), (file, at, bit)
    assert str(file.relative_to(bundle)) in done.stderr or file.name in ("CONTENTS", "CONTENTS.sig")
    flip(file, at, bit)


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
