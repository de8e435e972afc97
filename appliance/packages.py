"""Debian packages that a host lacks."""

import os
import shutil
from collections.abc import Sequence

from appliance.errors import ApplianceError
from appliance.run import run


def install_packages(names: Sequence[str], purpose: str) -> None:
    """Install Debian packages, as root.

    Raises:
        ApplianceError: not root, no apt-get, or the installation failed; the hint is the command to type.
    """
    command = f"apt-get update && apt-get install --yes --no-install-recommends {' '.join(names)}"
    if os.geteuid() != 0 or shutil.which("apt-get") is None:
        raise ApplianceError(f"{', '.join(names)} is needed {purpose}, and is not installed", f"as root: {command}")
    environment = {**os.environ, "DEBIAN_FRONTEND": "noninteractive"}
    for words in (["update"], ["install", "--yes", "--no-install-recommends", *names]):
        run(["apt-get", "-qq", *words], capture=True, env=environment, hint=f"as root: {command}")
