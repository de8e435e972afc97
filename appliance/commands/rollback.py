"""``wlk-appliance rollback``: on an installed device, return to the release before."""

import argparse
import os
from collections.abc import Sequence
from pathlib import Path

from appliance.errors import ApplianceError


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="wlk-appliance rollback",
        description="Return to the release before, on a device where install.sh installed one. Needs root.",
    )
    parser.add_argument("--dry-run", action="store_true", help="tell every step, and change nothing")
    given = parser.parse_args(argv)
    script = Path(os.environ.get("WLK_PREFIX") or "/opt/wlk") / "current" / "install.sh"
    if not script.is_file():
        raise ApplianceError(
            f"no release is installed here: {script} is missing", "install.sh of a bundle installs one"
        )
    words = ["bash", str(script), "--rollback", *(["--dry-run"] if given.dry_run else [])]
    os.execvp(words[0], words)
