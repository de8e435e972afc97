"""What is kept of one stream: its latest state, and how its file is brought up to that."""

import datetime
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, Literal

from appliance.journal.changes import NOTHING, changes, committed_alike
from appliance.journal.file import JournalFile
from appliance.journal.record import VERSION, encode
from appliance.speech.types import Snapshot

End = Literal["ended", "failed", "closed"]


class StreamJournal:
    """What is kept of one stream; made by `Journal.begin`. Nothing is written before it has committed something."""

    def __init__(self, about: Mapping[str, Any], session: str, wake: Callable[["StreamJournal"], None]) -> None:
        began = datetime.datetime.now().astimezone()
        self._wake = wake
        self._started = time.monotonic()
        self._lock = threading.Lock()
        self._latest = NOTHING
        self._at_s = 0.0
        self._end: End | None = None
        self.waits_since: float | None = None
        """When the oldest change came that is not on disk (`time.monotonic`)."""
        self._header = {"journal": VERSION, "began": began.isoformat(timespec="milliseconds"), **about}
        stamp = began.astimezone(datetime.UTC).strftime("%Y%m%dT%H%M%SZ")
        self._name = f"{stamp}-{session or secrets.token_hex(4)}"
        # The writer's.
        self._file: JournalFile | None = None
        self._written = NOTHING
        self._count = 0
        self._is_over = False

    def take(self, snapshot: Snapshot) -> None:
        """A new state. Returns at once; any thread's."""
        with self._lock:
            before, self._latest = self._latest, snapshot
            if self._end or committed_alike(before, snapshot):
                return
            self._change()
        self._wake(self)

    def end(self, how: End) -> None:
        """No more will come. Returns at once; any thread's."""
        with self._lock:
            if self._end:
                return
            self._end = how
            self._change()
        self._wake(self)

    @property
    def ended(self) -> bool:
        return self._end is not None

    def _change(self) -> None:
        now = time.monotonic()
        self._at_s = round(now - self._started, 2)
        self.waits_since = self.waits_since or now

    def write(self, create: Callable[[str, int], JournalFile], room: Callable[[int], None]) -> None:
        """Bring the file up to date, in the writer's thread.

        Args:
            create: a new file of this name, which is to take that many bytes at first.
            room: called before that many bytes are added.

        Raises:
            OSError: it can't be; what was there before is still there, and the next call tries all of it again.
        """
        if self._is_over:  # woken once more than there was to do
            return
        with self._lock:
            now, at_s, end, since = self._latest, self._at_s, self._end, self.waits_since
            self.waits_since = None
        try:
            self._append(now, at_s, end, create, room)
        except (OSError, MemoryError):
            with self._lock:
                self.waits_since = since
            raise
        if end:
            self.close()
            self._is_over = True

    def close(self) -> None:
        """Leave the file, in the writer's thread."""
        if self._file:
            self._file.close()
            self._file = None

    def _append(
        self,
        now: Snapshot,
        at_s: float,
        end: End | None,
        create: Callable[[str, int], JournalFile],
        room: Callable[[int], None],
    ) -> None:
        rows = list(changes(self._written, now))
        if not rows and not (end and self._file):
            return
        if end:
            rows.append({"over": end, "heard": round(now.received_s, 2)})
        rows = [{"at": at_s, **row} for row in rows]
        if not self._count:
            rows.insert(0, self._header)
        data = b"".join(encode({"n": number, **row}) for number, row in enumerate(rows, self._count))
        if self._file is None:
            self._file = create(self._name, len(data))
        else:
            room(len(data))
        self._file.append(data)
        self._written = now
        self._count += len(rows)
