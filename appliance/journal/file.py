"""One file of a journal while it is written: appended to, in one piece a time, each on disk before the next."""

import os
import time
from contextlib import suppress

from appliance.journal.folder import Folder

CLOCK_SLACK_S = 60.0
"""What the machine's clock was set by is a jump if it is more than this."""


class JournalFile:
    """A new file. Used by one thread at a time.

    Raises:
        OSError: it can't be made.
    """

    def __init__(self, folder: Folder, name: str) -> None:
        self.name = name
        self._folder = folder
        self._handle = folder.create(name)
        self._end = 0
        self._note_time()

    def append(self, data: bytes) -> None:
        """Add records; they are on disk when this returns.

        Raises:
            OSError: they can't be written; then the file is as it was, as far as the disk allows.
        """
        try:
            written = 0
            while written < len(data):
                written += os.pwrite(self._handle, data[written:], self._end + written)
            os.fdatasync(self._handle)
            if not self._end:
                self._folder.sync()
        except OSError:
            # What is tried again is written anew: pages that a sync could not write count as written afterwards.
            with suppress(OSError):
                os.ftruncate(self._handle, self._end)
            raise
        self._end += len(data)
        self._note_time()

    def _note_time(self) -> None:
        """Of the last record, by the clock and by what no clock changes."""
        self._stamped_s, self._stamped_up_s = time.time(), _up_s()

    def correct(self) -> None:
        """Where the clock was set since the last record: let the file's time be that record's by the clock of now.

        Raises:
            OSError: its time can't be changed, or it is no more.
        """
        right_s = clock_s() + self._stamped_up_s
        if abs(right_s - self._stamped_s) > CLOCK_SLACK_S:
            self._folder.stamp(self.name, right_s)
            self._stamped_s = right_s

    def close(self) -> None:
        """Let others remove it; one that holds nothing goes."""
        os.close(self._handle)
        if not self._end:
            with suppress(OSError):
                self._folder.remove(self.name)


def clock_s() -> float:
    """What the machine's clock says of when it was started: changes only where the clock is set."""
    return time.time() - _up_s()


def _up_s() -> float:
    """Seconds since the machine was started, whatever its clock says."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)
