"""The Python indexes this machine is set up for, as pip itself would use them."""

import ast
import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass

from pypi_simple import PYPI_SIMPLE_ENDPOINT

from appliance.run import run

_SECTIONS = ("global", "install", "download", ":env:")
"""In rising order of precedence."""

_KEYS = ("index-url", "extra-index-url", "no-index", "find-links", "cert", "client-cert", "proxy")


@dataclass(frozen=True, slots=True)
class PipSettings:
    """Where to look for distributions, and how to reach the servers."""

    index_urls: tuple[str, ...] = (PYPI_SIMPLE_ENDPOINT,)
    find_links: tuple[str, ...] = ()
    cert: str | None = None
    client_cert: str | None = None
    proxy: str | None = None


def read_pip_settings() -> PipSettings:
    """Ask this interpreter's pip; without pip, take the ``PIP_`` variables alone."""
    listed = run([sys.executable, "-m", "pip", "config", "list"], check=False, capture=True, timeout_s=60)
    if listed.returncode != 0:
        variables = (f"PIP_{key.replace('-', '_').upper()}" for key in _KEYS)
        values = {key: os.environ.get(name, "") for key, name in zip(_KEYS, variables, strict=True)}
        return _settings(values)
    return _settings(parse_config_list(listed.stdout))


def parse_config_list(text: str) -> dict[str, str]:
    """The values in force, from what ``pip config list`` prints (``section.key='value'`` lines)."""
    found: dict[str, str] = {}
    rows: dict[tuple[str, str], str] = {}
    for line in text.splitlines():
        name, _, value = line.partition("=")
        section, _, key = name.rpartition(".")
        if section in _SECTIONS and key in _KEYS:
            rows[section, key] = str(ast.literal_eval(value))
    for section in _SECTIONS:
        found |= {key: value for (owner, key), value in rows.items() if owner == section}
    return found


def _settings(values: Mapping[str, str]) -> PipSettings:
    indexes = (values.get("index-url") or PYPI_SIMPLE_ENDPOINT, *values.get("extra-index-url", "").split())
    no_index = values.get("no-index", "").lower() in ("1", "true", "yes", "on")
    return PipSettings(
        index_urls=() if no_index else indexes,
        find_links=tuple(values.get("find-links", "").split()),
        cert=values.get("cert") or None,
        client_cert=values.get("client-cert") or None,
        proxy=values.get("proxy") or None,
    )
