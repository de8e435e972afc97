"""``wlk-appliance rewrite``: make an engine's archive reproducible. Needs Python's library alone: each image has it."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from appliance.container.reproducible import rewrite


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="wlk-appliance rewrite",
        description="Write an archive's image anew, so that the same content is the same bytes; prints its identifier.",
    )
    parser.add_argument("archive", type=Path, metavar="ARCHIVE", help="uncompressed, as the engine saved it")
    parser.add_argument("out", type=Path, metavar="OUT")
    parser.add_argument(
        "--tag", action="append", required=True, metavar="NAME", help="of the new image; may be repeated"
    )
    parser.add_argument("--base-layers", type=int, required=True, metavar="N", help="layers of the base: they stay")
    parser.add_argument("--file-time", type=int, required=True, metavar="SECONDS", help="the latest time of a file")
    parser.add_argument("--created", type=int, required=True, metavar="SECONDS", help="when the image was made")
    given = parser.parse_args(argv)
    print(
        rewrite(
            given.archive,
            given.out,
            tags=given.tag,
            base_layers=given.base_layers,
            file_time_s=given.file_time,
            created_s=given.created,
        )
    )
    return 0
