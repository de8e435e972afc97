"""``wlk-appliance support-bundle``: what helps from afar in one file, without secrets or transcripts."""

import argparse
import datetime
import sys
from collections.abc import Sequence
from pathlib import Path

from appliance.doctor.examine import examine
from appliance.doctor.support import pack
from appliance.errors import ApplianceError
from appliance.server.flags import build_parser, load_settings


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="wlk-appliance support-bundle",
        description="Pack findings of doctor, versions, settings and logs, without secrets, transcripts or addresses "
        "of clients.",
        epilog="Takes the flags of serve too, and reads its variables. At a site: doctor.sh --support-bundle FILE.",
        allow_abbrev=False,
    )
    parser.add_argument("--out", type=Path, metavar="FILE.tar.gz", help="[wlk-support-DATE-TIME.tar.gz]")
    parser.add_argument("--log", type=Path, action="append", default=[], metavar="FILE", help="a log to pack too")
    given, flags = parser.parse_known_args(argv)
    target: Path = given.out or Path(f"wlk-support-{datetime.datetime.now():%Y%m%d-%H%M%S}.tar.gz")
    build_parser().parse_args(flags)  # a wrong flag is told at once, a wrong setting in the bundle
    try:
        settings = load_settings(flags)
    except ApplianceError as error:
        said = pack(target, examine(error), error, given.log)
    else:
        said = pack(target, examine(settings), settings, given.log)
    print(f"{target.absolute()} ({target.stat().st_size} bytes, for its owner only)")
    print(said, end="", file=sys.stderr)
    return 0
