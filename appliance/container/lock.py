"""Lock files: requirements with the digests that their files may have."""

import re
from dataclasses import dataclass
from pathlib import Path

from appliance.errors import ApplianceError

_REQUIREMENT = re.compile(r"^(?P<name>[A-Za-z0-9_.-]+)==(?P<version>[^\s;]+)")
_HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")


@dataclass(frozen=True, slots=True)
class Pin:
    """One locked requirement and the SHA-256 digests any of its files may have."""

    name: str
    version: str
    hashes: frozenset[str]

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
        pins.append(Pin(found["name"], found["version"], hashes))
    return pins
