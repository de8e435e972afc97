"""Files that change together: each set is a folder, and one link, renamed, says which is current.

A reader, or a process killed at any moment, finds either the old files or the new ones, never a mixture.
"""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Mapping
from pathlib import Path

CURRENT = "current"
PREFIX = "set."


def publish(folder: Path, files: Mapping[str, bytes]) -> None:
    """Put these files in the place of those before, all at once. Names with ``key`` are for their owner alone.

    The set before is kept until the next time, for a server that is just reading it.
    """
    new = _write_set(folder, files)
    _adopt(folder, list(files))
    before = _target(folder / CURRENT)
    for name in files:
        _link(folder / name, f"{CURRENT}/{name}")
    _link(folder / CURRENT, new.name)
    _sync(folder)
    for other in folder.glob(f"{PREFIX}*"):
        if other.name not in (new.name, before):
            shutil.rmtree(other, ignore_errors=True)


def _adopt(folder: Path, names: list[str]) -> None:
    """Files that stand there plainly become a set too, so that they are exchanged like one."""
    if all(_target(folder / name) == f"{CURRENT}/{name}" or not os.path.lexists(folder / name) for name in names):
        return
    there = {name: (folder / name).read_bytes() for name in names if (folder / name).exists()}
    adopted = _write_set(folder, there)
    for name in set(names) - set(there):
        (folder / name).unlink(missing_ok=True)
    _link(folder / CURRENT, adopted.name)


def _write_set(folder: Path, files: Mapping[str, bytes]) -> Path:
    new = Path(tempfile.mkdtemp(prefix=PREFIX, dir=folder))
    try:
        for name, content in files.items():
            handle = os.open(new / name, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(handle, "wb") as file:
                os.fchmod(handle, 0o600 if "key" in name else 0o644)
                file.write(content)
                file.flush()
                os.fsync(handle)
        _sync(new)
    except OSError:  # the disk is full: what is tried again each minute leaves nothing behind
        shutil.rmtree(new, ignore_errors=True)
        raise
    return new


def _target(link: Path) -> str:
    """Where a link points; nothing where there is none."""
    with contextlib.suppress(OSError):
        return str(link.readlink())
    return ""


def _link(path: Path, target: str) -> None:
    if _target(path) == target:
        return
    partial = path.with_name(f".{path.name}.new")
    partial.unlink(missing_ok=True)
    partial.symlink_to(target)
    partial.replace(path)


def _sync(folder: Path) -> None:
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
