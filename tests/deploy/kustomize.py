"""What `kubectl kustomize` makes of our folders: resources, components, images, JSON patches. It refuses the rest."""

import copy
from pathlib import Path
from typing import Any

import yaml

Object = dict[str, Any]

_KNOWN = {"apiVersion", "kind", "resources", "components", "images", "patches"}


def resolved(folder: Path) -> list[Object]:
    """All objects of a kustomization, patched."""
    kustomization = _read(folder, "Kustomization")
    objects: list[Object] = []
    for name in kustomization["resources"]:
        path = (folder / name).resolve()
        if path.is_dir():
            objects += resolved(path)
        else:
            objects += yaml.safe_load_all(path.read_text(encoding="utf-8"))
    for name in kustomization.get("components", ()):
        component = (folder / name).resolve()
        _change(objects, component, _read(component, "Component"))
    _change(objects, folder, kustomization)
    return objects


def _read(folder: Path, kind: str) -> Object:
    kustomization: Object = yaml.safe_load((folder / "kustomization.yaml").read_text(encoding="utf-8"))
    assert kustomization["kind"] == kind, folder
    if unknown := set(kustomization) - _KNOWN:
        raise ValueError(f"{folder}: {sorted(unknown)} is more than these tests understand")
    return kustomization


def _change(objects: list[Object], folder: Path, kustomization: Object) -> None:
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
