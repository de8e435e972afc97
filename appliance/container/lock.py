"""Lock files: requirements with the digests that their files may have."""

import re
from dataclasses import dataclass
from pathlib import Path

from appliance.errors import ApplianceError

_REQUIREMENT = re.compile(r"^(?P<name>[A-Za-z0-9_.-]+)==(?P<version>[^\s;]+)")
_MACHINE = re.compile(r"""; *platform_machine (==|!=) ["'](\w+)["']""")
_HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")


@dataclass(frozen=True, slots=True)
class Pin:
    """One locked requirement and the SHA-256 digests any of its files may have.

    ``marker``: for which machines it is, such as ``("==", "aarch64")``; None for all.
    """

    name: str
    version: str
    hashes: frozenset[str]
    marker: tuple[str, str] | None = None

    def is_for(self, machine: str) -> bool:
        """Whether such a machine (``x86_64``, ``aarch64``) installs it."""
        if self.marker is None:
            return True
        relation, named = self.marker
        return (machine == named) is (relation == "==")

    def as_requirement(self) -> str:
        return " ".join(
            [f"{self.name}=={self.version}", *(f"--hash=sha256:{digest}" for digest in sorted(self.hashes))]
        )


def read_lock(lock: Path) -> list[Pin]:
    """The pins of a requirements file.

    Raises:
        ApplianceError: a requirement has no hash.
    """
    text = lock.read_text(encoding="utf-8").replace("\\\n", " ")
    pins: list[Pin] = []
    for line in text.splitlines():
        found = _REQUIREMENT.match(line)
        if found is None:
            continue
        hashes = frozenset(_HASH.findall(line))
        if not hashes:
            raise ApplianceError(f"{lock}: {found['name']} has no hash", "regenerate the lock: make lock")
        marker = _MACHINE.search(line)
        pins.append(Pin(found["name"], found["version"], hashes, (marker[1], marker[2]) if marker else None))
    return pins
