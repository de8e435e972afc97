"""Takes what only a debugger reads out of shared libraries published with it (`strip` isn't in the base).

The dynamic linker reads an ELF file's header, its program headers and the segments these name. Symbol tables, debug
sections and the section table lie behind the last segment, or between two where a tool has added one at the end. Here
the rest is moved together, each segment by a multiple of its alignment, so that it is loaded as before.

Format: System V ABI, chapters 4 and 5.

Libraries of NVIDIA's (a folder ``nvidia``) stay as they are: their licence asks for it.

Usage: drop_debug.py FOLDER
"""

import struct
import sys
from dataclasses import dataclass
from pathlib import Path

WORTH_BYTES = 100_000
_E_PHOFF, _E_SHOFF, _E_PHNUM, _E_SHENTSIZE = 32, 40, 56, 58  # byte places in the header of a 64-bit ELF file
_HEADER_BYTES, _PHDR_BYTES = 64, 56
_P_OFFSET, _P_FILESZ, _P_ALIGN = 8, 32, 48
_PT_LOAD = 1
_LITTLE_ENDIAN_64 = b"\x7fELF\x02\x01"


@dataclass
class Region:
    """Bytes of a file that are read, from ``start`` to ``end``; they may move by multiples of ``align``."""

    start: int
    end: int
    align: int = 1


def regions(data: bytes) -> list[Region]:
    """The headers and all segments, in order, those that touch each other as one."""
    (table,) = struct.unpack_from("<Q", data, _E_PHOFF)
    (count,) = struct.unpack_from("<H", data, _E_PHNUM)
    found = [Region(0, _HEADER_BYTES), Region(table, table + count * _PHDR_BYTES, 8)]
    for place in range(table, table + count * _PHDR_BYTES, _PHDR_BYTES):
        (kind,) = struct.unpack_from("<I", data, place)
        offset, size, align = (struct.unpack_from("<Q", data, place + at)[0] for at in (_P_OFFSET, _P_FILESZ, _P_ALIGN))
        if size:
            found.append(Region(offset, offset + size, max(1, align) if kind == _PT_LOAD else 1))
    joined: list[Region] = []
    for one in sorted(found, key=lambda region: region.start):
        if joined and one.start <= joined[-1].end:
            joined[-1] = Region(joined[-1].start, max(joined[-1].end, one.end), max(joined[-1].align, one.align))
        else:
            joined.append(one)
    return joined


def without_debug(data: bytes) -> bytes:
    """The file with nothing but what is loaded, and no section table."""
    made = bytearray()
    moved: list[tuple[Region, int]] = []
    for region in regions(data):
        by = (region.start - len(made)) // region.align * region.align
        made += bytes(region.start - by - len(made)) + data[region.start : region.end]
        moved.append((region, by))

    def moved_to(offset: int) -> int:
        return next((offset - by for region, by in moved if region.start <= offset <= region.end), 0)

    (table,) = struct.unpack_from("<Q", data, _E_PHOFF)
    (count,) = struct.unpack_from("<H", data, _E_PHNUM)
    table = moved_to(table)
    struct.pack_into("<Q", made, _E_PHOFF, table)
    for place in range(table, table + count * _PHDR_BYTES, _PHDR_BYTES):
        (offset,) = struct.unpack_from("<Q", made, place + _P_OFFSET)
        struct.pack_into("<Q", made, place + _P_OFFSET, moved_to(offset))
    struct.pack_into("<Q", made, _E_SHOFF, 0)
    struct.pack_into("<3H", made, _E_SHENTSIZE, 0, 0, 0)
    return bytes(made)


def drop_debug(path: Path) -> int:
    """Rewrite one library where it is worth it; returns the bytes saved."""
    with path.open("rb") as file:
        if file.read(len(_LITTLE_ENDIAN_64)) != _LITTLE_ENDIAN_64:
            return 0
    data = path.read_bytes()
    made = without_debug(data)
    if len(data) - len(made) < WORTH_BYTES:
        return 0
    path.write_bytes(made)
    return len(data) - len(made)


if __name__ == "__main__":
    saved = [
        (drop_debug(library), library)
        for library in sorted(Path(sys.argv[1]).rglob("*.so*"))
        if library.is_file() and not library.is_symlink() and "nvidia" not in library.parts
    ]
    for cut, library in sorted(saved, reverse=True)[:10]:
        print(f"{library}: {cut / 1e6:.1f} MB dropped")
    print(f"{sum(cut for cut, _ in saved) / 1e6:.1f} MB that only a debugger reads dropped in all")
