"""Stages what an image build may see: wheels, models, samples and code, as hard links in one small folder.

The folder is all that a build needs beside its base image: an engine alone can repeat it, without a network.
"""

import hashlib
import json
import logging
import os
import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from appliance.accounts.components import ASSETS_FILE, LICENCES
from appliance.container.sources import SourceArchive
from appliance.container.target import NO_DIARIZATION, Target
from appliance.digest import sha256_file
from appliance.errors import ApplianceError
from appliance.fetch import Fetcher
from appliance.manifest import LocalSource, Manifest
from appliance.manifest.items import Asset, Item, Recording, WhisperModel
from appliance.pair.locate import find_pair

log = logging.getLogger(__name__)

SELFTEST_RECORDING = "librivox-0870"
"""The recording that the image's smoke test transcribes (7 s, 22 words)."""

VOICE_MODEL = "campplus"
"""What tells speakers apart without more libraries: small enough (28 MB) to be in every image."""

RECORD_FILE = "build.json"
"""What the image was built from, as `appliance.container.build` tells it."""

_CODE = Path(__file__).resolve().parent.parent
_COMMON = "common"
"""Beside the targets' folders: what the builds of several of them use."""
_NOT_STAGED = ("Dockerfile", "target.mk", "pip.lock", "build.lock", "from_base.txt")
_EACH_MODEL = "${MODEL}"


@dataclass(frozen=True, slots=True)
class Context:
    """A staged build context. ``inputs`` is a SHA-256 over the names and contents of all its files."""

    folder: Path
    inputs: str


def shipped_items(manifest: Manifest, models: Sequence[str], diarization: str) -> list[Item]:
    """What of the manifest goes into an image with these models.

    Args:
        diarization: `none`, or the name or alias of a diarizer that goes in beside `VOICE_MODEL`.

    Raises:
        ApplianceError: the manifest has no such model, or not exactly one voice activity model.
    """
    vads = [asset for asset in manifest.assets.values() if asset.kind == "vad"]
    if len(vads) != 1:
        raise ApplianceError(f"the manifest has {len(vads)} voice activity models", "an image takes exactly one")
    diarizers = [manifest.asset(VOICE_MODEL)]
    diarizers += [] if diarization == NO_DIARIZATION else [manifest.asset(diarization)]
    return [*map(manifest.model, models), *vads, *diarizers, manifest.recording(SELFTEST_RECORDING)]


def stage_context(
    target: Target,
    models: Sequence[str],
    wheels: Sequence[Path],
    sources: Sequence[SourceArchive],
    manifest: Manifest,
    fetcher: Fetcher,
    pairs_dir: Path,
    record: dict[str, object],
    folder: Path,
) -> Context:
    """Make the folder anew; nothing in it is copied where a hard link will do.

    Args:
        sources: what the build compiles.
        record: what the image is to say about its build.

    Raises:
        ApplianceError: a model's pair isn't baked, or an asset can't be had.
    """
    for model in models:
        find_pair(pairs_dir, model)
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    (folder / "Dockerfile").write_text(
        for_models(target.dockerfile.read_text(encoding="utf-8"), models), encoding="utf-8"
    )
    for wheel in wheels:
        _link(wheel, folder / "wheels" / wheel.name)
    for one in sources:
        _link(one.path, folder / "sources" / f"{one.source.name}.tar")
    for file in sorted(target.folder.iterdir()):
        if file.is_file() and file.name not in _NOT_STAGED and not file.name.startswith("requirements"):
            _copy(file, folder / file.name)
    _copy(target.requirements, folder / "requirements.lock")
    common = target.folder.parent / _COMMON
    for file in _files(common):
        _copy(file, folder / _COMMON / file.relative_to(common))
    shipped = shipped_items(manifest, models, target.diarization)
    assets = [_stage_asset(item, fetcher, folder / "models") for item in shipped if not isinstance(item, WhisperModel)]
    _write_json(folder / "models" / ASSETS_FILE, assets)
    licences = folder / "models" / LICENCES
    licences.mkdir()
    for text in {item.licence_text for item in shipped if item.licence_text}:
        _copy(text, licences / text.name)
    for model in models:
        for file in _files(pairs_dir / model):
            _link(file, folder / "models" / model / file.relative_to(pairs_dir / model))
    for file in _files(_CODE):
        if "__pycache__" not in file.parts:
            _copy(file, folder / "app/appliance" / file.relative_to(_CODE))
    _write_json(folder / RECORD_FILE, record)
    return Context(folder, _digest(folder))


def for_models(dockerfile: str, models: Sequence[str]) -> str:
    """A Dockerfile with its ``COPY`` of a model once for each: every pair becomes a layer of its own."""
    rows = []
    for row in dockerfile.splitlines():
        each = models if row.startswith("COPY") and _EACH_MODEL in row else (_EACH_MODEL,)
        rows += [row.replace(_EACH_MODEL, model) for model in each]
    return "\n".join(rows) + "\n"


def _stage_asset(item: Item, fetcher: Fetcher, folder: Path) -> dict[str, str]:
    """Put a file beside the models; returns what the image's bill of materials tells of it."""
    fetched = fetcher.fetch(item)
    if isinstance(item, Recording):
        file = Path("samples", f"{item.name}.wav")
        (folder / "samples").mkdir(parents=True, exist_ok=True)
        (folder / file).with_suffix(".txt").write_text(item.transcript + "\n", encoding="utf-8")
    else:
        assert isinstance(item, Asset)
        file = Path(item.place)
    _link(fetched.path, folder / file)
    return {
        "kind": "recording" if isinstance(item, Recording) else "model",
        "name": item.name,
        "licence": item.licence,
        "sha256": fetched.sha256,
        "source": _source(item, fetched.sha256),
        "file": str(file),
    }


def _source(item: Item, sha256: str) -> str:
    """Where the manifest says that a file is from: the same on every host, wherever it was had."""
    source = next(source for source in item.sources if source.sha256 == sha256)
    return source.kind if isinstance(source, LocalSource) else source.label


def _write_json(path: Path, content: object) -> None:
    path.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n", encoding="utf-8")


def _files(folder: Path) -> list[Path]:
    return sorted(path for path in folder.rglob("*") if path.is_file())


def _link(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    if not source.stat().st_mode & 0o004:  # the image's user must be able to read it; leave the original's mode alone
        _copy(source, target)
        return
    try:
        os.link(source.resolve(), target)
    except OSError:  # another file system, or one without hard links
        shutil.copyfile(source, target)


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(source, target)
    target.chmod(0o755 if source.stat().st_mode & 0o100 else 0o644)


def _digest(folder: Path) -> str:
    digest = hashlib.sha256()
    for file in _files(folder):
        digest.update(f"{file.relative_to(folder)}\0{sha256_file(file)}\n".encode())
    return digest.hexdigest()
