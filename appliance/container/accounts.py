"""What an image says of itself, read from its archive: printed, or compared with another's."""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from appliance.accounts.components import LICENCES
from appliance.container.archive import ArchivedImage, read_archive
from appliance.errors import ApplianceError

_FOLDER = "opt/wlk/accounts"
_LIBRARIES = "opt/wlk/lib"
_LICENCE = re.compile(
    rf"{_LIBRARIES}/[^/]+\.dist-info/(?:licenses/(?!.*\.pyc).+|[^/]*(?:LICEN[CS]E|COPYING|NOTICE)[^/]*)"
    rf"|usr/share/doc/[^/]+/copyright|models/{LICENCES}/[^/]+",
    re.IGNORECASE,
)
_WORTH_BYTES = 100_000


def is_account(name: str) -> bool:
    """Whether a file of the image, by path without a leading slash, tells what the image is."""
    is_pair = re.fullmatch(r"models/[^/]+/pair\.json", name) is not None
    return name.startswith(f"{_FOLDER}/") or is_pair or _LICENCE.fullmatch(name) is not None


def place(name: str) -> Path:
    """Where such a file goes in the folder beside an archive."""
    path = PurePosixPath(name)
    if name.startswith(f"{_FOLDER}/"):
        return Path(*path.parts[3:])
    if path.name == "pair.json":
        return Path(f"pair-{path.parts[1]}.json")
    if path.parts[:2] == ("models", LICENCES):
        return Path("licences/models", path.name)
    if path.parts[0] == "usr":
        return Path("licences/debian", path.parts[3], path.name)
    distribution = path.parts[3].removesuffix(".dist-info")
    return Path("licences/python", distribution, *path.parts[4:])


@dataclass(frozen=True, slots=True)
class Accounts:
    """Of one archive. ``record``: how it was built. ``components``: CycloneDX components by kind and name."""

    path: Path
    image: ArchivedImage
    record: dict[str, Any]
    components: dict[tuple[str, str], dict[str, Any]]


def read_accounts(path: Path) -> Accounts:
    """Read an archive of one of our images.

    Raises:
        ApplianceError: it is none.
    """
    image = read_archive(path, is_account)
    try:
        record = json.loads(image.files[f"{_FOLDER}/build.json"])
        bill = json.loads(image.files[f"{_FOLDER}/sbom.cdx.json"])
        components = {(_kind(one), one["name"]): one for one in bill["components"]}
    except (KeyError, ValueError, TypeError) as error:
        raise ApplianceError(
            f"{path} holds an image that does not tell what it is made of", "is it one of the appliance's?"
        ) from error
    return Accounts(path, image, record, components)


def _kind(component: Mapping[str, Any]) -> str:
    purl = str(component.get("purl", ""))
    if purl.startswith("pkg:deb/"):
        return "Debian package"
    if purl.startswith("pkg:pypi/"):
        return "Python package"
    return "recording" if component["type"] == "data" else "model"


def shown(accounts: Accounts) -> Iterator[str]:
    """Lines for people: names, build, layers, and every component with its version and licence."""
    image, record = accounts.image, accounts.record
    yield f"{', '.join(image.tags)}  {megabytes(image.size)}  {image.image_id}"
    yield f"  version {record['version']}, commit {record['commit']}, for {record['target']} ({record['architecture']})"
    yield f"  base {record['base']['name']}"
    yield "layers"
    yield from layer_lines(image)
    for kind in ("model", "recording", "Python package", "Debian package"):
        found = [one for (of, _), one in sorted(accounts.components.items()) if of == kind]
        yield f"{kind}s: {len(found)}"
        for one in found:
            source = "".join(f"  {row['value']}" for row in one.get("properties", ()))
            digest = "".join(f"  sha256:{row['content']}" for row in one.get("hashes", ()))
            yield f"  {one['name']} {one['version']}  {licence_of(one)}{source}{digest}".rstrip()


def layer_lines(image: ArchivedImage) -> Iterator[str]:
    for layer in image.layers:
        if layer.size >= _WORTH_BYTES:
            yield f"  {megabytes(layer.size):>10}  {layer.diff_id[7:19]}  {_step(layer.step)}"


def differences(one: Accounts, two: Accounts) -> Iterator[str]:
    """Lines for people: what the second has more, less or otherwise; none where both are the same image."""
    if one.image.image_id == two.image.image_id:
        return
    yield f"{megabytes(one.image.size)} -> {megabytes(two.image.size)}"
    for key in sorted({*one.record, *two.record}):
        before, after = one.record.get(key), two.record.get(key)
        if before != after:
            yield f"build: {key}: {_brief(before)} -> {_brief(after)}"
    for kind, name in sorted({*one.components, *two.components}):
        before, after = one.components.get((kind, name)), two.components.get((kind, name))
        if before is None and after is not None:
            yield f"+ {kind} {name} {after['version']}"
        elif after is None and before is not None:
            yield f"- {kind} {name} {before['version']}"
        elif before is not None and after is not None and before != after:
            yield f"~ {kind} {name} {before['version']} -> {after['version']}"
    known = {layer.diff_id for layer in one.image.layers}
    fresh = [layer for layer in two.image.layers if layer.diff_id not in known]
    shared = sum(layer.size for layer in two.image.layers) - sum(layer.size for layer in fresh)
    yield f"layers: {megabytes(shared)} of {len(two.image.layers) - len(fresh)} the same"
    for layer in fresh:
        yield f"+ layer {megabytes(layer.size):>10}  {layer.diff_id[7:19]}  {_step(layer.step)}"


def licence_of(component: Mapping[str, Any]) -> str:
    """Licences as the component tells them, empty where it tells none."""
    told = component.get("licenses", ())
    return ", ".join(row.get("expression") or row["license"].get("id") or row["license"]["name"] for row in told)


def megabytes(size: int) -> str:
    return f"{size / 1e6:.1f} MB"


def _brief(value: object) -> str:
    text = json.dumps(value) if isinstance(value, (dict, list)) else str(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _step(created_by: str) -> str:
    return " ".join(created_by.replace("# buildkit", "").removeprefix("/bin/sh -c #(nop) ").split())[:90]
