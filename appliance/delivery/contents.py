"""The signed list of a bundle: what it is, and name, size and SHA-256 of every file in it but the list itself.

A line for each fact, words separated by one space, so that bash reads it as it stands::

    wlk-bundle 1
    version 0.1.0
    target cpu
    models base
    architecture amd64
    image sha256:8f0c...
    made 2026-11-22T06:40:00Z
    tag wlk-appliance:cpu-base
    archive image.tar.zst
    tar 3b1d... 1146186752
    layer 71659a9d... 512 118204416
    file 9e51... 420145152 image.tar.zst
    file ...
"""

import re
from dataclasses import dataclass
from pathlib import Path

from appliance.digest import sha256_file
from appliance.errors import ApplianceError

LIST_FILE, SIGNATURE_FILE = "CONTENTS", "CONTENTS.sig"
PLAIN_ARCHIVE = "image.tar"
"""Stands in for the compressed archive in a bundle that was put together from a delta."""

_FIRST = "wlk-bundle 1"
_DIGEST = "[0-9a-f]{64}"
_BYTES = "[0-9]{1,18}"
_WORD = r"[A-Za-z0-9_][A-Za-z0-9._+-]*"
_NAME = r"[A-Za-z0-9_][A-Za-z0-9._+@-]*"
_FACTS = {
    "version": r"[0-9]+(\.[0-9]+)*",
    "target": _WORD,
    "models": rf"{_WORD}( {_WORD})*",
    "architecture": "amd64|arm64",
    "image": f"sha256:{_DIGEST}",
    "made": "[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}Z",
    "archive": _WORD,
    "tar": f"{_DIGEST} {_BYTES}",
}
_LAYER = re.compile(rf"layer ({_DIGEST}) ({_BYTES}) ({_BYTES})")
_TAG = re.compile(r"tag ([a-z0-9][a-z0-9._/-]*:[A-Za-z0-9_][A-Za-z0-9._-]*)")
_FILE = re.compile(rf"file ({_DIGEST}) ({_BYTES}) ({_NAME}(?:/{_NAME})*)")


@dataclass(frozen=True, slots=True)
class Entry:
    """A file of a bundle. ``path``: below the bundle's folder, with forward slashes."""

    sha256: str
    size: int
    path: str


@dataclass(frozen=True, slots=True)
class LayerPlace:
    """Where a layer lies in the uncompressed archive: its bytes there are what ``sha256`` is of."""

    sha256: str
    offset: int
    size: int


@dataclass(frozen=True, slots=True)
class Contents:
    """What a bundle says of itself.

    ``image_id``: of the image that its archive loads as. ``made``: when, in UTC; a clock far behind is noticed by it.
    ``tar_sha256``, ``tar_size``: of that archive uncompressed.
    """

    version: str
    target: str
    models: tuple[str, ...]
    architecture: str
    image_id: str
    made: str
    tags: tuple[str, ...]
    archive: str
    tar_sha256: str
    tar_size: int
    layers: tuple[LayerPlace, ...]
    files: tuple[Entry, ...]

    def text(self) -> str:
        facts = {
            "version": self.version,
            "target": self.target,
            "models": " ".join(self.models),
            "architecture": self.architecture,
            "image": self.image_id,
            "made": self.made,
            "archive": self.archive,
            "tar": f"{self.tar_sha256} {self.tar_size}",
        }
        rows = [_FIRST, *(f"{key} {value}" for key, value in facts.items())]
        rows += [f"tag {tag}" for tag in self.tags]
        rows += [f"layer {layer.sha256} {layer.offset} {layer.size}" for layer in self.layers]
        rows += [f"file {entry.sha256} {entry.size} {entry.path}" for entry in self.files]
        return "\n".join(rows) + "\n"


def parse_contents(text: str) -> Contents:
    """Read a list, strictly: it is trusted only after its signature was checked, and even then to the letter.

    Raises:
        ApplianceError: naming the line that is not as it should be.
    """
    rows = text.split("\n")
    if rows[0] != _FIRST:
        raise _bad(1, rows[0], f"expected {_FIRST!r}: was it made by a newer version?")
    if rows.pop() != "":
        raise _bad(len(rows) + 1, "", "the last line is not complete")
    facts: dict[str, str] = {}
    tags: list[str] = []
    layers: list[LayerPlace] = []
    files: dict[str, Entry] = {}
    for number, row in enumerate(rows[1:], 2):
        key, _, rest = row.partition(" ")
        if found := _TAG.fullmatch(row):
            tags.append(found[1])
        elif found := _LAYER.fullmatch(row):
            layers.append(LayerPlace(found[1], int(found[2]), int(found[3])))
        elif found := _FILE.fullmatch(row):
            if found[3] in files:
                raise _bad(number, row, "a file is listed twice")
            files[found[3]] = Entry(found[1], int(found[2]), found[3])
        elif key in _FACTS and key not in facts and re.fullmatch(_FACTS[key], rest):
            facts[key] = rest
        else:
            raise _bad(number, row, "unknown, repeated or malformed")
    if missing := [key for key in _FACTS if key not in facts]:
        raise _bad(len(rows), "", f"it does not tell: {', '.join(missing)}")
    if facts["archive"] not in files:
        raise _bad(len(rows), "", f"it does not list its archive {facts['archive']}")
    tar_sha256, tar_size = facts["tar"].split()
    return Contents(
        version=facts["version"],
        target=facts["target"],
        models=tuple(facts["models"].split()),
        architecture=facts["architecture"],
        image_id=facts["image"],
        made=facts["made"],
        tags=tuple(tags),
        archive=facts["archive"],
        tar_sha256=tar_sha256,
        tar_size=int(tar_size),
        layers=tuple(layers),
        files=tuple(files.values()),
    )


def entries(folder: Path) -> tuple[Entry, ...]:
    """Every file below a folder but the list and its signature, by name.

    Raises:
        ApplianceError: a file's name can't stand in a list.
    """
    found = []
    for file in sorted(path for path in folder.rglob("*") if not path.is_dir()):
        path = file.relative_to(folder).as_posix()
        if path in (LIST_FILE, SIGNATURE_FILE):
            continue
        entry = Entry(sha256_file(file), file.stat().st_size, path)
        if not _FILE.fullmatch(f"file {entry.sha256} {entry.size} {path}"):
            raise ApplianceError(f"a file's name can't go into a bundle: {path!r}", "letters, digits and ._+@- only")
        found.append(entry)
    return tuple(found)


def _bad(number: int, row: str, what: str) -> ApplianceError:
    return ApplianceError(f"{LIST_FILE}, line {number}: {what}: {row[:100]!r}", "get the bundle again", code="bundle")
