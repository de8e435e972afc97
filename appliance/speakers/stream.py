"""A stream of the engine with its speakers told apart: the same audio to both, and their answers put together."""

import threading
from collections.abc import Callable
from concurrent.futures import Future

from appliance.speakers.relining import Known, Relining
from appliance.speakers.scheduler import SpeakerScheduler
from appliance.speech.live import LiveStream, OnSnapshot, outcome
from appliance.speech.types import Samples, Snapshot


class SpeakerStream:
    """A `LiveStream` around another one. All methods may be called from any thread.

    Whether a word was said never depends on the diarizer: it only says by whom. Where it fails, words are of who spoke
    last, and the stream goes on.
    """

    def __init__(
        self, open_stream: Callable[[OnSnapshot], LiveStream], scheduler: SpeakerScheduler, on_snapshot: OnSnapshot
    ) -> None:
        """``on_snapshot``: called by the engine's threads and the diarizer's, one at a time; must return at once.

        Raises:
            ApplianceError: as ``open_stream`` raises it.
        """
        self.finished: Future[Snapshot] = Future()
        """The final state, once all is said and all words have speakers; or the error that ended the stream."""
        self._on_snapshot = on_snapshot
        self._lock = threading.Lock()
        self._relining = Relining()
        self._said: Snapshot | None = None
        self._known = Known()
        self._last: Snapshot | None = None
        self._told: Snapshot | None = None
        self._lane = scheduler.open(self._learn)
        self._engine = open_stream(self._take)
        self._engine.finished.add_done_callback(self._engine_ended)

    @property
    def backlog_s(self) -> float:
        """Seconds of audio not yet heard, or of one that comes faster than it is spoken, not yet diarized."""
        return max(self._engine.backlog_s, self._lane.backlog_s)

    def feed(self, samples: Samples) -> None:
        """Add samples of the stream; returns at once."""
        self._engine.feed(samples)
        self._lane.feed(samples)

    def finish(self) -> None:
        """No more audio will come."""
        self._engine.finish()
        self._lane.finish()

    def set_language(self, language: str) -> None:
        """Change the language from the next utterance on; "auto" detects it."""
        self._engine.set_language(language)

    def wait(self, timeout_s: float | None = None) -> Snapshot:
        """The final state, after `finish`; raises what ended the stream early, as `LiveStream.wait` does."""
        return outcome(self.finished, timeout_s)

    def close(self) -> None:
        """Leave the engine and the diarizer."""
        self._lane.close()
        self._engine.close()
        self.finished.cancel()

    def _take(self, said: Snapshot) -> None:
        """The engine said more."""
        with self._lock:
            self._said = said
            self._publish()

    def _learn(self, known: Known) -> None:
        """The diarizer knows more."""
        try:
            with self._lock:
                self._known = known
                if self._said is not None:
                    self._publish()
        except OSError as error:  # of who writes what is published
            self._fail(error)
        self._end()

    def _engine_ended(self, finished: "Future[Snapshot]") -> None:
        if finished.cancelled():
            self.finished.cancel()
        elif (error := finished.exception()) is not None:
            self._fail(error)
        else:
            self._end()
            return
        self._lane.close()

    def _publish(self) -> None:
        """Make the new state, and hand it over where it shows something new. With the lock held: they come in order."""
        assert self._said is not None
        self._last = self._relining.snapshot(self._said, self._known)
        if self._told is None or _shown(self._last) != _shown(self._told):
            self._tell()

    def _tell(self) -> None:
        assert self._last is not None
        self._told = self._last
        if not self.finished.done():
            self._on_snapshot(self._last)

    def _end(self) -> None:
        """End, once both have."""
        try:
            with self._lock:
                last = self._last
                if last is None or not (self._known.over and self._engine.finished.done()):
                    return
                if last is not self._told:
                    self._tell()
        except OSError as error:
            self._fail(error)
        else:
            if self._ends():
                self.finished.set_result(last)

    def _fail(self, error: BaseException) -> None:
        if self._ends():
            self.finished.set_exception(error)

    def _ends(self) -> bool:
        """Whether it is for the caller to end the stream."""
        with self._lock:
            return (
                not (self.finished.running() or self.finished.done()) and self.finished.set_running_or_notify_cancel()
            )


def _shown(snapshot: Snapshot) -> tuple[object, ...]:
    return snapshot.lines, snapshot.tentative, snapshot.undiarized
