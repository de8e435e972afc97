"""``wlk-appliance sources``: fetch the source code that a target compiles."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from appliance import log
from appliance.container.sources import fetch_sources
from appliance.container.target import load_target


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="wlk-appliance sources",
        description="Fetch the source code that a target compiles, each at its pinned commit, into archives.",
    )
    parser.add_argument("--target", default="cpu", help="a folder of images/ [%(default)s]")
    given = parser.parse_args(argv)
    log.configure()
    target = load_target(given.target)
    for archive in fetch_sources(target.sources, Path("build")):
        print(archive.path)
    if not target.sources:
        print(f"{target.name} compiles nothing")
    return 0
