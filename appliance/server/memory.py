"""How the process holds memory: inference takes and frees large blocks many times a second.

glibc's defaults keep freed blocks in an arena per thread and grow: measured with `base`, both decoders loaded and
one client, 800 MB resident. Giving every block back at once takes less, and up to 40 % more CPU, for the pages must be
made again. So one arena keeps what is small, what is large goes back at once, and what is free goes back now and then:
with one client 586 MiB (602 MiB where nothing goes back), for no CPU that could be measured; a limit of 2 MB for what
is large takes 577 MiB, and a fifth more CPU. ``mallopt`` is in mallopt(3).
"""

import ctypes
import threading

_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
_M_ARENA_MAX = -8

_LARGE_BYTES = 4 * 1024 * 1024
_KEPT_BYTES = 32 * 1024 * 1024
_ARENAS = 1
_TRIM_EVERY_S = 10.0


def share_one_arena() -> None:
    """Let all threads reuse the same freed blocks. To be called before they start; without glibc it does nothing."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt:
        mallopt(_M_ARENA_MAX, _ARENAS)
        mallopt(_M_MMAP_THRESHOLD, _LARGE_BYTES)
        mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)


def trim_until(closed: threading.Event) -> None:
    """Return what is free, now and every few seconds until the event is set. For a thread of its own; takes 4 ms."""
    malloc_trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    while malloc_trim:
        malloc_trim(0)
        if closed.wait(_TRIM_EVERY_S):
            return
