"""What counts as a finding: all but the documented error, a step that takes too long, memory that grows."""

import ctypes
import json
import re
import resource
import time
from collections.abc import Callable, Collection, Sequence
from pathlib import Path

from appliance.errors import ApplianceError
from appliance.server.protocol import close_code, error_event

STEP_S = 1.0
"""Processor time that one input may take: that of others on the machine does not count."""
STEP_MB = 256.0
"""How much more one input may have the process hold while it is read."""
LONGEST_MESSAGE = 20_000
SETTLED = 0.1
"""Part of a run after which memory counts as that of the start: libraries and caches are there by then."""
WINDOW = 0.1
"""Part of a run over which the least memory is taken, at the start and at the end: while an input is worked on a
process holds some tens of MB more, and what is lost for good raises the least that it ever falls to."""

_CODE = re.compile(r"[a-z][a-z_]{2,40}")


class Finding(AssertionError):
    """An input did what none may do."""


def documented(error: ApplianceError, codes: Collection[str] = ()) -> None:
    """Raise a `Finding` unless a client can be told this error: with a code (one of these), a message and a hint.

    It must be possible to say it on the socket, whatever of the input it repeats.
    """
    if not _CODE.fullmatch(error.code) or (codes and error.code not in codes):
        raise Finding(f"code {error.code!r}: {error.message[:200]!r}")
    if not error.message or not error.hint:
        raise Finding(f"no message or no hint: {error!r}")
    if len(error.message) + len(error.hint) > LONGEST_MESSAGE:
        raise Finding(f"a message of {len(error.message) + len(error.hint)} characters")
    json.dumps(error_event(error), ensure_ascii=False, allow_nan=False).encode()
    close_code(error)


class Peak:
    """The most that this process held since; man 5 proc_pid_clear_refs."""

    def __init__(self) -> None:
        Path("/proc/self/clear_refs").write_text("5", encoding="ascii")
        self._before_mb = self._most_mb()

    @property
    def rise_mb(self) -> float:
        return self._most_mb() - self._before_mb

    @staticmethod
    def _most_mb() -> float:
        found = re.search(r"^VmHWM:\s+(\d+) kB", Path("/proc/self/status").read_text(encoding="utf-8"), re.MULTILINE)
        assert found
        return int(found[1]) / 1024


def resident_mb() -> float:
    """What the process holds, after the allocator gave back what is free: as the server makes it do now and then."""
    ctypes.CDLL(None).malloc_trim(0)
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize() / (1 << 20)


def least_mb(samples: Sequence[tuple[float, float]], start: float) -> float:
    """The least memory within a window that begins at this part of a run, or what was seen first after it.

    Args:
        samples: the part of the run that was done, and MB held then.
    """
    after = [(part, mb) for part, mb in samples if part >= start] or samples[-1:]
    return min(mb for part, mb in after if part <= max(start + WINDOW, after[0][0]))


def watched(
    one: Callable[[bytes], bool],
    data: bytes,
    *,
    clock: Callable[[], float] = time.process_time,
    step_s: float = STEP_S,
) -> tuple[bool, float]:
    """Try one input: whether it was taken (rather than refused), and how long it took.

    Raises:
        Finding: it took too long or too much memory. Whatever else is raised is a finding too.
    """
    peak, begun = Peak(), clock()
    taken = one(data)
    took_s = clock() - begun
    if took_s > step_s:
        raise Finding(f"took {took_s:.1f} s")
    if peak.rise_mb > STEP_MB:
        raise Finding(f"took {peak.rise_mb:.0f} MB")
    return taken, took_s
