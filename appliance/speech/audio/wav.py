"""The header of a WAV stream of 16-bit PCM. FFmpeg reads 64 KiB before it gives any of it out (it looks for S/PDIF
inside), which are 2 s of a microphone's."""

import struct
from dataclasses import dataclass

_PCM = 1
_BITS = 16
_ENDLESS_BYTES = 0x7FFF0000
"""From this size on a header of a live stream says nothing about its length: recorders write what is largest."""


@dataclass(frozen=True, slots=True)
class WavPcm:
    """Where the samples begin, in bytes; how many bytes of them there are (None: up to the end), and what they are."""

    start: int
    size: int | None
    rate_hz: int
    channels: int


def read_header(head: bytes) -> WavPcm | None:
    """The header that a WAV stream begins with.

    Returns:
        None where it is of something else than 16-bit PCM, or not plain: that is FFmpeg's.

    Raises:
        IndexError: it goes on after these bytes.
    """
    at, form = 12, None
    while True:
        name, size = head[at : at + 4], _number(head, at + 4)
        at += 8
        if name == b"data":
            if form is None or not size:
                return None
            return WavPcm(at, size if size < _ENDLESS_BYTES else None, *form)
        if name == b"fmt ":
            if at + 16 > len(head):
                raise IndexError
            tag, channels, rate_hz, _, _, bits = struct.unpack_from("<HHIIHH", head, at)
            if (tag, bits) != (_PCM, _BITS) or not channels:
                return None
            form = rate_hz, channels
        at += size + size % 2


def _number(head: bytes, at: int) -> int:
    if at + 4 > len(head):
        raise IndexError
    return int.from_bytes(head[at : at + 4], "little")
