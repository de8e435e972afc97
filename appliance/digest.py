"""SHA-256 of files, read in bounded pieces."""

import hashlib
from pathlib import Path

_PIECE_BYTES = 1 << 20


def sha256_file(path: Path) -> str:
    """Lower-case hexadecimal SHA-256 of a file's content."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(_PIECE_BYTES):
            digest.update(piece)
    return digest.hexdigest()
