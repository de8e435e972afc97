"""Cuts what only a debugger reads off shared libraries published with it (`strip` isn't in the base).

An ELF file's full symbol table, debug sections and section table stand behind the last segment that is ever
loaded, so cutting the file there and clearing the table's place in the header leaves all that the dynamic linker
reads.

Usage: drop_debug.py FOLDER
"""

import struct
import sys
from pathlib import Path

WORTH_BYTES = 4_000_000
_E_PHOFF, _E_SHOFF, _E_PHNUM, _E_SHENTSIZE = 32, 40, 56, 58  # byte places in the header of a 64-bit ELF file
_PHDR_BYTES = 56
_LITTLE_ENDIAN_64 = b"\x7fELF\x02\x01"


def loaded_bytes(head: bytes) -> int:
    """Length of the part that any segment reaches into, from the file's first 4096 bytes."""
    (table,) = struct.unpack_from("<Q", head, _E_PHOFF)
    (count,) = struct.unpack_from("<H", head, _E_PHNUM)
    ends = []
    for index in range(count):
        offset, _, _, size = struct.unpack_from("<4Q", head, table + index * _PHDR_BYTES + 8)
        ends.append(offset + size)
    return max(ends)


def drop_debug(path: Path) -> int:
    """Cut one library where it is worth it; returns the bytes saved."""
    with path.open("r+b") as file:
        head = file.read(4096)
        if not head.startswith(_LITTLE_ENDIAN_64):
            return 0
        (table,) = struct.unpack_from("<Q", head, _E_PHOFF)
        (count,) = struct.unpack_from("<H", head, _E_PHNUM)
        if table + count * _PHDR_BYTES > len(head):  # moved to the end by a tool that added segments
            return 0
        end = loaded_bytes(head)
        saved = path.stat().st_size - end
        if saved < WORTH_BYTES:
            return 0
        file.truncate(end)
        file.seek(_E_SHOFF)
        file.write(struct.pack("<Q", 0))
        file.seek(_E_SHENTSIZE)
        file.write(struct.pack("<3H", 0, 0, 0))
    return saved


if __name__ == "__main__":
    for library in sorted(Path(sys.argv[1]).rglob("*.so*")):
        if library.is_file() and not library.is_symlink() and (cut := drop_debug(library)):
            print(f"{library}: {cut / 1e6:.1f} MB that only a debugger reads dropped")
