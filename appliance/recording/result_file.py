"""Where a command's result goes: stdout, or a file that is there whole or not at all."""

import os
import sys
from pathlib import Path

from appliance.errors import ApplianceError, UsageError


def check_writable(path: Path, option: str = "--out") -> None:
    """Tell what is wrong with an output at once, not after an hour of work.

    Raises:
        UsageError: it is a folder, in none, or may not be written.
    """
    if path.is_dir():
        raise UsageError(f"{option} {path} is a folder", "name a file in it")
    if not path.parent.is_dir():
        raise UsageError(f"{option} {path}: there is no folder {path.parent}", "make it first, or name another")
    target = path.resolve()
    if not os.access(target.parent if _is_replaced(target) else target, os.W_OK):
        raise UsageError(f"{option} {path} may not be written by this user", "name another file")


def write_result(text: str, out: Path | None) -> None:
    """Write to stdout (None), to a regular file in one step, or into a device or pipe.

    Raises:
        ApplianceError: the file can't be written; the text is on stdout then.
    """
    if out is None:
        sys.stdout.write(text)
        sys.stdout.flush()
        return
    target = out.resolve()
    partial = target.with_name(f".{target.name}.{os.getpid()}") if _is_replaced(target) else target
    try:
        partial.write_text(text, encoding="utf-8")
        if partial != target:
            partial.replace(target)
    except OSError as error:
        if partial != target:
            partial.unlink(missing_ok=True)
        write_result(text, None)
        raise ApplianceError(f"can't write {out}: {error.strerror}", "the result is on stdout instead") from error


def _is_replaced(target: Path) -> bool:
    """Whether this is no file yet or a regular one; a device or pipe is written into."""
    return target.is_file() or not target.exists()
