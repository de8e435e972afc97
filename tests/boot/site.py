"""What people do at a site: install from a stick, look, and speak."""

import sys
import tempfile
import time
from dataclasses import dataclass
from pathlib import Path
from subprocess import CompletedProcess

from appliance.words import word_errors
from tests.boot.box import STICK, Box
from tests.conftest import ROOT, Spoken


@dataclass(frozen=True)
class Site:
    """``stick``: the folder of this host that the box sees as its stick. ``spoken``: what is said there."""

    box: Box
    stick: Path
    spoken: Spoken

    def on_stick(self, path: Path) -> str:
        """Where the box finds a file or a folder of the stick."""
        return f"{STICK}/{path.relative_to(self.stick)}"

    def install(self, bundle: Path | str, *words: str) -> CompletedProcess[str]:
        """What a person types; ``bundle``: on the stick, or on the box."""
        folder = bundle if isinstance(bundle, str) else self.on_stick(bundle)
        return self.box.run("bash", f"{folder}/install.sh", *words, check=False, timeout_s=600)

    def update(self, bundle: Path | str, *words: str) -> CompletedProcess[str]:
        """The same by the installed release, which checks the next one by itself."""
        folder = bundle if isinstance(bundle, str) else self.on_stick(bundle)
        return self.box.run("/opt/wlk/current/install.sh", folder, *words, check=False, timeout_s=600)

    def said(self, *words: str) -> str:
        """What a command on the box prints."""
        return self.box.run(*words, check=False, timeout_s=600).stdout.strip()

    def state(self, unit: str = "wlk") -> str:
        return self.said("systemctl", "is-active", unit)

    def comes_to(self, state: str, within_s: float = 300.0) -> None:
        """Wait until the unit is in this state."""
        give_up = time.monotonic() + within_s
        while self.state() != state and time.monotonic() < give_up:
            time.sleep(0.5)
        assert self.state() == state, self.box.journal("wlk")

    def version(self) -> str:
        """Of the release that is current."""
        return self.said("sed", "-n", "s/^version //p", "/opt/wlk/current/CONTENTS")

    def served(self) -> str:
        """The version of the code in the container that serves."""
        return self.box.engine("exec", "wlk-service", "python3", "-m", "appliance", "--version").split()[-1]

    def hears(self, port: int = 8000) -> bool:
        """Whether what is said comes out as text, through TLS with the device's own CA."""
        with tempfile.NamedTemporaryFile("w", suffix=".pem") as trusted:
            trusted.write(self.box.run("cat", "/var/lib/wlk/tls/ca.pem").stdout)
            trusted.flush()
            words = ("--url", f"wss://127.0.0.1:{port}/asr", "--cacert", trusted.name, "--quiet", self.spoken.path)
            done = self.box.client(
                "env", f"PYTHONPATH={ROOT}", sys.executable, "-m", "appliance", "transcribe", *words, check=False
            )
        assert done.returncode == 0, done.stderr + self.box.journal("wlk", "--lines=40")
        return word_errors(self.spoken.transcript, done.stdout).rate < 0.25
