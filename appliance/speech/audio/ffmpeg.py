"""What is set for all of FFmpeg in a process."""

import ctypes
import functools

import av._core

MOST_BYTES = 128 << 20
"""Of one allocation. A table of an MP4 takes 24 bytes for each packet, and that of 30 hours of AAC has as many."""


@functools.cache
def bound_memory() -> None:
    """Have FFmpeg allocate no more in one go than any recording needs, whatever a header says that is to come.

    PyAV has no name for libavutil's `av_max_alloc`; its own library leads to the symbol.
    """
    library = ctypes.CDLL(av._core.__file__)
    library.av_max_alloc.argtypes = [ctypes.c_size_t]
    library.av_max_alloc.restype = None
    library.av_max_alloc(MOST_BYTES)
