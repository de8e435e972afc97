"""`make fuzz`: each target in a process of its own, watched from outside; what comes of it as a table. And a server's
HTTP part, asked by schemathesis.

Corpus and findings are kept under build/fuzz, so that the next run goes on where this one ended.
"""

import argparse
import hashlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.fuzz import http
from tests.fuzz.inside import CURRENT, FIGURES, FOUND, guided, last_input
from tests.fuzz.targets import NAMES

STILL_S = 30.0
"""An input that takes so long has hung, whatever else the machine does."""
GROWTH_MB = 64.0
"""How much more a process may hold at its end than when it had settled."""

HTTP = "http"

_ROOT = Path(__file__).parent.parent.parent


@dataclass(frozen=True)
class Outcome:
    """Of one target: its figures, lines of coverage before and after (0: not measured), and what it was ended by."""

    name: str
    figures: dict[str, Any]
    coverage: tuple[int, int]
    end: str

    @property
    def growth_mb(self) -> float:
        return float(self.figures.get("end_mb", 0) - self.figures.get("start_mb", 0))

    @property
    def faults(self) -> list[str]:
        found = [f"{kind} ({count} times)" for kind, count in self.figures.get("findings", {}).items()]
        if self.growth_mb > GROWTH_MB:
            found.append(f"memory grew by {self.growth_mb:.0f} MB")
        return [*found, *([self.end] if self.end else [])]

    def row(self) -> str:
        told = self.figures
        rate = told["inputs"] / max(0.01, told["seconds"])
        before, after = self.coverage
        reached = f"{before} -> {after}" if after else "-"
        return (
            f"{self.name:15} {told['inputs']:8} {told['taken']:8} {rate:8.0f} {reached:>14} {told['slowest_s']:9.3f} "
            f"{told['start_mb']:9.0f} {told['end_mb']:9.0f} {len(self.faults):9}"
        )


HEAD = (
    f"{'target':15} {'inputs':>8} {'taken':>8} {'a second':>8} {'coverage':>14} {'slowest s':>9} "
    f"{'MB before':>9} {'MB after':>9} {'findings':>9}"
)


def fuzz(name: str, inputs: int, seconds: float, seed: int, folder: Path) -> Outcome:
    """Run one target to its end, or to its death."""
    folder.mkdir(parents=True, exist_ok=True)
    for left in (CURRENT, FIGURES):
        (folder / left).unlink(missing_ok=True)
    words = [sys.executable, "-m", "tests.fuzz.inside", name, str(inputs), str(seconds), str(seed), str(folder)]
    with (folder / "log").open("w+", encoding="utf-8", errors="replace") as log:
        process = subprocess.Popen(words, cwd=_ROOT, stdout=log, stderr=log, env=os.environ | {"PYTHONPATH": _path()})
        end = _watched(process, folder)
        log.seek(0)
        said = log.read()
    if end:
        data = last_input(folder)[1] if (folder / CURRENT).exists() else b""
        place = folder / FOUND / f"{hashlib.sha256(data).hexdigest()[:12]}"
        place.parent.mkdir(exist_ok=True)
        place.write_bytes(data)
        place.with_suffix(".txt").write_text(f"{end}\n{said[-10_000:]}", encoding="utf-8")
    covered = [int(number) for number in re.findall(r"\bcov: (\d+)", said)]
    figures = folder / FIGURES
    told = json.loads(figures.read_text(encoding="utf-8")) if figures.exists() else _NOTHING
    return Outcome(name, told, (covered[0], covered[-1]) if covered else (0, 0), end)


_NOTHING = {"inputs": 0, "taken": 0, "seconds": 0.0, "slowest_s": 0.0, "start_mb": 0.0, "end_mb": 0.0}


def _path() -> str:
    return os.pathsep.join([str(_ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])


def _watched(process: "subprocess.Popen[bytes]", folder: Path) -> str:
    """Wait for its end; empty if that was as it should be."""
    at, since = 0, time.monotonic()
    while True:
        try:
            status = process.wait(1.0)
            break
        except subprocess.TimeoutExpired:
            now = last_input(folder)[0] if (folder / CURRENT).exists() else 0
            if now != at or not now:
                at, since = now, time.monotonic()
            elif time.monotonic() - since > STILL_S:
                process.send_signal(signal.SIGABRT)  # its threads are told in the log
                process.wait()
                return f"hung for {STILL_S:.0f} s"
    if status < 0:
        return f"died of {signal.Signals(-status).name}"
    return f"ended with status {status}" if status else ""


def over_http(examples: int, seed: int) -> bool:
    """Whether all went well; prints what was found."""
    told = http.run(examples, seed)
    print(
        f"{HTTP}: {told.asked.requests} requests of {told.asked.operations} operations, "
        f"{told.settled_mb:.0f} MB settled, {told.end_mb:.0f} MB at the end"
    )
    faults = [told.asked.said[-7000:]] if told.asked.status else []
    faults += [told.fault] if told.fault else []
    if told.end_mb - told.settled_mb > GROWTH_MB:
        faults.append(f"memory grew by {told.end_mb - told.settled_mb:.0f} MB")
    for what in faults:
        print(f"finding: {HTTP}: {what}")
    return not faults


def main() -> int:
    parser = argparse.ArgumentParser(prog="make fuzz", description="FUZZ holds these flags")
    parser.add_argument(
        "--target", action="append", choices=(*NAMES, HTTP), help="one of them; may be given several times"
    )
    parser.add_argument("--inputs", type=int, default=10_000, help="of each target (10000)")
    parser.add_argument("--seconds", type=float, default=240.0, help="of each target, at most (240)")
    parser.add_argument("--examples", type=int, default=50, help="requests for each operation of the HTTP part (50)")
    parser.add_argument("--seed", type=int, default=1, help="other numbers make other inputs (1)")
    parser.add_argument(
        "--folder", type=Path, default=_ROOT / "build" / "fuzz", help="corpus and findings (build/fuzz)"
    )
    given = parser.parse_args()
    print(
        f"inputs are made {'by coverage (atheris)' if guided() else 'by chance (hypothesis; atheris is not installed)'}"
    )
    print(HEAD, flush=True)
    outcomes = []
    wanted = given.target or (*NAMES, HTTP)
    for name in (name for name in wanted if name != HTTP):
        outcome = fuzz(name, given.inputs, given.seconds, given.seed, given.folder.resolve() / name)
        outcomes.append(outcome)
        print(outcome.row(), flush=True)
    print(f"{sum(outcome.figures['inputs'] for outcome in outcomes)} inputs")
    for outcome in outcomes:
        for fault in outcome.faults:
            print(f"finding: {outcome.name}: {fault}; see {given.folder / outcome.name / FOUND}")
    good = not any(outcome.faults for outcome in outcomes)
    if HTTP in wanted:
        good = over_http(given.examples, given.seed) and good
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
