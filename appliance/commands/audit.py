"""``wlk-appliance audit``: known weaknesses of all locked packages."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from appliance import log
from appliance.container.advisories import Advisory, ask_online, known, locks, pins_of, read_database
from appliance.errors import ApplianceError

SAVED = Path("build/advisories.zip")
WEAK, NOT_AUDITED = 1, 3


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="wlk-appliance audit",
        description="Look for known weaknesses in every locked package: by pip-audit, which asks the Python index, or "
        "in a database that was saved.",
        epilog=f"Status: 0 none is known, {WEAK} some are, {NOT_AUDITED} nobody could be asked.",
    )
    parser.add_argument(
        "--database",
        type=Path,
        metavar="FILE.zip",
        help=f"OSV's records for PyPI, in one zip; nothing is asked of the network [{SAVED}, if it is there]",
    )
    given = parser.parse_args(argv)
    log.configure()
    database = given.database or (SAVED if SAVED.is_file() else None)
    files = locks(Path())
    pins = pins_of(files)
    found: set[Advisory] = set()
    unknown: set[str] = set()
    try:
        if database:
            found.update(known(pins, read_database(database, (pin.name for pin in pins))))
        else:
            for file in files:
                advisories, skipped = ask_online(file)
                found.update(advisories)
                unknown.update(skipped)
    except ApplianceError as error:
        print(f"not audited: {error}", file=sys.stderr)
        return NOT_AUDITED
    for advisory in sorted(found, key=str):
        print(advisory)
    asked = f"by {database}" if database else "by pip-audit"
    print(f"{len(found)} known weaknesses in {len(pins)} packages of {len(files)} locks, {asked}", file=sys.stderr)
    if unknown:
        shown = ", ".join(sorted(unknown)[:5])
        print(f"not audited: no advisory database answers for {len(unknown)} packages: {shown}, ...", file=sys.stderr)
    return WEAK if found else NOT_AUDITED if unknown else 0
