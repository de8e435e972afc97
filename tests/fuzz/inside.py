"""The process that runs one target: ``python -m tests.fuzz.inside NAME INPUTS SECONDS SEED FOLDER``.

What it is at stands in a mapped file, so that the parent knows the input of which it died. A finding that Python can
catch is kept in the folder, and the run goes on.
"""

import contextlib
import faulthandler
import hashlib
import importlib.util
import json
import mmap
import os
import struct
import sys
import time
import traceback
from collections.abc import Iterator
from pathlib import Path

import hypothesis

CURRENT, FIGURES, FOUND = "current", "figures.json", "found"
CURRENT_BYTES = 1 << 20
_HEAD = struct.Struct("<QQ")
_WRITTEN_EVERY_S = 0.5
_MOST_KINDS = 20
_BY_CHANCE = 0.02
"""Part of the inputs made by chance where the others are led by coverage, which is slow to find what is well-formed."""


class Run:
    """Counts, watches and keeps."""

    def __init__(self, name: str, inputs: int, seconds: float, folder: Path) -> None:
        from tests.fuzz.targets import load

        self._folder = folder
        self._kinds: dict[str, int] = {}
        self._inputs, self._seconds = inputs, seconds
        self.count = self.taken = 0
        self._slowest_s = 0.0
        self._memory: list[tuple[float, float]] = []
        self._begun = self._written = time.monotonic()
        with (folder / CURRENT).open("w+b") as file:
            file.truncate(CURRENT_BYTES)
            self._current = mmap.mmap(file.fileno(), CURRENT_BYTES)
        self.target = load(name)
        self._begun = time.monotonic()

    @property
    def left(self) -> int:
        """Inputs."""
        return self._inputs - self.count

    @property
    def elapsed_s(self) -> float:
        return time.monotonic() - self._begun

    @property
    def left_s(self) -> float:
        return self._seconds - self.elapsed_s

    @property
    def part(self) -> float:
        """How much of the run is done."""
        return max(self.count / self._inputs, self.elapsed_s / self._seconds)

    @property
    def over(self) -> bool:
        return self.part >= 1

    def one(self, data: bytes) -> None:
        self.count += 1
        kept = data[: CURRENT_BYTES - _HEAD.size]
        self._current[: _HEAD.size + len(kept)] = _HEAD.pack(self.count, len(kept)) + kept
        try:
            taken, took_s = self.target.attempt(data)
            self.taken += taken
            self._slowest_s = max(self._slowest_s, took_s)
        except Exception as error:  # noqa: BLE001 (what may be raised is what is to be found out)
            self._keep(data, error)
        now = time.monotonic()
        if now - self._written > _WRITTEN_EVERY_S or self.over:
            self._written = now
            self.write()

    def write(self) -> None:
        from tests.fuzz.watch import SETTLED, WINDOW, least_mb, resident_mb

        self._memory.append((self.part, resident_mb()))
        figures = {
            "inputs": self.count,
            "taken": self.taken,
            "seconds": self.elapsed_s,
            "slowest_s": self._slowest_s,
            "start_mb": least_mb(self._memory, SETTLED),
            "end_mb": least_mb(self._memory, self.part - WINDOW),
            "findings": self._kinds,
        }
        partial = self._folder / f".{FIGURES}"
        partial.write_text(json.dumps(figures), encoding="utf-8")
        partial.replace(self._folder / FIGURES)

    def _keep(self, data: bytes, error: Exception) -> None:
        frames = traceback.extract_tb(error.__traceback__)
        own = [frame for frame in frames if "/appliance/" in frame.filename] or frames[-1:]
        kind = f"{type(error).__name__} in {Path(own[-1].filename).name}:{own[-1].lineno}"
        self._kinds[kind] = self._kinds.get(kind, 0) + 1
        if self._kinds[kind] == 1 and len(self._kinds) <= _MOST_KINDS:
            place = self._folder / FOUND / hashlib.sha256(data).hexdigest()[:12]
            place.write_bytes(data)
            place.with_suffix(".txt").write_text(
                "".join(traceback.format_exception(error))[-10_000:], encoding="utf-8", errors="replace"
            )


def last_input(folder: Path) -> tuple[int, bytes]:
    """Number and content of the input that a process was at."""
    content = (folder / CURRENT).read_bytes()
    number, size = _HEAD.unpack_from(content)
    return number, content[_HEAD.size : _HEAD.size + size]


def guided() -> bool:
    """Whether inputs are led by what code they reach; else they are made of real ones, by chance."""
    return importlib.util.find_spec("atheris") is not None


@contextlib.contextmanager
def _instrumented() -> Iterator[None]:
    import atheris

    with atheris.instrument_imports(include=["appliance"]):
        yield


def _by_coverage(run: Run, seed: int, folder: Path) -> None:
    """Does not return."""
    import atheris

    for place in ("corpus", "seeds"):
        (folder / place).mkdir(exist_ok=True)
    for number, data in enumerate(run.target.seeds):
        (folder / "seeds" / f"{number:03}").write_bytes(data)
    longest = max(4096, *(2 * len(data) for data in run.target.seeds))
    flags = [f"-runs={run.left}", f"-max_total_time={max(1, round(run.left_s))}", f"-seed={seed}"]
    flags += [f"-max_len={longest}"]
    flags += ["-timeout=3600", "-rss_limit_mb=0", "-detect_leaks=0", f"-artifact_prefix={folder}/{FOUND}/"]
    if run.target.words:
        rows = ("".join(f"\\x{byte:02x}" for byte in word[:64]) for word in run.target.words)
        (folder / "words").write_text("".join(f'"{row}"\n' for row in rows), encoding="ascii")
        flags.append(f"-dict={folder / 'words'}")
    atheris.Setup(["fuzz", *flags, str(folder / "corpus"), str(folder / "seeds")], run.one)
    atheris.Fuzz()


def _by_chance(run: Run, seed: int, until: int) -> None:
    chosen = hypothesis.strategies.one_of(*run.target.strategies)
    settings = hypothesis.settings(
        max_examples=500,
        database=None,
        deadline=None,
        phases=[hypothesis.Phase.generate],
        suppress_health_check=list(hypothesis.HealthCheck),
    )
    while run.count < until and not run.over:

        @hypothesis.seed(seed)
        @settings
        @hypothesis.given(chosen)
        def batch(data: bytes) -> None:
            if run.count < until and not run.over:
                run.one(data)

        batch()
        seed += 1


def main() -> None:
    name, inputs, seconds, seed, place = sys.argv[1:]
    folder = Path(place)
    (folder / FOUND).mkdir(parents=True, exist_ok=True)
    faulthandler.enable()
    by_coverage = guided()
    with _instrumented() if by_coverage else contextlib.nullcontext():
        run = Run(name, int(inputs), float(seconds), folder)
    for data in run.target.seeds:
        run.one(data)
    _by_chance(run, int(seed), round(int(inputs) * (_BY_CHANCE if by_coverage else 1)))
    run.write()
    if by_coverage and not run.over:
        _by_coverage(run, int(seed), folder)
    sys.stdout.flush()
    os._exit(0)  # threads of a session that is stuck are no reason to stay


if __name__ == "__main__":
    main()
