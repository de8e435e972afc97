"""``wlk-appliance wheels``: download the locked wheels of a target. Runs on a bare Python: the set-up uses it."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from appliance import log
from appliance.container.target import NO_DIARIZATION, load_target
from appliance.container.wheelhouse import target_wheels


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="wlk-appliance wheels",
        description="Download the locked wheels of a target, for this machine or another one; prints their folder.",
    )
    parser.add_argument("--target", default="cpu", help="a folder of images/ [%(default)s]")
    parser.add_argument(
        "--diarization", default=NO_DIARIZATION, metavar="NAME", help="what tells speakers apart [%(default)s]"
    )
    parser.add_argument("--arch", metavar="NAME", help="amd64 or arm64 [this machine's]")
    given = parser.parse_args(argv)
    log.configure()
    target = load_target(given.target, diarization=given.diarization)
    wheels = target_wheels(target, target.architecture(given.arch), Path("build"))
    print(wheels[0].parent)
    return 0
