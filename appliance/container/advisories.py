"""Known weaknesses of locked packages: asked of pip-audit where that is reached, or of a database that was saved.

The database is OSV's for the Python index, one zip of JSON records (https://ossf.github.io/osv-schema/), fetched where
there is internet and carried here. Whoever could ask nobody says so: no advisory found and nobody asked are two things.
"""

import json
import shutil
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from packaging.version import InvalidVersion, Version

from appliance.accounts.components import plain_name
from appliance.container.lock import Pin, read_lock
from appliance.errors import ApplianceError
from appliance.run import run

_ECOSYSTEM = "PyPI"
_ONLINE_S = 300.0
_SAVE = "fetch OSV's all.zip of PyPI where there is internet, and give it as --database"
_MOST_RECORD_BYTES = 10_000_000


@dataclass(frozen=True, slots=True)
class Advisory:
    """A weakness that a locked version has. ``fixed``: versions without it, as far as they are told."""

    package: str
    version: str
    name: str
    fixed: tuple[str, ...] = ()

    def __str__(self) -> str:
        told = f"; without it: {', '.join(self.fixed)}" if self.fixed else "; no version without it is known"
        return f"{self.package} {self.version}: {self.name}{told}"


def read_database(file: Path, wanted: Iterable[str]) -> dict[str, list[dict[str, Any]]]:
    """OSV's records by the plain names of the packages they are about; those of ``wanted`` packages only.

    Raises:
        ApplianceError: the file is no such database.
    """
    names = {plain_name(name) for name in wanted}
    found: dict[str, list[dict[str, Any]]] = {}
    count = 0
    try:
        with zipfile.ZipFile(file) as archive:
            for entry in archive.infolist():
                if not entry.filename.endswith(".json") or entry.file_size > _MOST_RECORD_BYTES:
                    continue
                record = json.loads(archive.read(entry))
                count += 1
                for name in {plain_name(one["package"]["name"]) for one in _affected(record)} & names:
                    found.setdefault(name, []).append(record)
    except (OSError, zipfile.BadZipFile, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ApplianceError(
            f"{file} is no database of advisories: {error}", "OSV's all.zip of PyPI is expected", code="advisories"
        ) from error
    if not count:
        raise ApplianceError(f"{file} holds no advisory", "OSV's all.zip of PyPI is expected", code="advisories")
    return found


def known(pins: Iterable[Pin], database: Mapping[str, list[dict[str, Any]]]) -> Iterator[Advisory]:
    """The advisories of a database that locked versions fall under."""
    for pin in pins:
        for record in database.get(plain_name(pin.name), ()):
            ours = [one for one in _affected(record) if plain_name(one["package"]["name"]) == plain_name(pin.name)]
            if any(_falls_under(pin.version, one) for one in ours):
                fixed = {event["fixed"] for one in ours for event in _events(one) if "fixed" in event}
                yield Advisory(pin.name, pin.version, record["id"], tuple(sorted(fixed, key=_key)))


def ask_online(lock: Path) -> tuple[list[Advisory], list[str]]:
    """What pip-audit, which asks the Python index, says of a lock; and the packages that nobody told it of.

    It counts those as sound.

    Raises:
        ApplianceError: it is not installed, or nobody answers it.
    """
    program = shutil.which("pip-audit")
    if program is None:
        raise ApplianceError("pip-audit is not installed", f"pipx install pip-audit; or {_SAVE}")
    words: list[str | Path] = [program, "--disable-pip", "--require-hashes", "--requirement", lock, "--format", "json"]
    done = run([*words, "--progress-spinner", "off"], check=False, capture=True, timeout_s=_ONLINE_S)
    try:
        found = json.loads(done.stdout)["dependencies"]
    except (ValueError, KeyError, TypeError) as error:
        said = (done.stderr.strip().splitlines() or [f"status {done.returncode}"])[-1]
        raise ApplianceError(f"no advisory database answers pip-audit: {said[:200]}", _SAVE) from error
    advisories = [
        Advisory(one["name"], one["version"], weak["id"], tuple(weak.get("fix_versions", ())))
        for one in found
        for weak in one.get("vulns", ())
    ]
    return advisories, [one["name"] for one in found if "skip_reason" in one]


def locks(root: Path) -> list[Path]:
    """All that pin what is installed here or in an image."""
    return [*sorted(root.glob("images/*/*.lock")), root / "requirements-dev.lock"]


def pins_of(files: Iterable[Path]) -> list[Pin]:
    """Each locked version once."""
    found = {(plain_name(pin.name), pin.version): pin for file in files for pin in read_lock(file)}
    return [found[key] for key in sorted(found)]


def _affected(record: Mapping[str, Any]) -> list[dict[str, Any]]:
    if record.get("withdrawn"):
        return []
    return [one for one in record.get("affected", ()) if one.get("package", {}).get("ecosystem") == _ECOSYSTEM]


def _events(affected: Mapping[str, Any]) -> list[dict[str, str]]:
    ranges = [one for one in affected.get("ranges", ()) if one.get("type") == "ECOSYSTEM"]
    return [event for one in ranges for event in one.get("events", ())]


def _falls_under(version: str, affected: Mapping[str, Any]) -> bool:
    """By the list of versions, or by ranges: from what introduced it up to what fixed it."""
    here = Version(Version(version).public)  # advisories know no local builds, such as torch's +cpu
    if any(_key(one) == here for one in affected.get("versions", ())):
        return True
    for one in affected.get("ranges", ()):
        if one.get("type") != "ECOSYSTEM":
            continue
        weak = False
        for event in sorted(one.get("events", ()), key=lambda event: _key(next(iter(event.values())))):
            if "introduced" in event:
                weak = weak or _key(event["introduced"]) <= here
            elif "fixed" in event:
                weak = weak and here < _key(event["fixed"])
            elif "last_affected" in event:
                weak = weak and here <= _key(event["last_affected"])
        if weak:
            return True
    return False


def _key(version: str) -> Version:
    """What is no version comes before all: "0" in ranges, and the odd ones of long ago."""
    try:
        return Version(version)
    except InvalidVersion:
        return Version("0.dev0")
