"""Checks a bundle before anything of it is used: the signature first, then every file against the signed list.

`scripts/verify.sh` does the same with a folder at a site, with bash, coreutils and openssl.
"""

import hashlib
import tarfile
from pathlib import Path
from typing import IO

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from appliance.delivery.contents import LIST_FILE, PLAIN_ARCHIVE, SIGNATURE_FILE, Contents, Entry, parse_contents
from appliance.delivery.keys import fingerprint, is_signed
from appliance.delivery.single import LONGEST_LIST, ending, header, padding
from appliance.digest import sha256_file
from appliance.errors import ApplianceError

_PIECE = 1 << 20
_SIGNATURE_SIZE = 64


def verify_bundle(bundle: Path, key: Ed25519PublicKey) -> Contents:
    """Check a bundle's folder, or the one file of it, as a whole.

    Raises:
        ApplianceError: it can't be read, its list isn't signed with that key, or something in it is not as listed.
    """
    try:
        return _verify_folder(bundle, key) if bundle.is_dir() else _verify_single(bundle, key)
    except OSError as error:
        raise ApplianceError(f"can't read {bundle}: {error.strerror}", "name a bundle's folder or file") from error


def _verify_folder(folder: Path, key: Ed25519PublicKey) -> Contents:
    for name in (LIST_FILE, SIGNATURE_FILE):
        file = folder / name
        if file.is_symlink() or not file.is_file() or file.stat().st_size > LONGEST_LIST:
            raise _broken(folder, f"no {name}")
    text, signature = ((folder / name).read_bytes() for name in (LIST_FILE, SIGNATURE_FILE))
    contents = _trusted(folder, text, signature, key)
    listed = {entry.path: entry for entry in contents.files}
    if not (folder / contents.archive).exists() and (folder / PLAIN_ARCHIVE).exists():  # put together from a delta
        del listed[contents.archive]
        listed[PLAIN_ARCHIVE] = Entry(contents.tar_sha256, contents.tar_size, PLAIN_ARCHIVE)
    problems = []
    for file in sorted(folder.rglob("*")):
        path = file.relative_to(folder).as_posix()
        if path in (LIST_FILE, SIGNATURE_FILE) or (file.is_dir() and not file.is_symlink()):
            continue
        entry = listed.pop(path, None)
        if entry is None:
            problems.append(f"{path}: not in the list")
        elif file.is_symlink() or not file.is_file():
            problems.append(f"{path}: no plain file")
        elif file.stat().st_size != entry.size:
            problems.append(f"{path}: {file.stat().st_size} bytes instead of {entry.size}")
        elif sha256_file(file) != entry.sha256:
            problems.append(f"{path}: its content has changed")
    problems += [f"{path}: missing" for path in listed]
    if problems:
        raise _broken(folder, *problems)
    return contents


def _verify_single(bundle: Path, key: Ed25519PublicKey) -> Contents:
    """Every byte must be the one that the list asks for."""
    with bundle.open("rb") as file:
        try:
            first = tarfile.TarInfo.frombuf(file.read(tarfile.BLOCKSIZE), "utf-8", "strict")
        except (tarfile.HeaderError, UnicodeDecodeError) as error:
            raise _broken(bundle, f"not a bundle's file: {error}") from error
        folder, _, name = first.name.partition("/")
        if name != LIST_FILE or not 0 < first.size <= LONGEST_LIST:
            raise _broken(bundle, f"it does not begin with {LIST_FILE}")
        text = file.read(first.size)
        start = header(folder, LIST_FILE, len(text)) + text + padding(len(text))
        start += header(folder, SIGNATURE_FILE, _SIGNATURE_SIZE)
        file.seek(len(start))
        signature = file.read(_SIGNATURE_SIZE)
        contents = _trusted(bundle, text, signature, key)
        start += signature + padding(_SIGNATURE_SIZE)
        file.seek(0)
        if file.read(len(start)) != start:
            raise _broken(bundle, f"changed before {contents.files[0].path}")
        for entry in contents.files:
            expected = header(folder, entry.path, entry.size)
            if file.read(len(expected)) != expected:
                raise _broken(bundle, f"{entry.path}: its header has changed")
            if _digest(file, entry.size) != entry.sha256:
                raise _broken(bundle, f"{entry.path}: its content has changed")
            if file.read(len(padding(entry.size))) != padding(entry.size):
                raise _broken(bundle, f"changed after {entry.path}")
        end = ending(file.tell())
        if file.read(len(end) + 1) != end:
            raise _broken(bundle, "its end has changed")
    return contents


def _trusted(bundle: Path, text: bytes, signature: bytes, key: Ed25519PublicKey) -> Contents:
    if not is_signed(text, signature, key):
        raise ApplianceError(
            f"{bundle}: its list is not signed with the key {fingerprint(key)}",
            "it was changed, or signed by someone else: ask who made it for the fingerprint of their key",
            code="bundle",
        )
    try:
        return parse_contents(text.decode("utf-8"))
    except UnicodeDecodeError as error:
        raise _broken(bundle, f"its list is no text: {error}") from error


def _digest(file: IO[bytes], size: int) -> str:
    digest = hashlib.sha256()
    while size and (piece := file.read(min(size, _PIECE))):
        digest.update(piece)
        size -= len(piece)
    return digest.hexdigest() if not size else "cut short"


def _broken(bundle: Path, *problems: str) -> ApplianceError:
    rows = "\n".join(f"  {line}" for line in sorted(problems))
    return ApplianceError(
        f"{bundle} is not as it was signed:\n{rows}",
        "copy it again from where it came from; use nothing of it",
        code="bundle",
    )
