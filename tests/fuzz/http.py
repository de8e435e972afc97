"""The HTTP part: a real server is asked by schemathesis for all that its description has, right and wrong."""

import re
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from appliance.bench.processes import watching_memory
from appliance.server.app import DESCRIPTION
from tests.conftest import ROOT
from tests.fuzz.material import base_files
from tests.fuzz.watch import SETTLED, WINDOW, least_mb
from tests.server.running import Running, environment, model_flags, running

LIMIT_S = 3600.0
_PROGRAM = "import sys; from schemathesis.cli import schemathesis; sys.argv[0] = 'st'; schemathesis()"


@dataclass(frozen=True)
class Asked:
    """What schemathesis said, and its status: 0 where every answer was as it is described, -1 where it was not done."""

    status: int
    said: str

    @property
    def operations(self) -> int:
        return self._number(r"Tested: (\d+)")

    @property
    def requests(self) -> int:
        return self._number(r"(\d+) generated")

    def _number(self, pattern: str) -> int:
        found = re.search(pattern, self.said)
        return int(found[1]) if found else 0


def ask(server: Running, folder: Path, examples: int, seed: int = 1) -> Asked:
    """Have each answer looked at.

    Valid data that is refused counts as right: that two fields don't go together, or that a model does not know a
    language, is not in the description.

    Args:
        folder: for what schemathesis leaves behind.
        examples: requests for each operation, beside those that cover its parameters one by one.
    """
    flags = ["--checks", "all", "--exclude-checks", "positive_data_acceptance", "--phases", "coverage,fuzzing"]
    flags += ["--max-examples", str(examples), "--seed", str(seed), "--request-timeout", "600"]
    flags += ["--tls-verify", str(server.state_dir / "tls" / "certificate.pem")]
    words = [sys.executable, "-c", _PROGRAM, "run", str(DESCRIPTION), "--url", server.url.rstrip("/"), *flags]
    env = environment(SCHEMATHESIS_HOOKS="tests.server.files.openapi_hooks", PYTHONPATH=str(ROOT))
    with (folder / "said").open("w+", encoding="utf-8") as said:
        try:
            done = subprocess.run(words, cwd=folder, env=env, stdout=said, stderr=said, timeout=LIMIT_S, check=False)
            status = done.returncode
        except subprocess.TimeoutExpired:
            status = -1
        said.seek(0)
        return Asked(status, said.read())


def fault(server: Running) -> str:
    """The first fault in a server's log; empty where there is none."""
    _, traceback, said = "".join(server.lines).partition("Traceback")
    return traceback + said[:5000]


@dataclass(frozen=True)
class Told:
    """Of a run: what was asked, a fault of the server's, and the least memory once it had settled and at the end."""

    asked: Asked
    fault: str
    settled_mb: float
    end_mb: float


def run(examples: int, seed: int) -> Told:
    """Start a server with the baked `base`, and ask it."""
    with (
        tempfile.TemporaryDirectory() as folder,
        running(model_flags(*base_files()), Path(folder) / "state") as server,
    ):
        server.wait_for("ready: base")
        ask(server, Path(folder), 1, seed)  # what is loaded when it is first asked for, such as what hears files
        with watching_memory(server.process.pid) as memory:
            asked = ask(server, Path(folder), examples, seed)
        last_s = memory.samples[-1].at_s
        held = [(sample.at_s / last_s, sample.memory_bytes / 1e6) for sample in memory.samples]
        return Told(asked, fault(server), least_mb(held, SETTLED), least_mb(held, 1 - WINDOW))
