"""Cuts the one file of a bundle into parts that fit on sticks, under a signed list of their own.

`scripts/join.sh` puts them together at the site. The list, ``PARTS``, has a line for the whole and one for each part::

    wlk-parts 1
    whole 5d0c... 458412032 wlk-cpu-base-0.1.0.bundle.tar
    part 77a1... 100000000 wlk-cpu-base-0.1.0.bundle.tar.001
"""

import hashlib
import re
import shutil
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from appliance.delivery.keys import KEY_FILE, public_pem, write_signed
from appliance.errors import ApplianceError, UsageError

LIST_FILE = "PARTS"

_FIRST = "wlk-parts 1"
_UNITS = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9}
_SMALLEST, _MOST_PARTS = 1_000_000, 999
_PIECE = 1 << 20
_SCRIPTS = ("scripts/join.sh", "scripts/signed.sh", "scripts/errors.sh")


def part_size(text: str) -> int:
    """Bytes, from such as ``3900M``: K, M and G are powers of 1000, as on sticks.

    Raises:
        UsageError: it is no size, or too small to be of use.
    """
    found = re.fullmatch(r"([0-9]+)([KMG]?)", text)
    if found is None or int(found[1]) * _UNITS[found[2]] < _SMALLEST:
        raise UsageError(f"not a size for parts: {text!r}", "1M or more, such as 3900M for a stick with FAT")
    return int(found[1]) * _UNITS[found[2]]


def split_bundle(bundle: Path, size: int, key: Ed25519PrivateKey) -> Path:
    """Cut a bundle's file into parts of at most ``size`` bytes, in a folder beside it that replaces it; returns that.

    Raises:
        ApplianceError: they would be too many, or the disk is full.
    """
    count = -(-bundle.stat().st_size // size)
    if count > _MOST_PARTS:
        raise ApplianceError(f"{bundle.name} would have {count} parts", f"at most {_MOST_PARTS}: make them larger")
    folder = bundle.with_name(f"{bundle.name.removesuffix('.tar')}.parts")
    partial = folder.with_name(f".{folder.name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        partial.mkdir()
        write_signed(partial / LIST_FILE, _cut(bundle, size, partial), key)
        (partial / KEY_FILE).write_bytes(public_pem(key.public_key()))
        for script in _SCRIPTS:
            shutil.copy2(script, partial)
        shutil.rmtree(folder, ignore_errors=True)
        partial.rename(folder)
        bundle.unlink()
    except OSError as error:
        raise ApplianceError(f"can't write {folder}: {error.strerror}", "is there room on the disk? df -h") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return folder


def _cut(bundle: Path, size: int, folder: Path) -> str:
    """Write the parts; returns their list."""
    whole = hashlib.sha256()
    rows: list[str] = []
    with bundle.open("rb") as source:
        while piece := source.read(min(size, _PIECE)):
            part = folder / f"{bundle.name}.{len(rows) + 1:03}"
            digest, written = hashlib.sha256(), 0
            with part.open("wb") as out:
                while piece:
                    out.write(piece)
                    written += len(piece)
                    digest.update(piece)
                    whole.update(piece)
                    piece = source.read(min(size - written, _PIECE))
            rows.append(f"part {digest.hexdigest()} {written} {part.name}")
    first = [_FIRST, f"whole {whole.hexdigest()} {bundle.stat().st_size} {bundle.name}"]
    return "\n".join([*first, *rows]) + "\n"
