"""How much of a journal is kept: the files written longest ago go first, and none that is being written."""

import logging
import time
from dataclasses import dataclass

from appliance.journal.folder import Folder

log = logging.getLogger(__name__)

MOST_FILES = 10_000
_DAY_S = 86400.0


@dataclass(frozen=True, slots=True)
class Bounds:
    max_bytes: int
    max_age_s: float

    @classmethod
    def of(cls, megabytes: int, days: float) -> "Bounds":
        return cls(megabytes * 1024 * 1024, days * _DAY_S)


def sweep(folder: Folder, bounds: Bounds, *, needed: int = 0) -> int:
    """Remove files until the rest keep to the bounds with ``needed`` bytes more, as far as they may be removed.

    Returns:
        How many bytes the rest take.

    Raises:
        OSError: the folder can't be read, or a file can't be removed.
    """
    files = folder.files()
    total = sum(file.bytes for file in files)
    oldest_s = time.time() - bounds.max_age_s
    left = len(files)
    removed = 0
    for file in files:
        if file.written_at >= oldest_s and total + needed <= bounds.max_bytes and left <= MOST_FILES:
            break
        if folder.remove(file.name):
            total -= file.bytes
            left -= 1
            removed += 1
    if removed:
        folder.sync()
        log.info("%d old files of the journal were removed: it has its bounds", removed)
    return total
