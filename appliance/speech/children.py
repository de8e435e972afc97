"""What the processes that the server starts have in common: for inference, to decode containers, and for files."""

import contextlib
import os
import resource
import signal
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from appliance.errors import ApplianceError


def environment() -> dict[str, str]:
    """What is handed to one. Settings of the server, tokens among them, are nothing for it."""
    return {name: value for name, value in os.environ.items() if not name.startswith("WLK_")}


def belong_to_the_parent(goes: str) -> None:
    """In such a process: signals for a whole service are its parent's business. ``goes``: see `go`."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    go(goes)


def go(how_soon: str) -> None:
    """Of 1000: how soon this process is ended where memory runs out."""
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(how_soon, encoding="ascii")


def leave_no_core() -> None:
    """Where this process crashes, or one that it starts from now on, nothing of what clients say comes onto a disk.

    A limit of one byte is the only one that also keeps the kernel from handing the memory to a program
    (fs/coredump.c); and no file is written that could hold so little.
    """
    with contextlib.suppress(ValueError):  # it is 0, and may not be raised
        resource.setrlimit(resource.RLIMIT_CORE, (1, 1))


_MOST_CHARS = 1000


def pack_error(error: ApplianceError) -> dict[str, str]:
    """For JSON."""
    return {"message": error.message, "hint": error.hint, "code": error.code}


def unpack_error(row: Mapping[str, Any]) -> ApplianceError:
    """Of a process that reads nothing of outsiders."""
    return ApplianceError(str(row.get("message")), str(row.get("hint", "")), code=str(row.get("code", "internal")))


def check_error(row: Any, codes: Collection[str]) -> ApplianceError:
    """Of a process that reads what others sent, and may have been taken over by it: what clients and the log may have.

    Raises:
        ValueError: it is no error, none of these, or would be more than a line.
    """
    if not isinstance(row, Mapping) or not all(isinstance(row.get(name), str) for name in ("message", "hint", "code")):
        raise ValueError("no error")
    told = f"{row['message']}{row['hint']}"
    if row["code"] not in codes or not (row["message"] and row["hint"] and told.isprintable()):
        raise ValueError("no error of this process")
    return ApplianceError(row["message"][:_MOST_CHARS], row["hint"][:_MOST_CHARS], code=row["code"])
