"""How the process holds memory: inference takes and frees large blocks many times a second.

glibc's defaults keep freed blocks in an arena per thread and grow: measured with `base`, both decoders loaded and
one client, 800 MB resident. Giving every block back at once takes less, and up to 40 % more CPU, for the pages must be
made again. So one arena keeps what is small, what is large goes back at once, and what is free goes back now and then:
with one client 586 MiB (602 MiB where nothing goes back), for no CPU that could be measured; a limit of 2 MB for what
is large takes 577 MiB, and a fifth more CPU. With three clients, 570 and 563 MB on average where that is every 2 s,
606 and 592 where it is every 10, for the same CPU. ``mallopt`` is in mallopt(3).

And most code that is in memory when the models are loaded has only been loading them: see `release_code`.
"""

import ctypes
import re
import threading
from collections.abc import Iterator
from pathlib import Path

SMALL_CACHES = {"ONEDNN_PRIMITIVE_CACHE_CAPACITY": "16", "LRU_CACHE_CAPACITY": "16"}
"""Variables of oneDNN, which CTranslate2 and PyTorch have each for itself, and of PyTorch's ideep. They keep what was
made for a shape, with its working memory, for 1024 shapes; and each length of a window is another."""

_M_TRIM_THRESHOLD = -1
_M_MMAP_THRESHOLD = -3
_M_ARENA_MAX = -8

_LARGE_BYTES = 4 * 1024 * 1024
_KEPT_BYTES = 32 * 1024 * 1024
_ARENAS = 1
_TRIM_EVERY_S = 2.0

_MADV_DONTNEED = 4
_MAPPINGS = Path("/proc/self/smaps")
_MAPPING = re.compile(r"([0-9a-f]+)-([0-9a-f]+) (\S+) \S+ \S+ \S+ +(.*)")


def share_one_arena() -> None:
    """Let all threads reuse the same freed blocks. To be called before they start; without glibc it does nothing."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt:
        mallopt(_M_ARENA_MAX, _ARENAS)
        mallopt(_M_MMAP_THRESHOLD, _LARGE_BYTES)
        mallopt(_M_TRIM_THRESHOLD, _KEPT_BYTES)


def release_code() -> None:
    """Let go of the machine code that is in memory: what runs again comes back from its file, or the cache of it.

    Loading runs much that nothing runs later, such as the registration of PyTorch's operators, and the kernel maps
    the pages around each that is touched. Measured with `base`: 134 MiB when loaded, 46 MiB after some speech.
    It takes 8 ms. Code is in memory as in its file, so nothing is lost (``MADV_DONTNEED`` in madvise(2)).
    """
    madvise = getattr(ctypes.CDLL(None), "madvise", None)
    try:
        mappings = _MAPPINGS.read_text(encoding="utf-8")
    except OSError:  # not Linux, or a process that may not look at itself
        return
    if madvise:
        madvise.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
        for start, end in _code(mappings):
            madvise(start, end - start, _MADV_DONTNEED)


def _code(mappings: str) -> Iterator[tuple[int, int]]:
    """Where files are mapped to be run, begin and end; not those that were written to, as old linkers do."""
    found: tuple[int, int] | None = None
    for line in mappings.splitlines():
        if mapping := _MAPPING.fullmatch(line):
            start, end, permissions, file = mapping.groups()
            found = (int(start, 16), int(end, 16)) if permissions == "r-xp" and file.startswith("/") else None
        elif found and line.split() == ["Anonymous:", "0", "kB"]:
            yield found


def trim_until(closed: threading.Event) -> None:
    """Return what is free, now and every few seconds until the event is set. For a thread of its own; takes 4 ms."""
    malloc_trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    while malloc_trim:
        malloc_trim(0)
        if closed.wait(_TRIM_EVERY_S):
            return
