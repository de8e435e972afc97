"""One file of a journal while it is written: appended to, in one piece a time, each on disk before the next."""

import os
from contextlib import suppress

from appliance.journal.folder import Folder


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

    def close(self) -> None:
        """Let others remove it; one that holds nothing goes."""
        os.close(self._handle)
        if not self._end:
            with suppress(OSError):
                self._folder.remove(self.name)
