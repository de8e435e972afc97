"""How much of a journal is kept: the files written longest ago go first, and none that is being written.

What bears a time that is still to come was written before the clock was set back, so before all that bears another.
"""

import logging
import time
from dataclasses import dataclass

from appliance.journal.file import CLOCK_SLACK_S
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
    removed = 0
    with folder.alone():  # or two that sweep would each remove as much as is too much
        files = folder.files()
        total = sum(file.bytes for file in files)
        now_s = time.time()
        left = len(files)
        for file in sorted(files, key=lambda file: file.written_at <= now_s + CLOCK_SLACK_S):
            is_old = file.written_at < now_s - bounds.max_age_s
            is_too_much = total + needed > bounds.max_bytes or left > MOST_FILES
            if (is_old or is_too_much) and folder.remove(file.name):
                total -= file.bytes
                left -= 1
                removed += 1
    if removed:
        folder.sync()
        log.info("%d old files of the journal were removed: it has its bounds", removed)
    return total
