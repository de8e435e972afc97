"""What `kubectl kustomize` makes of our folders: resources, images, JSON patches. What it does not know, it refuses."""

import copy
from pathlib import Path
from typing import Any

import yaml

Object = dict[str, Any]

_KNOWN = {"apiVersion", "kind", "resources", "images", "patches"}


def resolved(folder: Path) -> list[Object]:
    """All objects of a kustomization, patched."""
    kustomization = yaml.safe_load((folder / "kustomization.yaml").read_text(encoding="utf-8"))
    if unknown := set(kustomization) - _KNOWN:
        raise ValueError(f"{folder}: {sorted(unknown)} is more than these tests understand")
    objects: list[Object] = []
    for name in kustomization["resources"]:
        path = (folder / name).resolve()
        if path.is_dir():
            objects += resolved(path)
        else:
            objects += yaml.safe_load_all(path.read_text(encoding="utf-8"))
    for patch in kustomization.get("patches", ()):
        text = patch["patch"] if "patch" in patch else (folder / patch["path"]).read_text(encoding="utf-8")
        operations = yaml.safe_load(text)
        (chosen,) = (item for item in objects if _is(item, patch["target"]))
        objects[objects.index(chosen)] = patched(chosen, operations)
    for image in kustomization.get("images", ()):
        for item in objects:
            for container in item.get("spec", {}).get("template", {}).get("spec", {}).get("containers", ()):
                name, _, tag = container["image"].rpartition(":")
                if name == image["name"]:
                    container["image"] = f"{image.get('newName', name)}:{image.get('newTag', tag)}"
    return objects


def patched(document: Object, operations: list[Object]) -> Object:
    """A JSON patch (RFC 6902), as far as ours go."""
    document = copy.deepcopy(document)
    for operation in operations:
        parts = [part.replace("~1", "/").replace("~0", "~") for part in operation["path"].split("/")[1:]]
        place: Any = document
        for part in parts[:-1]:
            place = place[int(part) if isinstance(place, list) else part]
        last = int(parts[-1]) if isinstance(place, list) and parts[-1] != "-" else parts[-1]
        match operation["op"]:
            case "test":
                assert place[last] == operation["value"], operation
            case "replace":
                assert isinstance(place, list) or last in place, operation
                place[last] = operation["value"]
            case "add" if isinstance(place, dict):
                place[last] = operation["value"]
            case "add" if last == "-":
                place.append(operation["value"])
            case _:
                raise ValueError(f"{operation} is more than these tests understand")
    return document


def _is(item: Object, target: dict[str, str]) -> bool:
    group, _, version = item["apiVersion"].rpartition("/")
    found = {"group": group, "version": version, "kind": item["kind"], "name": item["metadata"]["name"]}
    return all(found[key] == value for key, value in target.items())
