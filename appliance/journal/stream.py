"""A layer around a stream: what it commits goes into the journal too."""

from collections.abc import Callable
from concurrent.futures import Future

from appliance.journal.one_stream import StreamJournal
from appliance.speech.live import LiveStream, OnSnapshot
from appliance.speech.types import Samples, Snapshot


class JournalledStream:
    """A `LiveStream` around another one, of which it changes nothing."""

    def __init__(
        self, open_inner: Callable[[OnSnapshot], LiveStream], journal: StreamJournal, on_snapshot: OnSnapshot
    ) -> None:
        """``open_inner``: opens the stream that it is put around, with the callback for its snapshots."""
        self._journal = journal
        self._on_snapshot = on_snapshot
        self._inner = open_inner(self._take)
        self.finished = self._inner.finished
        self.finished.add_done_callback(self._ended)

    @property
    def backlog_s(self) -> float:
        """Seconds of audio fed but not yet heard."""
        return self._inner.backlog_s

    def feed(self, samples: Samples) -> None:
        """Add samples of the stream; returns at once."""
        self._inner.feed(samples)

    def finish(self) -> None:
        """No more audio will come."""
        self._inner.finish()

    def set_language(self, language: str) -> None:
        """Change the language from the next utterance on; "auto" detects it."""
        self._inner.set_language(language)

    def wait(self, timeout_s: float | None = None) -> Snapshot:
        """The final state, after `finish`; raises what ended the stream early, as `LiveStream.wait` does."""
        return self._inner.wait(timeout_s)

    def close(self) -> None:
        """Leave the engine."""
        self._inner.close()
        self._journal.end("closed")

    def _take(self, snapshot: Snapshot) -> None:
        self._journal.take(snapshot)
        self._on_snapshot(snapshot)

    def _ended(self, finished: "Future[Snapshot]") -> None:
        if finished.cancelled():
            self._journal.end("closed")
        elif finished.exception():
            self._journal.end("failed")
        else:
            self._journal.take(finished.result())
            self._journal.end("ended")
