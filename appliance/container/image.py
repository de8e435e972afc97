"""Builds, inspects and saves images; each step is skipped when its result is there already."""

import hashlib
import json
import logging
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from appliance import __version__
from appliance.container.context import Context
from appliance.container.engine import Engine
from appliance.digest import sha256_file
from appliance.errors import ApplianceError
from appliance.run import run

log = logging.getLogger(__name__)

REPOSITORY = "wlk-appliance"
INPUTS_LABEL = "org.wlk.inputs"


@dataclass(frozen=True, slots=True)
class Image:
    """An image that is present locally. ``size`` is unpacked, with its base, in bytes."""

    name: str
    image_id: str
    size: int
    labels: dict[str, str]
    layers: tuple[tuple[int, str], ...]
    """(bytes, the step that made it), the base first; steps without content left out."""


@dataclass(frozen=True, slots=True)
class Archive:
    """A saved image; ``sha256`` also stands in a file beside it, in the form `sha256sum --check` reads."""

    path: Path
    size: int
    sha256: str


def image_name(target: str, model: str) -> str:
    """Name and tag of an image: the same for the same version, target and model."""
    return f"{REPOSITORY}:{__version__}-{target}-{model}"


def short_name(target: str, model: str) -> str:
    """The tag without a version, for scripts at a site."""
    return f"{REPOSITORY}:{target}-{model}"


def build_image(engine: Engine, target_dir: Path, model: str, base: str, context: Context) -> tuple[Image, bool]:
    """Build unless an image with the same inputs is there; also returns whether it was built now.

    Raises:
        ApplianceError: a step failed; the build's own output says which.
    """
    target = target_dir.name
    name = image_name(target, model)
    inputs = hashlib.sha256(f"{context.inputs} {engine.image_id(base)} {model} {__version__}".encode()).hexdigest()
    present = inspect_image(engine, name)
    if present is not None and present.labels.get(INPUTS_LABEL) == inputs:
        log.info("image: %s is up to date", name)
        engine.run(["tag", name, short_name(target, model)])
        return present, False
    log.info("image: building %s", name)
    started = time.monotonic()
    words: list[str | Path] = ["build", "--network=none", "--file", target_dir / "Dockerfile"]
    if engine.kind == "podman":
        words += ["--format", "docker"]  # the OCI format has no health check
    for key, value in (("BASE", base), ("MODEL", model), ("INPUTS", inputs), ("VERSION", __version__)):
        words += ["--build-arg", f"{key}={value}"]
    words += ["--tag", name, "--tag", short_name(target, model), context.folder]
    engine.run(words, hint="the lines above say which step failed")
    built = require_image(engine, name)
    log.info("image: built in %.0f s", time.monotonic() - started)
    return built, True


def inspect_image(engine: Engine, name: str) -> Image | None:
    """What the engine knows about a local image, None when it isn't there."""
    done = engine.run(["image", "inspect", name], check=False, capture=True)
    if done.returncode != 0:
        return None
    found: dict[str, Any] = json.loads(done.stdout)[0]
    rows = engine.output(["history", "--no-trunc", "--human=false", "--format", "{{.Size}}\t{{.CreatedBy}}", name])
    layers = [(int(float(size)), step) for size, _, step in (row.partition("\t") for row in rows.splitlines())]
    return Image(
        name=name,
        image_id=str(found["Id"]),
        size=int(found["Size"]),
        labels=found["Config"].get("Labels") or {},
        layers=tuple((size, step) for size, step in reversed(layers) if size),
    )


def require_image(engine: Engine, name: str) -> Image:
    """As `inspect_image`; raises ApplianceError when the image isn't there."""
    found = inspect_image(engine, name)
    if found is None:
        raise ApplianceError(f"no image {name} here", "build it with `wlk-appliance image build`, or load an archive")
    return found


def save_image(engine: Engine, image: Image, target: str, model: str, dist: Path) -> tuple[Archive, bool]:
    """Save as a gzip-compressed archive unless this very image was saved; also returns whether it was saved now.

    Raises:
        ApplianceError: the archive can't be written.
    """
    path = dist / f"{REPOSITORY}-{__version__}-{target}-{model}.tar.gz"
    kept = _kept(path, image)
    if kept is not None:
        log.info("archive: %s is up to date", path)
        return kept, False
    started = time.monotonic()
    _make_writable(dist)
    plain = dist / f".{path.stem}.partial"
    packed = plain.with_name(plain.name + ".gz")
    try:
        engine.run(["save", "--output", plain, image.name, short_name(target, model)])
        # Without name and time in its header, the same image makes the same archive.
        run(["gzip", "--fast", "--no-name", "--force", plain])
        digest = sha256_file(packed)
        packed.chmod(0o644)
        packed.rename(path)
    finally:
        plain.unlink(missing_ok=True)
        packed.unlink(missing_ok=True)
    _beside(path, ".sha256").write_text(f"{digest}  {path.name}\n", encoding="utf-8")
    facts = {"image": image.name, "image_id": image.image_id, "unpacked_bytes": image.size, "sha256": digest}
    facts["bytes"] = path.stat().st_size
    _beside(path, ".json").write_text(json.dumps(facts, indent=2) + "\n", encoding="utf-8")
    log.info("archive: saved in %.0f s", time.monotonic() - started)
    return Archive(path, path.stat().st_size, digest), True


def _make_writable(dist: Path) -> None:
    try:
        dist.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ApplianceError(f"can't write to {dist}: {error.strerror}", "run it where you may write") from error
    if not os.access(dist, os.W_OK):
        raise ApplianceError(f"can't write to {dist}", "run it where you may write")


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def _kept(path: Path, image: Image) -> Archive | None:
    """An earlier archive of this very image, as its notes say, newer than none of them."""
    notes, digests = _beside(path, ".json"), _beside(path, ".sha256")
    if not all(file.is_file() for file in (path, notes, digests)):
        return None
    try:
        facts = json.loads(notes.read_text(encoding="utf-8"))
        digest = digests.read_text(encoding="utf-8").split()[0]
        told = (facts["image_id"], facts["sha256"], facts["bytes"])
    except (ValueError, LookupError, TypeError):  # a run that was stopped left them incomplete
        return None
    size = path.stat().st_size
    return Archive(path, size, digest) if told == (image.image_id, digest, size) else None
