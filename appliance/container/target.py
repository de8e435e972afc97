"""Targets: each is a folder of ``images/`` that holds all there is to know about it.

``target.mk`` tells facts in lines that make and this module both read: ``NAME.key := value``.
"""

import platform
import re
from dataclasses import dataclass
from pathlib import Path

from appliance.container.lock import Pin, read_lock
from appliance.errors import ApplianceError, UsageError

TARGETS = Path("images")

_BASE = re.compile(r"^ARG BASE=(\S+@sha256:[0-9a-f]{64})$", re.MULTILINE)
_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "arm64": "arm64", "amd64": "amd64"}


@dataclass(frozen=True, slots=True)
class Target:
    """A target's facts.

    ``architectures``: as container images name them, the usual one first. ``python``: version of the base's, such as
    3.11. ``cuda``, ``torch``, ``ctranslate2``: versions, or ``none``. ``from_source``: what is compiled in the build.
    ``size_mb``: expected with the model ``base``, unpacked. ``has_stand_in``: whether Debian's own system with its
    Python can stand in for the base, where no registry answers.
    """

    name: str
    folder: Path
    base: str
    architectures: tuple[str, ...]
    python: str
    cuda: str
    torch: str
    ctranslate2: str
    from_source: tuple[str, ...]
    size_mb: int
    has_stand_in: bool

    @property
    def dockerfile(self) -> Path:
        return self.folder / "Dockerfile"

    @property
    def locks(self) -> list[Path]:
        return sorted(self.folder.glob("*.lock"))

    @property
    def pins(self) -> list[Pin]:
        return [pin for lock in self.locks for pin in read_lock(lock)]

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
    return _ARCHITECTURES.get(machine, machine)


def load_target(name: str, root: Path = TARGETS) -> Target:
    """The target of that name.

    Raises:
        UsageError: there is none.
        ApplianceError: its folder lacks a fact.
    """
    folder = root / name
    if not (folder / "Dockerfile").is_file():
        raise UsageError(
            f"unknown target: {name!r} (no {folder}/Dockerfile)", f"one of: {', '.join(target_names(root))}"
        )
    facts = _facts(folder / "target.mk", name)
    versions = {pin.name: pin.version for lock in sorted(folder.glob("*.lock")) for pin in read_lock(lock)}
    return Target(
        name=name,
        folder=folder,
        base=_pinned_base(folder / "Dockerfile"),
        architectures=tuple(_fact(facts, "architectures", folder).split()),
        python=_fact(facts, "python", folder),
        cuda=_fact(facts, "cuda", folder),
        torch=facts.get("torch") or versions.get("torch", "none"),
        ctranslate2=facts.get("ctranslate2") or versions.get("ctranslate2", "none"),
        from_source=tuple(facts.get("from_source", "").split()),
        size_mb=int(_fact(facts, "size_mb", folder)),
        has_stand_in=facts.get("stand_in") == "debian",
    )


def target_names(root: Path = TARGETS) -> list[str]:
    return sorted(path.parent.name for path in root.glob("*/Dockerfile"))


def _facts(file: Path, name: str) -> dict[str, str]:
    if not file.is_file():
        raise ApplianceError(f"no {file}", f"a target tells its facts there: {name}.python := 3.11")
    pattern = re.compile(rf"^{re.escape(name)}\.(\w+) *:= *(.*?) *$", re.MULTILINE)
    return dict(pattern.findall(file.read_text(encoding="utf-8")))


def _fact(facts: dict[str, str], key: str, folder: Path) -> str:
    if not facts.get(key):
        raise ApplianceError(f"{folder / 'target.mk'} does not tell {key}", f"add a line: {folder.name}.{key} := VALUE")
    return facts[key]


def _pinned_base(dockerfile: Path) -> str:
    found = _BASE.search(dockerfile.read_text(encoding="utf-8"))
    if found is None:
        raise ApplianceError(f"{dockerfile} pins no base image", "it needs a line: ARG BASE=NAME@sha256:DIGEST")
    return found[1]
