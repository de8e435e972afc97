"""Stages what an image build may see: wheels, models, samples and code, as hard links in one small folder."""

import hashlib
import logging
import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from appliance.digest import sha256_file
from appliance.errors import ApplianceError
from appliance.fetch import Fetcher
from appliance.manifest import Manifest
from appliance.pair.locate import find_pair

log = logging.getLogger(__name__)

SELFTEST_RECORDING = "librivox-0870"
"""The recording that the image's smoke test transcribes (7 s, 22 words)."""

_CODE = Path(__file__).resolve().parent.parent


@dataclass(frozen=True, slots=True)
class Context:
    """A staged build context. ``inputs`` is a SHA-256 over the names and contents of all its files."""

    folder: Path
    inputs: str


def stage_context(
    target_dir: Path,
    model: str,
    wheels: list[Path],
    manifest: Manifest,
    fetcher: Fetcher,
    pairs_dir: Path,
    folder: Path,
) -> Context:
    """Make the folder anew; nothing in it is copied where a hard link will do.

    Raises:
        ApplianceError: the model's pair isn't baked, or an asset can't be had.
    """
    find_pair(pairs_dir, model)
    shutil.rmtree(folder, ignore_errors=True)
    for wheel in wheels:
        _link(wheel, folder / "wheels" / wheel.name)
    for file in (target_dir / "requirements.lock", *sorted(target_dir.glob("*.py"))):
        _link(file, folder / file.name)
    vads = [asset for asset in manifest.assets.values() if asset.kind == "vad"]
    if len(vads) != 1:
        raise ApplianceError(f"the manifest has {len(vads)} voice activity models", "an image takes exactly one")
    _link(fetcher.fetch(vads[0]).path, folder / "models/silero_vad.onnx")
    recording = manifest.recording(SELFTEST_RECORDING)
    samples = folder / "models/samples"
    _link(fetcher.fetch(recording).path, samples / f"{recording.name}.wav")
    (samples / f"{recording.name}.txt").write_text(recording.transcript + "\n", encoding="utf-8")
    for file in _files(pairs_dir / model):
        _link(file, folder / "models" / model / file.relative_to(pairs_dir / model))
    for file in _files(_CODE):
        if "__pycache__" not in file.parts:
            _copy(file, folder / "app/appliance" / file.relative_to(_CODE))
    return Context(folder, _digest(folder, target_dir / "Dockerfile"))


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
    target.chmod(0o644)


def _digest(folder: Path, dockerfile: Path) -> str:
    digest = hashlib.sha256(dockerfile.read_bytes())
    for file in _files(folder):
        digest.update(f"{file.relative_to(folder)}\0{sha256_file(file)}\n".encode())
    return digest.hexdigest()
