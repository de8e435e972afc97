"""Makes what travels: a compressed archive of an image, its digest, and the image's accounts beside it."""

import json
import logging
import os
import shutil
import time
from dataclasses import asdict, dataclass
from pathlib import Path

from appliance.container.accounts import is_account, place
from appliance.container.archive import read_archive
from appliance.container.build import Names, require_archive
from appliance.container.engine import LocalImage
from appliance.digest import sha256_file
from appliance.errors import ApplianceError
from appliance.run import run

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Saved:
    """A saved image; ``sha256`` also stands in a file beside it, in the form `sha256sum --check` reads."""

    file: str
    size: int
    sha256: str
    image: str
    image_id: str
    unpacked_size: int


def save_image(names: Names, image: LocalImage, folder: Path, dist: Path) -> tuple[Saved, bool]:
    """Save as a gzip-compressed archive unless this very image was saved; also returns whether it was saved now.

    The same image makes the same file.

    Args:
        folder: where `appliance.container.build` keeps the archives of what it built.

    Raises:
        ApplianceError: the image was not built here, or the archive can't be written.
    """
    path = dist / f"{names.file}.tar.gz"
    kept = _kept(path, image)
    if kept is not None:
        log.info("archive: %s is up to date", path)
        return kept, False
    plain = require_archive(names, folder)
    started = time.monotonic()
    _make_writable(dist)
    packed = dist / f".{path.name}.partial"
    try:
        found = read_archive(plain, is_account)
        if found.image_id != image.image_id:
            raise ApplianceError(f"{plain} holds another image than {names.full}", "build it again, and save it then")
        with plain.open("rb") as source, packed.open("wb") as target:
            # Without name and time in its header, the same image makes the same archive.
            run(["gzip", "--fast", "--no-name"], stdin=source, stdout=target, hint=f"is there room in {dist}? df -h")
        digest = sha256_file(packed)
        packed.chmod(0o644)
        packed.rename(path)
    finally:
        packed.unlink(missing_ok=True)
    write_accounts(dist / f"{names.file}.accounts", found.files)
    _beside(path, ".sha256").write_text(f"{digest}  {path.name}\n", encoding="utf-8")
    saved = Saved(path.name, path.stat().st_size, digest, names.full, image.image_id, found.size)
    _beside(path, ".json").write_text(json.dumps(asdict(saved), indent=2) + "\n", encoding="utf-8")
    log.info("archive: saved in %.0f s", time.monotonic() - started)
    return saved, True


def write_accounts(folder: Path, files: dict[str, bytes]) -> None:
    """Put an image's accounts, as `read_archive` found them, into a folder of their own."""
    shutil.rmtree(folder, ignore_errors=True)
    for name, content in files.items():
        path = folder / place(name)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)


def _make_writable(dist: Path) -> None:
    try:
        dist.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ApplianceError(f"can't write to {dist}: {error.strerror}", "run it where you may write") from error
    if not os.access(dist, os.W_OK):
        raise ApplianceError(f"can't write to {dist}", "run it where you may write")


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def _kept(path: Path, image: LocalImage) -> Saved | None:
    """An earlier archive of this very image, as its notes say, newer than none of them."""
    notes, digests = _beside(path, ".json"), _beside(path, ".sha256")
    if not all(file.is_file() for file in (path, notes, digests)):
        return None
    try:
        saved = Saved(**json.loads(notes.read_text(encoding="utf-8")))
        digest = digests.read_text(encoding="utf-8").split()[0]
    except (ValueError, LookupError, TypeError):  # a run that was stopped left them incomplete
        return None
    told = (saved.image_id, saved.sha256, saved.size)
    return saved if told == (image.image_id, digest, path.stat().st_size) else None
