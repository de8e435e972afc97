"""What counts as a finding: all but the documented error, a step that takes too long, memory that grows."""

import ctypes
import json
import re
import resource
import time
from collections.abc import Callable, Collection
from pathlib import Path

from appliance.errors import ApplianceError
from appliance.server.protocol import close_code, error_event

STEP_S = 1.0
"""Processor time that one input may take: that of others on the machine does not count."""
STEP_MB = 256.0
"""How much one input may raise the most memory that the process ever had."""
LONGEST_MESSAGE = 20_000

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


def peak_mb() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def resident_mb() -> float:
    """What the process holds, after the allocator gave back what is free: as the server makes it do now and then."""
    ctypes.CDLL(None).malloc_trim(0)
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize() / (1 << 20)


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
    peak, begun = peak_mb(), clock()
    taken = one(data)
    took_s = clock() - begun
    if took_s > step_s:
        raise Finding(f"took {took_s:.1f} s")
    if peak_mb() - peak > STEP_MB:
        raise Finding(f"took {peak_mb() - peak:.0f} MB")
    return taken, took_s
