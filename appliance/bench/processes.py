"""CPU time and memory of a process and all its descendants, read from /proc."""

import os
import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

LASTING_S = 300.0
"""What has been there for so long is no process of a single stream's."""

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_PARENT, _UTIME, _STIME, _CUTIME, _CSTIME, _START, _RSS = 1, 11, 12, 13, 14, 19, 21
"""Places in /proc/PID/stat after the name, see proc(5)."""
_SHARE = re.compile(r"^Pss:\s+(\d+) kB$", re.MULTILINE)
_OWN = re.compile(r"^Private_(?:Clean|Dirty):\s+(\d+) kB$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Usage:
    """Of a process tree.

    ``cpu_s``: user and system, with descendants that have ended. ``memory_bytes``: resident; what several processes
    share counts once, as their shares add up (Pss in proc(5)), where the kernel tells, and else for each.
    ``lasting_bytes``: of these without what processes have for themselves that are younger than `LASTING_S`.
    """

    cpu_s: float
    memory_bytes: int
    lasting_bytes: int


def tree_usage(pid: int, proc: Path = Path("/proc")) -> Usage:
    """Usage of the tree below ``pid`` now; zeros where it has ended."""
    rows = dict(_rows(proc))
    children: dict[int, list[int]] = {}
    for child, row in rows.items():
        children.setdefault(row[_PARENT], []).append(child)
    ticks = size = young = 0
    born_late = (time.clock_gettime(time.CLOCK_BOOTTIME) - LASTING_S) * _TICKS_PER_S
    waiting = [pid]
    while waiting:
        process = waiting.pop()
        waiting += children.get(process, [])
        if process in rows:
            numbers = rows[process]
            ticks += numbers[_UTIME] + numbers[_STIME] + numbers[_CUTIME] + numbers[_CSTIME]
            share, own = _parts(proc / str(process)) or 2 * (numbers[_RSS] * _PAGE_BYTES,)
            size += share
            young += own if numbers[_START] > born_late else 0
    return Usage(ticks / _TICKS_PER_S, size, size - young)


def _parts(process: Path) -> tuple[int, int] | None:
    """Of its memory, with its share of what it has together with others, and without that; None where it is unknown."""
    try:
        rows = (process / "smaps_rollup").read_text(encoding="ascii")
    except OSError:  # it has ended, or is somebody else's
        return None
    share = _SHARE.search(rows)
    return (1024 * int(share[1]), 1024 * sum(map(int, _OWN.findall(rows)))) if share else None


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


class Sample(NamedTuple):
    """Seconds since the start, and as in `Usage`."""

    at_s: float
    memory_bytes: int
    lasting_bytes: int


@dataclass(slots=True)
class Memory:
    """Of a tree, over time."""

    samples: list[Sample] = field(default_factory=list)

    @property
    def peak_bytes(self) -> int:
        return max((sample.memory_bytes for sample in self.samples), default=0)

    def at(self, time_s: float) -> int:
        """The first sample's bytes from then on, else the last one's."""
        return next((sample for sample in self.samples if sample.at_s >= time_s), self.samples[-1]).memory_bytes


@contextmanager
def watching_memory(pid: int, every_s: float = 1.0) -> Iterator[Memory]:
    """Sample a tree's memory, from a thread, until the end of the block."""
    memory = Memory()
    done = threading.Event()
    started_s = time.monotonic()

    def sample() -> None:
        usage = tree_usage(pid)
        memory.samples.append(Sample(time.monotonic() - started_s, usage.memory_bytes, usage.lasting_bytes))

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
