"""``wlk-appliance wheels``: download the locked wheels of a target. Runs on a bare Python: the set-up uses it."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from appliance import log
from appliance.container.wheelhouse import target_wheels


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(prog="wlk-appliance wheels", description="Download the locked wheels of a target.")
    parser.add_argument("--target", default="cpu", help="a folder of images/ [%(default)s]")
    target: str = parser.parse_args(argv).target
    log.configure()
    wheels = target_wheels(Path("images", target), Path("build"))
    print(f"{len(wheels)} wheels in build/wheelhouse/{target}")
    return 0
