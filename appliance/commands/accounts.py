"""``wlk-appliance accounts``: write down what this image holds. Its build runs it, on Python's library alone."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from appliance import __version__
from appliance.accounts.components import debian_packages, models, python_distributions
from appliance.accounts.sbom import cyclonedx
from appliance.errors import ApplianceError

SBOM_FILE = "sbom.cdx.json"


def main(argv: Sequence[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="wlk-appliance accounts", description="Write a CycloneDX bill of what this image holds."
    )
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="where to write " + SBOM_FILE)
    parser.add_argument("--models-dir", type=Path, default=os.environ.get("WLK_MODELS_DIR", "/models"))
    parser.add_argument(
        "--libraries", type=Path, nargs="+", default=[Path("/opt/wlk/lib")], metavar="DIR", help="default: /opt/wlk/lib"
    )
    parser.add_argument("--compiled", type=Path, metavar="DIR", help="wheels that were made in the build")
    given = parser.parse_args(argv)
    components = [
        *debian_packages(),
        *python_distributions(given.libraries, given.compiled),
        *models(given.models_dir),
    ]
    if not any(component.kind == "model" for component in components):
        raise ApplianceError(f"no model in {given.models_dir}", "name its folder: --models-dir DIR")
    given.out.mkdir(parents=True, exist_ok=True)
    (given.out / SBOM_FILE).write_text(cyclonedx("wlk-appliance", __version__, components), encoding="utf-8")
    print(f"{len(components)} components in {given.out / SBOM_FILE}", file=sys.stderr)
    return 0
