"""Builds the image of a target: fetched inputs, a staged context, a build without network, a reproducible result."""

import hashlib
import logging
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from appliance import __version__
from appliance.container.commit import EARLIEST_S, Commit, given_epoch, source_commit
from appliance.container.context import Context
from appliance.container.engine import Engine, LocalImage
from appliance.container.reproducible import rewrite
from appliance.container.sources import SourceArchive
from appliance.container.target import Target
from appliance.digest import sha256_file
from appliance.errors import ApplianceError

log = logging.getLogger(__name__)

REPOSITORY = "wlk-appliance"
INPUTS_LABEL = "org.wlk.inputs"

_BETWEEN_MODELS = "_"


@dataclass(frozen=True, slots=True)
class Names:
    """What an image and its archive are called: the same for the same version, target and models.

    ``architecture``: only where it is not the target's usual one; files tell it, names of images do not.
    """

    target: str
    models: tuple[str, ...]
    architecture: str = ""

    @classmethod
    def of(cls, target: Target, models: Iterable[str], architecture: str) -> Self:
        return cls(target.name, tuple(models), "" if architecture == target.architectures[0] else architecture)

    @property
    def variant(self) -> str:
        return f"{self.target}-{_BETWEEN_MODELS.join(self.models)}"

    @property
    def full(self) -> str:
        """Name and tag."""
        return f"{REPOSITORY}:{__version__}-{self.variant}"

    @property
    def short(self) -> str:
        """The tag without a version, for scripts at a site."""
        return f"{REPOSITORY}:{self.variant}"

    @property
    def file(self) -> str:
        """Of archives and kits, without a suffix."""
        return "-".join(filter(None, (REPOSITORY, __version__, self.variant, self.architecture)))

    @property
    def bundle(self) -> str:
        """Of what is carried to a site, without a suffix."""
        return "-".join(filter(None, ("wlk", self.variant, __version__, self.architecture)))


def build_record(
    target: Target,
    architecture: str,
    models: Sequence[str],
    base: LocalImage,
    sources: Sequence[SourceArchive],
    commit: Commit,
) -> dict[str, object]:
    """What an image says about its build: nothing that differs between two builds of the same commit.

    Args:
        sources: what the build compiles.
    """
    return {
        "version": __version__,
        "commit": commit.name,
        "target": target.name,
        "architecture": architecture,
        "models": list(models),
        "diarization": target.diarization,
        "base": {"name": base.name, "layers": list(base.layers)},
        "sources": {
            one.source.name: {
                "version": one.source.version,
                "commit": one.source.commit,
                "address": one.source.address,
                "archive": f"sha256:{one.sha256}",
            }
            for one in sources
        },
        "locks": {lock.name: f"sha256:{sha256_file(lock)}" for lock in target.locks},
        "tools": {pin.name: pin.version for pin in target.pins if pin.name in ("pip", "setuptools", "wheel")},
    }


@dataclass(frozen=True, slots=True)
class Times:
    """In seconds since 1970: the latest that a file may tell, and when the image says it was made."""

    files_s: int
    created_s: int


def image_times() -> Times:
    """The same for the same commit; files tell none at all, so that layers outlive commits, unless one is given."""
    epoch = given_epoch()
    return Times(EARLIEST_S, source_commit().time_s) if epoch is None else Times(epoch, epoch)


def build_arguments(names: Names, base: LocalImage, context: Context, times: Times) -> dict[str, str]:
    """What the Dockerfile is told. ``INPUTS`` is a digest over all that the image depends on."""
    told = [context.inputs, *base.layers, *names.models, __version__, str(times.files_s), str(times.created_s)]
    return {
        "BASE": base.name,
        "MODEL": names.models[0],
        "MODELS": " ".join(names.models),
        "INPUTS": hashlib.sha256(" ".join(told).encode()).hexdigest(),
        "VERSION": __version__,
    }


def build_image(
    engine: Engine, names: Names, base: LocalImage, context: Context, folder: Path, *, use_cache: bool = True
) -> tuple[LocalImage, bool]:
    """Build unless an image of the same inputs is there; also returns whether it was built now.

    Without ``use_cache`` it is built in any case, from its first step on.

    The image gets its names once it is complete, and is what the archive in ``folder`` holds, bit for bit.

    Raises:
        ApplianceError: a step failed; the build's own output says which.
    """
    times = image_times()
    arguments = build_arguments(names, base, context, times)
    inputs = arguments["INPUTS"]
    archive = image_archive(names, folder)
    present = engine.describe(names.full)
    if use_cache and present is not None and present.labels.get(INPUTS_LABEL) == inputs and archive.is_file():
        log.info("image: %s is up to date", names.full)
        engine.tag(names.full, names.short)
        return present, False
    log.info("image: building %s with %s", names.full, engine.kind)
    started = time.monotonic()
    unfinished = f"{REPOSITORY}-unfinished:{inputs[:12]}"
    folder.mkdir(parents=True, exist_ok=True)
    raw, partial = archive.with_suffix(".raw"), archive.with_suffix(".partial")
    try:
        hint = "the lines above say which step failed"
        engine.build(
            context.folder, unfinished, arguments, architecture=base.architecture, use_cache=use_cache, hint=hint
        )
        built_s = time.monotonic() - started
        engine.save(unfinished, raw)
        image_id = rewrite(
            raw,
            partial,
            tags=(names.full, names.short),
            base_layers=_base_layers(engine, unfinished, base),
            file_time_s=times.files_s,
            created_s=times.created_s,
        )
        raw.unlink()
        engine.load(partial)
        partial.rename(archive)
    except OSError as error:
        raise ApplianceError(f"can't write {archive}: {error.strerror}", "is there room on the disk? df -h") from error
    finally:
        engine.forget(unfinished)
        for file in (raw, partial):
            file.unlink(missing_ok=True)
    made = require_image(engine, names.full)
    if made.image_id != image_id:
        raise ApplianceError(
            f"{engine.program} loaded {names.full} as {made.image_id}, not as {image_id}", "is its disk full? df -h"
        )
    log.info("image: built in %.0f s, packed and loaded in %.0f s", built_s, time.monotonic() - started - built_s)
    return made, True


def image_archive(names: Names, folder: Path) -> Path:
    """Where the archive of an image that was built here is kept, uncompressed."""
    return folder / f"{names.file}.tar"


def require_archive(names: Names, folder: Path) -> Path:
    """The archive of an image that was built here.

    Raises:
        ApplianceError: it isn't there.
    """
    archive = image_archive(names, folder)
    if not archive.is_file():
        raise ApplianceError(f"{names.full} was not built here: no {archive}", "build it: wlk-appliance image build")
    return archive


def require_image(engine: Engine, name: str) -> LocalImage:
    """What the engine knows about a local image.

    Raises:
        ApplianceError: it isn't there.
    """
    found = engine.describe(name)
    if found is None:
        raise ApplianceError(f"no image {name} here", "build it with `wlk-appliance image build`, or load an archive")
    return found


def _base_layers(engine: Engine, name: str, base: LocalImage) -> int:
    built = require_image(engine, name)
    count = len(base.layers)
    if built.layers[:count] != base.layers:
        raise ApplianceError(f"{name} does not begin with the layers of {base.name}", "build again without old caches")
    return count
