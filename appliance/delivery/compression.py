"""Compresses an image's archive with the host's own programs; at a site the engine or the same program unpacks it."""

import shutil
from pathlib import Path
from typing import Literal, get_args

from appliance.packages import install_packages
from appliance.run import run

Compression = Literal["zstd", "gzip"]
COMPRESSIONS: tuple[Compression, ...] = get_args(Compression)

_PROGRAMS = {
    "zstd": (["zstd", "--quiet", "-10", "--threads=0", "--stdout"], ".zst"),
    "gzip": (["gzip", "--no-name", "--stdout"], ".gz"),
}


def compress(source: Path, target: Path, compression: Compression) -> Path:
    """Write a file compressed, under ``target``'s name and the suffix of the format; returns where.

    Raises:
        ApplianceError: the program isn't there and can't be installed, or the disk is full.
    """
    words, suffix = _PROGRAMS[compression]
    if shutil.which(words[0]) is None:
        install_packages([words[0]], "to compress the image's archive")
    packed = target.with_name(target.name + suffix)
    with source.open("rb") as plain, packed.open("wb") as out:
        run(words, stdin=plain, stdout=out, hint=f"is there room in {packed.parent}? df -h")
    return packed
