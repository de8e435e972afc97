"""`rollback` hands over to the installed release's own script."""

import subprocess
import sys
from pathlib import Path

import pytest

from appliance.commands.rollback import main
from appliance.errors import ApplianceError
from tests.programs import put


def test_nothing_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WLK_PREFIX", str(tmp_path))
    with pytest.raises(ApplianceError, match="no release is installed"):
        main([])


def test_the_releases_own_script_is_run(tmp_path: Path) -> None:
    put(tmp_path / "current", "install.sh", 'echo "said: $*"; exit 3')
    done = subprocess.run(
        [sys.executable, "-m", "appliance", "rollback", "--dry-run"],
        env={"PATH": "/usr/bin:/bin", "WLK_PREFIX": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (3, "said: --rollback --dry-run\n")
