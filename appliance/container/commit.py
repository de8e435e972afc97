"""The state of the source that an image is built from, as git tells it."""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

from appliance.errors import UsageError
from appliance.run import run

EPOCH_VARIABLE = "SOURCE_DATE_EPOCH"
"""Seconds since 1970 that stand for all times in an image: https://reproducible-builds.org/specs/source-date-epoch/."""

EARLIEST_S = 315532800
"""1980-01-01: no zip file tells an earlier time."""

_SOURCE = Path(__file__).resolve().parent.parent.parent


@dataclass(frozen=True, slots=True)
class Commit:
    """``name``: of the commit, with ``-changed`` where files differ from it, ``unknown`` outside a repository.

    ``time_s``: when it was made, in seconds since 1970; `EARLIEST_S` where that is unknown.
    """

    name: str
    time_s: int


def source_commit(folder: Path = _SOURCE) -> Commit:
    """Of the repository that holds the folder, asked by git; no git, or no repository, is no error."""
    if shutil.which("git") is None:
        return Commit("unknown", EARLIEST_S)
    git = ["git", "-C", str(folder)]
    found = run([*git, "log", "-1", "--format=%H %ct"], check=False, capture=True)
    if found.returncode != 0:
        return Commit("unknown", EARLIEST_S)
    name, time_s = found.stdout.split()
    changed = run([*git, "status", "--porcelain", "--untracked-files=no"], capture=True).stdout.strip()
    return Commit(name + ("-changed" if changed else ""), int(time_s))


def given_epoch() -> int | None:
    """What `SOURCE_DATE_EPOCH` says, None where it isn't set.

    Raises:
        UsageError: it is no number of seconds.
    """
    given = os.environ.get(EPOCH_VARIABLE)
    if not given:
        return None
    if not given.isdecimal():
        raise UsageError(f"{EPOCH_VARIABLE}={given} is no number of seconds", f"unset {EPOCH_VARIABLE}, or: date +%s")
    return int(given)
