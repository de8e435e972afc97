"""CPU time and memory of a process and all its descendants, read from /proc."""

import os
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_PARENT, _UTIME, _STIME, _CUTIME, _CSTIME, _RSS = 1, 11, 12, 13, 14, 21
"""Places in /proc/PID/stat after the name, see proc(5)."""


@dataclass(frozen=True, slots=True)
class Usage:
    """Of a process tree. ``cpu_s``: user and system, with descendants that have ended. Shared pages count each time."""

    cpu_s: float
    memory_bytes: int


def tree_usage(pid: int, proc: Path = Path("/proc")) -> Usage:
    """Usage of the tree below ``pid`` now; zeros where it has ended."""
    rows = dict(_rows(proc))
    children: dict[int, list[int]] = {}
    for child, row in rows.items():
        children.setdefault(row[_PARENT], []).append(child)
    ticks = pages = 0
    waiting = [pid]
    while waiting:
        process = waiting.pop()
        waiting += children.get(process, [])
        if process in rows:
            numbers = rows[process]
            ticks += numbers[_UTIME] + numbers[_STIME] + numbers[_CUTIME] + numbers[_CSTIME]
            pages += numbers[_RSS]
    return Usage(ticks / _TICKS_PER_S, pages * _PAGE_BYTES)


def _rows(proc: Path) -> Iterator[tuple[int, list[int]]]:
    """(process, its numbers after the name) of every process; the state letter stands as 0."""
    for folder in proc.iterdir():
        if not folder.name.isdigit():
            continue
        try:
            text = (folder / "stat").read_text(encoding="utf-8", errors="replace")
        except OSError:  # it has ended
            continue
        words = text.rpartition(")")[2].split()
        yield int(folder.name), [0, *map(int, words[1 : _RSS + 1])]


@dataclass(slots=True)
class Memory:
    """Samples of a tree's memory: (seconds since the start, bytes)."""

    samples: list[tuple[float, int]] = field(default_factory=list)

    @property
    def peak_bytes(self) -> int:
        return max((size for _, size in self.samples), default=0)

    def at(self, time_s: float) -> int:
        """The first sample from then on, else the last one."""
        return next((size for at_s, size in self.samples if at_s >= time_s), self.samples[-1][1])


@contextmanager
def watching_memory(pid: int, every_s: float = 1.0) -> Iterator[Memory]:
    """Sample a tree's memory, from a thread, until the end of the block."""
    memory = Memory()
    done = threading.Event()
    started_s = time.monotonic()

    def sample() -> None:
        memory.samples.append((time.monotonic() - started_s, tree_usage(pid).memory_bytes))

    def watch() -> None:
        while not done.wait(every_s):
            sample()

    sample()
    thread = threading.Thread(target=watch, name="memory", daemon=True)
    thread.start()
    try:
        yield memory
    finally:
        done.set()
        thread.join()
        sample()
