"""Reading the manifest: YAML to checked objects, or one error that says what is wrong and where."""

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from appliance.errors import ApplianceError
from appliance.manifest.items import Manifest

DEFAULT_MANIFEST = Path("models/manifest.yaml")

_GROUPS = ("models", "tokenizers", "assets", "translators", "recordings")
_SOURCE_KINDS = ("openai", "huggingface", "index", "local")
_NAME = re.compile(r"[a-z0-9]([a-z0-9._-]*[a-z0-9])?")
_MOST_PROBLEMS_SHOWN = 5
_LONGEST_SHOWN = 80
_DEEPEST, _NUMBER_BITS = 50, 63


@dataclass(frozen=True, slots=True)
class Problem:
    """One fault: the keys that lead to it, the value found there, and what was expected."""

    keys: tuple[str | int, ...]
    value: str
    expected: str

    def __str__(self) -> str:
        where = "".join(_step(key, first=index == 0) for index, key in enumerate(self.keys))
        found = f" is {self.value}" if self.value else ""
        return f"{where or 'the file'}{found}: {self.expected}"


def load_manifest(path: Path = DEFAULT_MANIFEST) -> Manifest:
    """Read and check a manifest; relative paths of `local` sources start at its folder.

    Raises:
        ApplianceError: the file is missing, is not YAML, or has a fault; every fault is named by its path.
    """
    raw = _read_yaml(path)
    problems = list(_name_problems(raw))
    if problems:
        raise _as_error(path, problems)
    try:
        manifest = Manifest.model_validate(_with_names(raw), context={"folder": path.parent})
    except ValidationError as error:
        raise _as_error(path, _innermost([_problem(detail, raw) for detail in error.errors()])) from error
    problems = list(_reference_problems(manifest))
    if problems:
        raise _as_error(path, problems)
    return manifest


def _innermost(problems: Sequence[Problem]) -> list[Problem]:
    """Without those that only follow from another: pydantic calls a list whose entries all fail too short."""
    paths = {problem.keys[:length] for problem in problems for length in range(len(problem.keys))}
    return [problem for problem in problems if problem.keys not in paths]


def _as_error(path: Path, problems: Sequence[Problem]) -> ApplianceError:
    shown = [f"{path}: {problem}" for problem in problems[:_MOST_PROBLEMS_SHOWN]]
    if len(problems) > len(shown):
        shown.append(f"{path}: and {len(problems) - len(shown)} more")
    return ApplianceError("\n".join(shown), f"correct {path}; its first lines explain the keys", code="bad_manifest")


class _Loader(yaml.SafeLoader):
    """Safe YAML that refuses a key given twice (plain PyYAML keeps the last one without a word).

    And aliases, by which a few lines are billions of entries; and what is deeper, or a larger number, than any here.
    """

    _depth = 0

    def compose_node(self, parent: yaml.Node | None, index: Any) -> yaml.Node | None:
        event: Any = self.peek_event()  # type: ignore[no-untyped-call]
        is_alias, mark = isinstance(event, yaml.AliasEvent), event.start_mark
        if is_alias:
            raise yaml.composer.ComposerError(None, None, "aliases (*name) are not taken", mark)
        if self._depth == _DEEPEST:
            raise yaml.composer.ComposerError(None, None, f"it is deeper than {_DEEPEST}", mark)
        self._depth += 1
        node: yaml.Node | None = super().compose_node(parent, index)
        self._depth -= 1
        return node

    def construct_yaml_int(self, node: yaml.ScalarNode) -> int:
        value = int(super().construct_yaml_int(node))
        if value.bit_length() > _NUMBER_BITS:
            raise yaml.constructor.ConstructorError(None, None, "a number of too many digits", node.start_mark)
        return value

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[object] = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if isinstance(key, list | dict):
                break  # the parent class has the right words for this
            if key in seen:
                raise yaml.constructor.ConstructorError(None, None, f"{key!r} is given twice", key_node.start_mark)
            seen.add(key)
        return super().construct_mapping(node, deep)


_Loader.add_constructor("tag:yaml.org,2002:int", _Loader.construct_yaml_int)


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError as error:
        raise ApplianceError(
            f"no manifest at {path}",
            "run this in the repository's folder, or give --manifest FILE",
            code="bad_manifest",
        ) from error
    except (OSError, UnicodeDecodeError) as error:
        raise ApplianceError(
            f"cannot read the manifest {path}: {error}", "give a text file in UTF-8", code="bad_manifest"
        ) from error
    try:
        raw = yaml.load(text, Loader=_Loader)
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = f", line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        raise ApplianceError(
            f"{path}{line}: not valid YAML: {error.problem or error.context}",
            "often a wrong indentation, a missing colon or an open quote on that line or the one above",
            code="bad_manifest",
        ) from error
    except (yaml.YAMLError, ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        # PyYAML takes the contents of its types as it finds them: dates that are none, numbers without digits.
        raise ApplianceError(
            f"{path}: not valid YAML: {type(error).__name__}: {str(error)[:_LONGEST_SHOWN]!r}",
            "it is texts and numbers in lists and mappings; no other types",
            code="bad_manifest",
        ) from error
    if not isinstance(raw, dict):
        raise _as_error(path, [Problem((), _shown(raw), "expected the keys version, " + ", ".join(_GROUPS))])
    return raw


def _name_problems(raw: Mapping[str, Any]) -> Iterator[Problem]:
    for group in _GROUPS:
        items = raw.get(group, {})
        if not isinstance(items, dict):
            yield Problem((group,), _shown(items), "expected a mapping of names to entries")
            continue
        for name, body in items.items():
            if not isinstance(name, str) or not _NAME.fullmatch(name):
                yield Problem((group,), _shown(name), "expected a name of lower-case letters, digits, '.', '_' and '-'")
            elif not isinstance(body, dict):
                yield Problem((group, name), _shown(body), "expected a mapping with licence, sources, ...")
            elif "name" in body:
                yield Problem(
                    (group, name, "name"), _shown(body["name"]), "unknown key; the name stands before the entry"
                )


def _with_names(raw: Mapping[str, Any]) -> dict[str, Any]:
    groups = {
        group: {name: {**body, "name": name} for name, body in raw[group].items()} for group in _GROUPS if group in raw
    }
    return {**raw, **groups}


def _reference_problems(manifest: Manifest) -> Iterator[Problem]:
    taken: dict[str, str] = {}
    for group in _GROUPS:
        for item in getattr(manifest, group).values():
            for position, name in enumerate((item.name, *item.aliases)):
                keys = (group, item.name) if position == 0 else (group, item.name, "aliases", position - 1)
                if name in taken:
                    yield Problem(keys, repr(name), f"this name is taken by {taken[name]}")
                taken[name] = f"{group}.{item.name}"
    for model in manifest.models.values():
        if model.tokenizer not in manifest.tokenizers:
            yield Problem(
                ("models", model.name, "tokenizer"),
                repr(model.tokenizer),
                f"no such tokenizer; known: {', '.join(manifest.tokenizers) or 'none'}",
            )


def _problem(detail: Any, raw: Mapping[str, Any]) -> Problem:
    """Translate one pydantic error: its location without union tags, and words a user can act on."""
    keys: list[str | int] = []
    value: Any = raw
    found = True
    for key in detail["loc"]:
        if isinstance(value, dict) and key not in value and keys and isinstance(keys[-1], int) and key in _SOURCE_KINDS:
            continue  # pydantic puts the chosen member of a union into the location
        keys.append(key)
        if (isinstance(value, dict) and key in value) or (
            isinstance(value, list) and isinstance(key, int) and key < len(value)
        ):
            value = value[key]
        else:
            found = False
    if detail["type"] in ("union_tag_invalid", "union_tag_not_found"):
        keys.append("kind")
        value = value.get("kind") if isinstance(value, dict) else value
        found = detail["type"] == "union_tag_invalid"
    expected = _expected(detail)
    return Problem(tuple(keys), _shown(value) if found and detail["type"] != "extra_forbidden" else "", expected)


def _expected(detail: Any) -> str:
    kind, context = detail["type"], detail.get("ctx", {})
    if kind == "value_error":
        return str(context["error"])
    if kind == "literal_error":
        return f"expected {context['expected']}"
    if kind in ("union_tag_invalid", "union_tag_not_found"):
        missing = "is missing; " if kind == "union_tag_not_found" else ""
        return f"{missing}expected one of {', '.join(_SOURCE_KINDS)}"
    if kind in ("greater_than", "greater_than_equal"):
        bound = f"above {context['gt']}" if "gt" in context else f"of {context['ge']} or more"
        return f"expected a whole number {bound}"
    words = {
        "missing": "is missing",
        "extra_forbidden": "unknown key",
        "unexpected_keyword_argument": "unknown key",
        "string_type": "expected text (put it in quotes)",
        "string_too_short": "expected some text",
        "int_type": "expected a whole number",
        "int_parsing": "expected a whole number",
        "int_from_float": "expected a whole number",
        "tuple_type": "expected a list",
        "too_short": "expected at least one entry",
        "too_long": "expected fewer entries",
        "mapping_type": "expected a mapping",
        "dict_type": "expected a mapping",
        "model_type": "expected a mapping",
        "dataclass_type": "expected a mapping",
        "model_attributes_type": "expected a mapping",
    }
    return words.get(kind) or f"expected something else ({detail['msg']})"


def _shown(value: object) -> str:
    return _cut(repr(value))


def _cut(text: str) -> str:
    return text if len(text) <= _LONGEST_SHOWN else text[: _LONGEST_SHOWN - 3] + "..."


def _step(key: str | int, *, first: bool) -> str:
    if isinstance(key, int):
        return f"[{key}]"
    key = _cut(key if key.isprintable() else ascii(key))
    if "." in key:
        return f'["{key}"]'
    return key if first else f".{key}"
