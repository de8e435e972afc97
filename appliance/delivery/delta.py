"""Makes a delta: of a bundle, what a site lacks that has another one.

`scripts/apply.sh` makes the whole bundle of it at the site, where the image's archive comes out uncompressed, bit for
bit. Its signed list, ``DELTA``::

    wlk-delta 1
    version 0.2.0
    base 1f0e...                     SHA-256 of the other bundle's list
    archive image.tar.zst            the other bundle's archive
    new image.new.zst                what the other archive lacks
    piece new 512                    the image's archive, in order: from what is new,
    piece old 512 118204416          or from the other archive, from that byte on
    keep verify.sh                   a file that is the same there
    file 9e51... 7393 full/run_wlk.sh
"""

import hashlib
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import IO

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from appliance.delivery.compression import Compression, compress
from appliance.delivery.contents import LIST_FILE, SIGNATURE_FILE, Contents, Entry, entries, parse_contents
from appliance.delivery.keys import KEY_FILE, public_pem, write_signed
from appliance.delivery.single import read_list
from appliance.errors import ApplianceError

DELTA_LIST = "DELTA"
CARRIED = "full"
"""The folder with those files of the whole bundle that the site lacks."""

_FIRST = "wlk-delta 1"
_SCRIPTS = ("scripts/apply.sh", "scripts/signed.sh", "scripts/errors.sh")
_PIECE = 1 << 20


def read_base(path: Path) -> tuple[Contents, str]:
    """The list of a bundle (its folder, its file, or the list alone), and the list's SHA-256.

    Raises:
        ApplianceError: it is none of these.
    """
    try:
        text = (path / LIST_FILE).read_bytes() if path.is_dir() else read_list(path)
        return parse_contents(text.decode("utf-8")), hashlib.sha256(text).hexdigest()
    except (OSError, UnicodeDecodeError) as error:
        raise ApplianceError(f"{path} is no bundle and no list of one", "name what the site has: --since") from error


def create_delta(
    bundle: Path, plain: Path, since: tuple[Contents, str], key: Ed25519PrivateKey, *, compression: Compression = "zstd"
) -> Path:
    """Make the delta of a bundle's folder, beside it; returns its folder.

    Args:
        plain: the image's archive, uncompressed.
        since: what `read_base` found of the bundle that the site has, read before it may have been replaced.

    Raises:
        ApplianceError: that is the same bundle, or the disk is full.
    """
    old, base = since
    new, own = read_base(bundle)
    if own == base:
        raise ApplianceError(f"{bundle} is what the site has", "there is nothing to bring it")
    name = f"{bundle.name.removesuffix('.bundle')}-since-{old.version}-{base[:8]}.delta"
    folder = bundle.with_name(name)
    partial = folder.with_name(f".{name}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    try:
        (partial / CARRIED).mkdir(parents=True)
        fresh = partial / "image.new"
        with plain.open("rb") as source, fresh.open("wb") as out:
            pieces = _pieces(new, old, source, out)
        rows = [_FIRST, f"version {new.version}", f"base {base}", f"archive {old.archive}"]
        rows += [f"new {compress(fresh, fresh, compression).name}", *pieces]
        fresh.unlink()
        rows += [f"keep {entry.path}" for entry in _carry(bundle, new, old, partial / CARRIED)]
        (partial / KEY_FILE).write_bytes(public_pem(key.public_key()))
        for script in _SCRIPTS:
            shutil.copy2(script, partial)
        rows += [f"file {entry.sha256} {entry.size} {entry.path}" for entry in entries(partial)]
        write_signed(partial / DELTA_LIST, "\n".join(rows) + "\n", key)
        shutil.rmtree(folder, ignore_errors=True)
        partial.rename(folder)
    except OSError as error:
        raise ApplianceError(f"can't write {folder}: {error.strerror}", "is there room on the disk? df -h") from error
    finally:
        shutil.rmtree(partial, ignore_errors=True)
    return folder


def _pieces(new: Contents, old: Contents, source: IO[bytes], out: IO[bytes]) -> list[str]:
    """Write what the old archive lacks of the new one; returns how to put the new one together."""
    there = {layer.sha256: layer for layer in old.layers}
    rows: list[str] = []
    at = 0
    for layer in new.layers:
        known = there.get(layer.sha256)
        if known is None or known.size != layer.size:
            continue
        rows.append(f"piece new {_copy(source, out, at, layer.offset - at)}")
        rows.append(f"piece old {known.offset} {known.size}")
        at = layer.offset + layer.size
    rows.append(f"piece new {_copy(source, out, at, new.tar_size - at)}")
    return rows


def _copy(source: IO[bytes], out: IO[bytes], offset: int, length: int) -> int:
    source.seek(offset)
    left = length
    while left and (piece := source.read(min(left, _PIECE))):
        out.write(piece)
        left -= len(piece)
    return length


def _carry(bundle: Path, new: Contents, old: Contents, target: Path) -> Sequence[Entry]:
    """Copy the files that the old bundle lacks; returns those that are the same there."""
    there = {(entry.path, entry.sha256) for entry in old.files}
    kept = [entry for entry in new.files if (entry.path, entry.sha256) in there and entry.path != new.archive]
    same = {entry.path for entry in kept}
    carried = [entry.path for entry in new.files if entry.path not in same and entry.path != new.archive]
    for path in (LIST_FILE, SIGNATURE_FILE, *carried):
        (target / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(bundle / path, target / path)
    return kept
