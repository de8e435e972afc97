"""Settings of a server from its command line, the environment and an env file."""

import argparse
import difflib
import io
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, NoReturn

from dotenv import dotenv_values
from pydantic import ValidationError
from pydantic.fields import FieldInfo

from appliance.errors import UsageError
from appliance.server.settings import IN_FILE, OTHER_NAMES, PREFIX, Settings, describe, flag, older, variable

_SECRET = ("token", "tokens")


def load_settings(argv: Sequence[str]) -> Settings:
    """Settings from the command line, the environment and the env file that either names.

    Raises:
        UsageError: an unknown flag, a bad value, or an env file that can't be read.
        SystemExit: after ``--help``.
    """
    given: dict[str, Any] = vars(build_parser().parse_args(list(argv)))
    file = given.pop("env_file", None) or os.environ.get("WLK_ENV_FILE")
    in_file = _read_env_file(Path(file)) if file else {}
    return settings_of({**given, IN_FILE: in_file})


def settings_of(given: Mapping[str, Any]) -> Settings:
    """Settings by their names; those that are not given are the environment's.

    Raises:
        UsageError: an unknown name, or a bad value.
    """
    for name in given:
        if name not in Settings.model_fields and name != IN_FILE:
            raise UsageError(f"unknown setting: {name}", "docs/settings.md has them all")
    try:
        return Settings(**given)
    except ValidationError as error:
        raise _usage_error(error) from error


def unknown_variables(environ: Mapping[str, str] = os.environ) -> list[str]:
    """One remark for each ``WLK_`` variable that nothing reads: most likely a slip of the pen."""
    known = {variable(name) for name in Settings.model_fields} | OTHER_NAMES
    remarks = []
    for name in sorted(name for name in environ if name.startswith(PREFIX) and name not in known):
        close = difflib.get_close_matches(name, known, 1)
        remarks.append(f"unknown variable {name}" + (f": did you mean {close[0]}?" if close else ""))
    return remarks


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise UsageError(f"serve: {message}", "see wlk-appliance serve --help")


def build_parser() -> argparse.ArgumentParser:
    """Flags for every setting; values stay text, to be checked in one place with the variables."""
    parser = _Parser(
        prog="wlk-appliance serve",
        description="Turn live speech into text over a WebSocket. Opens no connection to anywhere.",
        epilog="A flag wins over its variable, and that over the env file. Also read: MODEL, PORT, DIAR.",
        argument_default=argparse.SUPPRESS,
        allow_abbrev=False,
    )
    parser.add_argument("--env-file", metavar="FILE", help="file of NAME=value lines [WLK_ENV_FILE]")
    for name, row in Settings.model_fields.items():
        text = f"{row.description} [{variable(name)}{_shown_default(row)}]".replace("%", "%%")
        if row.annotation is bool:
            parser.add_argument(flag(name), action=argparse.BooleanOptionalAction, help=text)
        elif name == "enroll":
            parser.add_argument(flag(name), metavar="NAME=PATH", action="append", help=text)
        else:
            parser.add_argument(flag(name), metavar=_metavar(row), help=text)
    return parser


def _metavar(row: FieldInfo) -> str:
    if getattr(row.annotation, "__origin__", None) is Literal:
        return "|".join(row.annotation.__args__)  # type: ignore[union-attr]
    for kind, name in ((Path, "PATH"), (int, "N"), (float, "SECONDS")):
        if row.annotation is kind or row.annotation == kind | None:
            return name
    return "TEXT"


def _shown_default(row: FieldInfo) -> str:
    if row.default_factory is not None or row.default in (None, ()):
        return ""
    if isinstance(row.default, tuple):
        return f"={','.join(row.default)}"
    return f"={str(row.default).lower()}" if isinstance(row.default, bool) else f"={row.default}"


def _read_env_file(path: Path) -> dict[str, str]:
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise UsageError(
            f"--env-file: can't read {path}: {error}", "give a readable file of NAME=value lines"
        ) from error
    values = dotenv_values(stream=io.StringIO(text))
    ours = {name: value for name in Settings.model_fields if (value := values.get(variable(name)))}
    return older(values) | ours


def _usage_error(error: ValidationError) -> UsageError:
    """One line for each wrong setting: its name, its value and what was expected."""
    lines = []
    for item in error.errors():
        if not item["loc"]:
            lines.append(str(item["msg"]).removeprefix("Value error, "))
            continue
        name = str(item["loc"][0])
        shown: Any = "(secret)" if name in _SECRET else repr(item["input"])
        expected = item["msg"][:1].lower() + item["msg"][1:]
        lines.append(f"{describe(name)} is {shown}: {expected}")
    return UsageError("\n".join(lines), "see wlk-appliance serve --help")
