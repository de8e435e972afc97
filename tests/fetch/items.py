"""Items, distributions and manifests made for a test."""

import hashlib
import io
import tarfile
import zipfile
from pathlib import Path

import yaml

from appliance.manifest import Asset, Manifest, load_manifest


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def pinned(kind: str, content: bytes, **more: object) -> dict[str, object]:
    """A source entry that pins ``content``."""
    return {"kind": kind, "format": "onnx", "size": len(content), "sha256": sha256(content), **more}


def item(*sources: dict[str, object], name: str = "thing") -> Asset:
    return Asset.model_validate({"name": name, "kind": "vad", "licence": "MIT", "sources": sources})


def part(package: str, version: str, archive: str, file: str, content: bytes) -> dict[str, object]:
    return {"package": package, "version": version, "archive": archive, "file": file, "sha256": sha256(content)}


def wheel(files: dict[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
    return packed.getvalue()


def sdist(files: dict[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    return packed.getvalue()


def manifest_of(folder: Path, *items: Asset) -> tuple[Path, Manifest]:
    """A manifest file that holds these assets and no models, and what it reads as."""
    assets = {each.name: each.model_dump(mode="json", exclude={"name"}, exclude_none=True) for each in items}
    path = folder / "manifest.yaml"
    path.write_text(yaml.safe_dump({"version": 1, "models": {}, "assets": assets}), encoding="utf-8")
    return path, load_manifest(path)
