"""A software bill of materials in CycloneDX 1.6 JSON: https://cyclonedx.org/docs/1.6/json/."""

import json
from collections.abc import Sequence
from typing import Any

from appliance.accounts.components import Component

_TYPES = {"debian": "library", "python": "library", "model": "machine-learning-model", "recording": "data"}


def cyclonedx(name: str, version: str, components: Sequence[Component]) -> str:
    """The bill of an image, the same text for the same components: no serial number, no time."""
    made: dict[str, Any] = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "component": {
                "type": "container",
                "bom-ref": f"{name}@{version}",
                "name": name,
                "version": version,
                "licenses": [{"license": {"id": "Apache-2.0"}}],
            }
        },
        "components": [_component(one) for one in components],
    }
    return json.dumps(made, indent=1, ensure_ascii=False) + "\n"


def _component(one: Component) -> dict[str, Any]:
    made: dict[str, Any] = {
        "type": _TYPES[one.kind],
        "bom-ref": reference(one),
        "name": one.name,
        "version": one.version,
    }
    if one.kind in ("debian", "python"):
        made["purl"] = reference(one)
    if one.sha256:
        made["hashes"] = [_hash(one.sha256)]
    if one.licence:
        made["licenses"] = [{"expression": one.licence}] if one.has_spdx else [{"license": {"name": one.licence}}]
    if one.source:
        made["properties"] = [{"name": "wlk:source", "value": one.source}]
    if one.files:
        made["components"] = [
            {"type": "file", "bom-ref": path, "name": path, "hashes": [_hash(digest)]} for path, digest in one.files
        ]
    return made


def reference(one: Component) -> str:
    """Package URL of a package; for anything else its kind, name and version."""
    if one.kind == "debian":
        version = one.version.replace(":", "%3A").replace("+", "%2B")
        return f"pkg:deb/debian/{one.name.replace('+', '%2B')}@{version}?arch={one.architecture}"
    if one.kind == "python":
        return f"pkg:pypi/{one.name}@{one.version.replace('+', '%2B')}"
    return f"{one.kind}/{one.name}@{one.version}"


def _hash(sha256: str) -> dict[str, str]:
    return {"alg": "SHA-256", "content": sha256}
