"""The journal of a service: one thread that writes what the streams have committed.

Of each stream the latest state waits, and nothing else: what is written is what has changed since the state that is on
disk. So a disk that is slow, full or gone for a while delays records and makes no queue; when it is back, streams that
go on miss nothing.
"""

import errno
import logging
import os
import threading
import time
from collections import deque
from collections.abc import Mapping
from contextlib import suppress
from typing import Any, Literal

from appliance.journal.bounds import MOST_FILES, Bounds, sweep
from appliance.journal.file import CLOCK_SLACK_S, JournalFile, clock_s
from appliance.journal.folder import Folder
from appliance.journal.one_stream import StreamJournal

log = logging.getLogger(__name__)

INTERVAL_S = 0.5
"""Between two batches."""

PROMISE_S = 1.0
"""After this a committed word is on disk, where the disk is quick enough; where it is not, the state says so."""

RETRY_S = 5.0
SWEEP_S = 600.0
CLOCK_S = 5.0
"""How often it is looked whether the machine's clock was set."""
CLOSE_S = 3.0
_MOST_ENDED = 32
"""Streams that have ended, whose rest waits for a disk that can't be written."""

State = Literal["writing", "behind", "failing"]


class Journal:
    """All of it. Methods may be called from any thread, and return at once except for `close`."""

    def __init__(self, folder: Folder, bounds: Bounds, about: Mapping[str, Any]) -> None:
        """``about``: what each file tells of the service. A disk that can't be written now is waited for.

        Raises:
            OSError: the folder can't be read, or what is too old in it can't be removed.
        """
        self._folder = folder
        self._bounds = bounds
        self._about = about
        self.bytes = 0 if folder.read_only else sweep(folder, bounds)
        """What its files take on the disk."""
        self.lost = 0
        """Streams that ended and lack something in the journal."""
        self._swept_at = time.monotonic()
        self._clock_s = clock_s()
        self._news = threading.Condition()
        self._waiting: dict[StreamJournal, None] = {}
        self._made: deque[JournalFile] = deque(maxlen=MOST_FILES)
        self._at_work_since: float | None = None
        self._failing = False
        self._late = False
        self._lost_before = 0
        self._closing = threading.Event()
        self._tell(self._read_only)
        self._thread = threading.Thread(target=self._run, name="journal", daemon=True)
        self._thread.start()

    def begin(self, session: str, about: Mapping[str, Any]) -> StreamJournal:
        """Keep a stream. ``session``: by what the log calls it; ``about``: what its file tells of it."""
        return StreamJournal({"session": session, **self._about, **about}, session, self._wake)

    @property
    def state(self) -> State:
        if self._failing or not self._thread.is_alive():
            return "failing"
        return "behind" if self.behind_s > PROMISE_S else "writing"

    @property
    def behind_s(self) -> float:
        """For how long the oldest committed word that is not on disk has waited, in seconds."""
        with self._news:
            waits = [stream.waits_since for stream in self._waiting]
            since = min((at for at in (*waits, self._at_work_since) if at is not None), default=None)
        return 0.0 if since is None else time.monotonic() - since

    def close(self, timeout_s: float = CLOSE_S) -> None:
        """Write what waits, for so long at most."""
        with self._news:
            self._closing.set()
            self._news.notify()
        self._thread.join(timeout_s)
        if self._thread.is_alive():
            log.error("the journal's disk does not answer: the last words of %d streams are lost", len(self._waiting))

    def _wake(self, stream: StreamJournal) -> None:
        with self._news:
            if self._thread.is_alive():  # else nobody ever asks for what waits
                self._waiting[stream] = None
                self._news.notify()

    # The writer's thread.

    def _run(self) -> None:
        is_done = False
        try:
            self._write_all()
            is_done = True
        finally:
            if not is_done:
                log.error("nothing is written any more into %s", self._folder.path, exc_info=True)

    def _write_all(self) -> None:
        while True:
            with self._news:
                self._news.wait_for(lambda: self._waiting or self._closing.is_set(), CLOCK_S)
                streams = list(self._waiting)
                self._at_work_since = min((at for stream in streams if (at := stream.waits_since)), default=None)
                self._waiting.clear()
            closing = self._closing.is_set()
            failure = self._write(streams)
            self._tell(failure)
            if closing:
                self._lose(list(self._waiting))
                return
            self._closing.wait(RETRY_S if failure else INTERVAL_S)

    def _write(self, streams: list[StreamJournal]) -> OSError | None:
        """All of them; those that could not be written wait again. Returns what went wrong."""
        failure = self._read_only
        again: list[StreamJournal] = []
        self._heed_clock()
        try:
            if time.monotonic() - self._swept_at >= SWEEP_S:
                self._sweep()
        except OSError as error:
            failure = error
        for stream in streams:
            try:
                stream.write(self._create, self._room)
            except OSError as error:
                failure = error
                again.append(stream)
            except MemoryError:
                failure = OSError(errno.ENOMEM, os.strerror(errno.ENOMEM))
                again.append(stream)
        with self._news:
            if again:
                self._waiting = dict.fromkeys([*again, *self._waiting])
            late, self._at_work_since = self._at_work_since, None
        self._warn_if_late(late)
        ended = [stream for stream in again if stream.ended]
        self._lose(ended[: max(0, len(ended) - _MOST_ENDED)])
        return failure

    def _create(self, name: str, size: int) -> JournalFile:
        self._sweep(size)
        self._room(size)
        file = JournalFile(self._folder, name)
        self._made.append(file)
        return file

    @property
    def _read_only(self) -> OSError | None:
        return OSError(errno.EROFS, os.strerror(errno.EROFS)) if self._folder.read_only else None

    def _room(self, size: int) -> None:
        if self.bytes + size > self._bounds.max_bytes:
            self._sweep(size)
        if self.bytes + size > self._bounds.max_bytes:
            raise OSError(errno.EDQUOT, "it has as much as it may (--journal-max-mb), all of it being written")
        self.bytes += size

    def _heed_clock(self) -> None:
        """Where it was set, what was written keeps its age: for the next server, too, however this one ends."""
        now_s = clock_s()
        if abs(now_s - self._clock_s) <= CLOCK_SLACK_S:
            return
        self._clock_s = now_s
        for file in self._made:
            with suppress(OSError):  # somebody removed it, or its time stays as it is
                file.correct()

    def _sweep(self, needed: int = 0) -> None:
        self._heed_clock()
        self.bytes = sweep(self._folder, self._bounds, needed=needed)
        self._swept_at = time.monotonic()

    def _lose(self, streams: list[StreamJournal]) -> None:
        for stream in streams:
            stream.close()
            with self._news:
                self._waiting.pop(stream, None)
        if streams and self.lost == self._lost_before:
            log.error("the journal can't be written: the last words of streams that have ended are lost to it")
        self.lost += len(streams)

    def _tell(self, failure: OSError | None) -> None:
        """Once when it begins to fail, and once when that is over."""
        if failure and not self._failing:
            log.error(
                "the journal in %s can't be written: %s; streams go on, and what they commit waits in memory",
                self._folder.path, failure.strerror,
            )  # fmt: skip
        elif self._failing and not failure:
            log.warning("the journal is written again; %d streams lack their end", self.lost - self._lost_before)
            self._lost_before = self.lost
        self._failing = failure is not None

    def _warn_if_late(self, since: float | None) -> None:
        late = since is not None and time.monotonic() - since > PROMISE_S
        if late and not self._late and not self._failing:
            log.warning("the journal's disk is slow: words are written more than %g s after they are said", PROMISE_S)
        self._late = late
