"""Processes left to the server as a container's first one: it inherits whoever loses its parent there.

One that has ended keeps its place among the processes that a container may have until its parent has waited for it.
"""

import contextlib
import os
from pathlib import Path


class Orphans:
    """Call `reap` from time to time."""

    def __init__(self) -> None:
        self._ended: set[int] = set()

    def reap(self) -> int:
        """Wait for children that had ended at the call before: who started a child here waits for it sooner.

        Where somebody waits later all the same, it is told that the process ended, and not how. This takes no thread:
        where no more processes may be, there are none. A container's processes are few enough to look at here.

        Returns:
            How many they were.
        """
        ended = {pid for pid in _processes() if _has_ended_here(pid)}
        left = ended & self._ended
        for pid in left:
            with contextlib.suppress(ChildProcessError):  # somebody did wait, just now
                os.waitpid(pid, os.WNOHANG)
        self._ended = ended - left
        return len(left)


def _processes() -> list[int]:
    return [int(entry.name) for entry in os.scandir("/proc") if entry.name.isdecimal()]


def _has_ended_here(pid: int) -> bool:
    """A child of this process, a zombie (man 5 proc_pid_stat)."""
    try:
        state, parent, *_ = Path(f"/proc/{pid}/stat").read_bytes().rsplit(b")", 1)[1].split()
    except OSError:  # gone meanwhile
        return False
    return state == b"Z" and int(parent) == os.getpid()
