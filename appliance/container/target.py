"""Targets: each is a folder of ``images/`` that holds all there is to know about it.

``target.mk`` tells facts in lines that make and this module both read: ``NAME.key := value``.
"""

import platform
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from appliance.container.lock import Pin, read_lock
from appliance.container.sources import Source, read_sources
from appliance.errors import ApplianceError, UsageError

TARGETS = Path("images")
NO_DIARIZATION = "none"

_REQUIREMENTS, _WITH_DIARIZATION = "requirements.lock", "requirements-"
_BASE = re.compile(r"^ARG BASE=(\S+@sha256:[0-9a-f]{64})$", re.MULTILINE)
_EMULATORS = Path("/proc/sys/fs/binfmt_misc")

MACHINES = {"amd64": "x86_64", "arm64": "aarch64"}
"""Architectures, as container images name them, and as Python and the kernel do."""


@dataclass(frozen=True, slots=True)
class Target:
    """A target's facts, those of a variant where it is built with diarization.

    ``architectures``: as container images name them, the usual one first. ``python``: version of the base's, such as
    3.11. ``diarization``: what runs it, or ``none``. ``requirements``: the lock of what is installed. ``sdists``: pure
    Python packages that are published without a wheel. ``pins``: of all its locks. ``cuda``, ``torch``,
    ``ctranslate2``: versions, or ``none``. ``sources``: what is compiled in the build. ``size_mb``: expected with the
    model ``base``, unpacked. ``has_stand_in``: whether Debian's own system with its Python can stand in for the base,
    where no registry answers.
    """

    name: str
    folder: Path
    diarization: str
    base: str
    architectures: tuple[str, ...]
    python: str
    requirements: Path
    sdists: tuple[str, ...]
    pins: tuple[Pin, ...]
    cuda: str
    torch: str
    ctranslate2: str
    sources: tuple[Source, ...]
    size_mb: int
    has_stand_in: bool

    @property
    def dockerfile(self) -> Path:
        return self.folder / "Dockerfile"

    @property
    def locks(self) -> list[Path]:
        return _locks(self.folder, self.requirements)

    def architecture(self, wanted: str | None) -> str:
        """The one to build for: that of this host where the target has it.

        Raises:
            UsageError: the target has no such architecture.
        """
        here = host_architecture()
        chosen = wanted or (here if here in self.architectures else self.architectures[0])
        if chosen not in self.architectures:
            raise UsageError(f"{self.name} has no architecture {chosen!r}", f"one of: {', '.join(self.architectures)}")
        return chosen


def host_architecture() -> str:
    """Of this machine, as container images name it."""
    machine = platform.machine()
    return next((name for name, known in MACHINES.items() if known == machine), machine)


def can_run(architecture: str) -> bool:
    """Whether programs for it run on this machine: its own, or one that the kernel hands to an emulator."""
    return architecture == host_architecture() or (_EMULATORS / f"qemu-{MACHINES[architecture]}").exists()


def load_target(name: str, root: Path = TARGETS, diarization: str = NO_DIARIZATION) -> Target:
    """The target of that name; with diarization a variant of it, named after both, with a lock of its own.

    Raises:
        UsageError: there is none, or none with such diarization.
        ApplianceError: its folder lacks a fact.
    """
    folder = root / name
    if not (folder / "Dockerfile").is_file():
        raise UsageError(
            f"unknown target: {name!r} (no {folder}/Dockerfile)", f"one of: {', '.join(target_names(root))}"
        )
    facts = _facts(folder / "target.mk", name)
    architectures = tuple(_fact(facts, "architectures", folder).split())
    sources = read_sources(folder)
    compiled = {source.name: source.version for source in sources}
    requirements = _requirements(folder, diarization)
    pins = tuple(pin for lock in _locks(folder, requirements) for pin in read_lock(lock))
    return Target(
        name=name if diarization == NO_DIARIZATION else f"{name}-{diarization}",
        diarization=diarization,
        folder=folder,
        base=_pinned_base(folder / "Dockerfile"),
        architectures=architectures,
        python=_fact(facts, "python", folder),
        requirements=requirements,
        sdists=tuple(facts.get("sdists", "").split()),
        pins=pins,
        cuda=_fact(facts, "cuda", folder),
        torch=facts.get("torch") or _locked("torch", pins, architectures),
        ctranslate2=compiled.get("ctranslate2") or _locked("ctranslate2", pins, architectures),
        sources=sources,
        size_mb=int(_fact(facts, "size_mb", folder)),
        has_stand_in=facts.get("stand_in") == "debian",
    )


def target_names(root: Path = TARGETS) -> list[str]:
    return sorted(path.parent.name for path in root.glob("*/Dockerfile"))


def diarizations(folder: Path) -> list[str]:
    """What a target can be built with, `none` first."""
    found = sorted(lock.stem.removeprefix(_WITH_DIARIZATION) for lock in folder.glob(f"{_WITH_DIARIZATION}*.lock"))
    return [NO_DIARIZATION, *found]


def _requirements(folder: Path, diarization: str) -> Path:
    known = diarizations(folder)
    if diarization not in known:
        raise UsageError(f"{folder.name} has no diarization {diarization!r}", f"one of: {', '.join(known)}")
    return folder / (_REQUIREMENTS if diarization == NO_DIARIZATION else f"{_WITH_DIARIZATION}{diarization}.lock")


def _locks(folder: Path, requirements: Path) -> list[Path]:
    """All of a target's but those of what is installed, of which a build takes one."""
    others = [lock for lock in folder.glob("*.lock") if not lock.name.startswith("requirements")]
    return sorted([requirements, *others])


def _facts(file: Path, name: str) -> dict[str, str]:
    if not file.is_file():
        raise ApplianceError(f"no {file}", f"a target tells its facts there: {name}.python := 3.11")
    pattern = re.compile(rf"^{re.escape(name)}\.(\w+) *:= *(.*?) *$", re.MULTILINE)
    return dict(pattern.findall(file.read_text(encoding="utf-8")))


def _fact(facts: dict[str, str], key: str, folder: Path) -> str:
    if not facts.get(key):
        raise ApplianceError(f"{folder / 'target.mk'} does not tell {key}", f"add a line: {folder.name}.{key} := VALUE")
    return facts[key]


def _locked(name: str, pins: Sequence[Pin], architectures: Sequence[str]) -> str:
    """The version of a package, and those of other architectures where they differ."""
    found = {
        one: pin.version for one in architectures for pin in pins if pin.name == name and pin.is_for(MACHINES[one])
    }
    if not found:
        return "none"
    first = next(iter(found.values()))
    others = [f"{one}: {version}" for one, version in found.items() if version != first]
    return f"{first} ({', '.join(others)})" if others else first


def _pinned_base(dockerfile: Path) -> str:
    found = _BASE.search(dockerfile.read_text(encoding="utf-8"))
    if found is None:
        raise ApplianceError(f"{dockerfile} pins no base image", "it needs a line: ARG BASE=NAME@sha256:DIGEST")
    return found[1]
