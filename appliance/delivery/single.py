"""The one file of a bundle: an uncompressed tar archive, the same for the same contents.

It begins with the list and its signature; the files follow in the list's order. So a reader who trusts the list knows
every byte that must come: headers, contents, padding.
"""

import tarfile
from collections.abc import Iterator
from pathlib import Path

from appliance.delivery.contents import LIST_FILE, SIGNATURE_FILE, Contents, Entry

SUFFIX = ".tar"
LONGEST_LIST = 10_000_000

_RECORD = tarfile.RECORDSIZE
_BLOCK = tarfile.BLOCKSIZE


def header(folder: str, path: str, size: int) -> bytes:
    """Of one file: what can be run is marked so, all else is as plain as can be."""
    info = tarfile.TarInfo(f"{folder}/{path}")
    info.size = size
    info.mode = 0o755 if path.endswith(".sh") else 0o644
    return info.tobuf(tarfile.GNU_FORMAT)


def padding(size: int) -> bytes:
    return bytes(-size % _BLOCK)


def ending(written: int) -> bytes:
    """Two empty blocks, and as many more as fill the last record."""
    return bytes(2 * _BLOCK + -(written + 2 * _BLOCK) % _RECORD)


def write_single(folder: Path, contents: Contents, target: Path) -> None:
    """Write a bundle's folder as one file."""
    own = [Entry("", (folder / name).stat().st_size, name) for name in (LIST_FILE, SIGNATURE_FILE)]
    with target.open("wb") as out:
        for entry in (*own, *contents.files):
            out.write(header(folder.name, entry.path, entry.size))
            for piece in _pieces(folder / entry.path):
                out.write(piece)
            out.write(padding(entry.size))
        out.write(ending(out.tell()))


def read_list(path: Path) -> bytes:
    """The list at the beginning of a bundle's file, or the file itself where it is a list alone; not checked."""
    with path.open("rb") as file:
        first = file.read(_BLOCK)
        try:
            size = tarfile.TarInfo.frombuf(first, "utf-8", "strict").size
        except (tarfile.HeaderError, UnicodeDecodeError):
            return first + file.read(LONGEST_LIST)
        return file.read(min(size, LONGEST_LIST))


def _pieces(file: Path) -> Iterator[bytes]:
    with file.open("rb") as source:
        while piece := source.read(1 << 20):
            yield piece
