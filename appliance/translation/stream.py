"""A layer around a stream: what it says, with the translation of each line."""

import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import replace

from appliance.speech.live import LiveStream, OnSnapshot, outcome
from appliance.speech.session import StreamOptions
from appliance.speech.types import Samples, Snapshot
from appliance.translation.lines import TranslatedLines
from appliance.translation.translator import Job
from appliance.translation.worker import Worker

log = logging.getLogger(__name__)

PATIENCE_S = 20.0
"""The end of a stream waits for translations as long as they come, and no longer than this without one."""

TENTATIVE_S = 1.0
"""Between two translations of what is tentative, while somebody speaks."""


def translated(
    open_inner: Callable[[OnSnapshot], LiveStream],
    worker: Worker,
    options: StreamOptions,
    target: str,
    on_snapshot: OnSnapshot,
) -> "TranslatedStream":
    """A stream with these options, with translations into ``target``.

    Raises:
        ApplianceError: code ``unsupported_language``; or as ``open_inner`` raises it.
    """
    worker.languages.check(target)
    lines = TranslatedLines(
        worker.languages,
        target,
        source="en" if options.task == "translate" else None,
        spoken=None if options.language == "auto" else options.language,
    )
    return TranslatedStream(open_inner, lines, worker, on_snapshot)


class TranslatedStream:
    """A `LiveStream` whose lines have translations.

    Args:
        open_inner: opens the stream that it is put around, with the callback for its snapshots.
        on_snapshot: gets a snapshot whenever text or a translation changed, in a thread of the engine's or the
            worker's, never two at once; must return at once.
    """

    def __init__(
        self,
        open_inner: Callable[[OnSnapshot], LiveStream],
        lines: TranslatedLines,
        worker: Worker,
        on_snapshot: OnSnapshot,
    ) -> None:
        self.finished: Future[Snapshot] = Future()
        self._lines = lines
        self._worker = worker
        self._on_snapshot = on_snapshot
        self._lock = threading.Lock()
        self._is_final = False
        self._speaks = False
        self._guessed_at = -TENTATIVE_S
        self._patience: threading.Timer | None = None
        self._inner = open_inner(self._take_snapshot)
        self._inner.finished.add_done_callback(self._ended)

    @property
    def backlog_s(self) -> float:
        """Seconds of audio fed but not yet heard. Translations may be further behind."""
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
        with self._lock:
            self._lines.spoken = None if language == "auto" else language

    def wait(self, timeout_s: float | None = None) -> Snapshot:
        """The final state, after `finish`; raises what ended the stream early, as `LiveStream.wait` does."""
        return outcome(self.finished, timeout_s)

    def close(self) -> None:
        """Leave the engine and the worker."""
        self._inner.close()
        self.finished.cancel()
        self._leave()

    # In threads of the engine's.

    def _take_snapshot(self, snapshot: Snapshot) -> None:
        with self._lock:
            self._speaks = bool(snapshot.tentative.strip())
            self._lines.update(snapshot)
            self._show()
        self._worker.wake(self)

    def _ended(self, ended: "Future[Snapshot]") -> None:
        """The stream inside said its last word: the rest of the translations, and then ours is said too."""
        if ended.cancelled():
            self.finished.cancel()
            self._leave()
        elif error := ended.exception():
            if not self.finished.done() and self.finished.set_running_or_notify_cancel():
                self.finished.set_exception(error)
            self._leave()
        else:
            with self._lock:
                self._is_final = True
                self._lines.update(ended.result(), is_final=True)
                self._show()
            self._worker.wake(self)

    # For the worker, in its thread.

    def committed(self, most: int) -> Sequence[Job]:
        """Sentences that want their translation, ``most`` of them at most."""
        with self._lock:
            return () if self.finished.done() else self._lines.committed(most)

    def tentative(self) -> Sequence[Job]:
        """What is tentative, now and then."""
        with self._lock:
            now = time.monotonic()
            if self.finished.done() or (self._speaks and now - self._guessed_at < TENTATIVE_S):
                return ()
            self._guessed_at = now
            return self._lines.tentative()

    def take(self, job: Job, translation: str | None) -> None:
        """A job's result; None where it failed."""
        with self._lock:
            self._lines.take(job, translation)
            self._show()

    # With the lock held.

    def _show(self) -> None:
        """Hand over what is there now; and end, if that was the last of it."""
        if self.finished.done():
            return
        snapshot = self._lines.snapshot()
        if not self._is_final:
            self._on_snapshot(snapshot)
        elif self._lines.committed(1):
            self._on_snapshot(replace(snapshot, is_final=True))
            self._wait_for_next()
        else:
            self._on_snapshot(snapshot)
            self._settle(snapshot)

    def _wait_for_next(self) -> None:
        """For the next translation, within bounds."""
        if self._patience:
            self._patience.cancel()
        self._patience = threading.Timer(PATIENCE_S, self._give_up)
        self._patience.daemon = True
        self._patience.start()

    def _settle(self, snapshot: Snapshot) -> None:
        if self._patience:
            self._patience.cancel()
        if not self.finished.done() and self.finished.set_running_or_notify_cancel():
            self.finished.set_result(snapshot)

    def _give_up(self) -> None:
        log.warning("a stream ends without its last translations: none came for %g s", PATIENCE_S)
        with self._lock:
            self._settle(self._lines.snapshot())

    def _leave(self) -> None:
        self._worker.forget(self)
        with self._lock:
            if self._patience:
                self._patience.cancel()
