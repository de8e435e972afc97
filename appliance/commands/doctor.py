"""``wlk-appliance doctor``: what is wrong here for a server, and what to do about it."""

import argparse
import sys
from collections.abc import Sequence
from typing import NoReturn

from appliance.doctor.examine import examine
from appliance.doctor.finding import as_json, as_rows, as_text, status
from appliance.errors import ApplianceError, UsageError
from appliance.server.flags import build_parser, load_settings
from appliance.server.settings import Settings


class _Misused(UsageError):
    """Apart from status 2, which tells of an error that was found."""

    exit_status = 64


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise _Misused(f"doctor: {message}", "see wlk-appliance doctor --help")


def main(argv: Sequence[str]) -> int:
    parser = _Parser(
        prog="wlk-appliance doctor",
        description="Look at what a server would meet here, or meets: settings, models, device, state, certificate, "
        "port, disk, memory, clock. Changes nothing, opens no connection but to this machine.",
        epilog="Takes the flags of serve too, and reads its variables. Status: 0 nothing worse than a note; "
        "1 a warning; 2 an error; 64 wrong usage. At a site without Python: doctor.sh.",
        allow_abbrev=False,
    )
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="one JSON object: worst, findings")
    form.add_argument("--rows", action="store_true", help="severity, check, seen, remedy between tabs, for doctor.sh")
    parser.add_argument("--deep", action="store_true", help="read all files of the models, and compare")
    given, flags = parser.parse_known_args(argv)
    findings = examine(settings_of(flags), deep=given.deep)
    sys.stdout.write((as_json if given.json else as_rows if given.rows else as_text)(findings))
    return status(findings)


def settings_of(flags: Sequence[str]) -> Settings | ApplianceError:
    """The server's settings, or what is wrong with them; flags that there are none of are wrong usage."""
    try:
        build_parser().parse_args(list(flags))
    except UsageError as error:
        raise _Misused(error.message, "see wlk-appliance doctor --help and wlk-appliance serve --help") from error
    try:
        return load_settings(flags)
    except ApplianceError as error:
        return error
