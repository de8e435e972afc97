"""What an image is made of, as it says itself: Debian packages, Python distributions, models."""

import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import Distribution, distributions
from pathlib import Path
from typing import Any, Literal

from appliance.digest import sha256_file

Kind = Literal["debian", "python", "model", "recording"]

ASSETS_FILE = "assets.json"
"""Beside the models: what the manifest says of the files that belong to no pair."""

LICENCES = "licences"
"""Beside the models: the texts of their licences."""

_LONGEST_LICENCE = 100
_FIELD = re.compile(r"^([A-Za-z-]+): ?(.*)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Component:
    """One thing in an image.

    ``licence``: an SPDX expression where ``has_spdx``, else a name, or empty where none is told. ``sha256``: of the
    file it came from, where that is a single one. ``source``: where that was had. ``files``: path and SHA-256 of each
    file it consists of.
    """

    kind: Kind
    name: str
    version: str
    licence: str = ""
    has_spdx: bool = False
    sha256: str = ""
    source: str = ""
    architecture: str = ""
    files: tuple[tuple[str, str], ...] = ()


def debian_packages(root: Path = Path("/")) -> Iterator[Component]:
    """The installed packages of dpkg's status file, by name; none where there is no dpkg.

    Their licence texts are in ``/usr/share/doc/NAME/copyright``.
    """
    status = root / "var/lib/dpkg/status"
    if not status.is_file():
        return
    for paragraph in status.read_text(encoding="utf-8", errors="replace").split("\n\n"):
        fields = dict(_FIELD.findall(paragraph))
        if fields.get("Status", "").endswith(" installed"):
            yield Component("debian", fields["Package"], fields["Version"], architecture=fields["Architecture"])


def python_distributions(folders: Sequence[Path], compiled: Path | None = None) -> list[Component]:
    """The distributions installed in folders, sorted by name; of one that is in several, that of the first.

    Args:
        compiled: a folder of wheels that were made in the build: their SHA-256 is told.
    """
    wheels = sorted(compiled.glob("*.whl")) if compiled else []
    made = {plain_name(wheel.name.partition("-")[0]): sha256_file(wheel) for wheel in wheels}
    found: dict[str, Component] = {}
    for one in distributions(path=list(map(str, folders))):
        name = plain_name(one.metadata["Name"])
        digest = made.get(name, "")
        source = "compiled in the build" if digest else ""
        found.setdefault(name, Component("python", name, one.version, *_licence(one), sha256=digest, source=source))
    return [found[name] for name in sorted(found)]


def models(models_dir: Path) -> Iterator[Component]:
    """The pairs of a folder by their ``pair.json``, and the files that ``assets.json`` tells of."""
    for record in sorted(models_dir.glob("*/pair.json")):
        pair: dict[str, Any] = json.loads(record.read_text(encoding="utf-8"))
        yield Component(
            "model",
            f"whisper-{pair['name']}",
            pair["source"]["sha256"][:12],
            *_spdx(pair["licence"]),
            sha256=pair["source"]["sha256"],
            source=f"{pair['source']['kind']}: {pair['source']['describe']}",
            files=tuple((f"{record.parent}/{file['path']}", file["sha256"]) for file in pair["files"]),
        )
    assets = models_dir / ASSETS_FILE
    if assets.is_file():
        for asset in json.loads(assets.read_text(encoding="utf-8")):
            yield Component(
                asset["kind"],
                asset["name"],
                asset["sha256"][:12],
                *_spdx(asset["licence"]),
                sha256=asset["sha256"],
                source=asset["source"],
                files=((f"{models_dir}/{asset['file']}", asset["sha256"]),),
            )


def plain_name(name: str) -> str:
    """A distribution's name as indexes compare it (PEP 503)."""
    return re.sub(r"[-_.]+", "-", name).lower()


def _licence(one: Distribution) -> tuple[str, bool]:
    metadata = one.metadata.json
    if expression := metadata.get("license_expression"):
        return str(expression), True
    told = str(metadata.get("license", "")).strip()
    if told and "\n" not in told and len(told) <= _LONGEST_LICENCE:
        return told, False
    names = [
        row.rpartition(" :: ")[2] for row in one.metadata.get_all("Classifier") or () if row.startswith("License ::")
    ]
    return ", ".join(names), False


def _spdx(licence: str) -> tuple[str, bool]:
    """Names of licences in the manifest are SPDX identifiers where they are one word."""
    return licence, " " not in licence
