"""Which stream's turn it is: passes of many streams on a few threads.

A stream that has something to hear waits in one queue, first come, first served, and comes back to its end
after a turn: nobody is served twice before everybody was served once. A turn takes as many waiting streams as
fit a batch and decodes their passes together. While all threads are busy, audio gathers, so the next pass of
each stream covers more of it: under load steps grow longer and batches fuller, and no queue does.
"""

import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Protocol

from appliance.errors import ApplianceError
from appliance.speech.hypothesis import Hypothesis, Request
from appliance.speech.live import OnSnapshot, outcome
from appliance.speech.session import Session
from appliance.speech.types import SAMPLE_RATE_HZ, Samples, Snapshot

_TYPICAL_SAMPLES = 12 * SAMPLE_RATE_HZ
"""Of a window with its padding, where a text runs to its end. What a turn holds in memory grows with its windows, so it
takes no more passes once it has as much as a full batch of these."""


class Recognizes(Protocol):
    """What makes passes: `appliance.speech.inference.turns`. An error is that of one pass, and of its stream."""

    def recognize(self, requests: Sequence[Request]) -> Sequence[Hypothesis | ApplianceError]: ...


@dataclass(frozen=True, slots=True)
class Turn:
    """What a turn took and gave: ``heard_s`` of audio and ``words`` that were committed, of all its streams.

    ``failed``: streams that ended in it with an error.
    """

    seconds: float
    passes: int
    heard_s: float
    words: int
    failed: int = 0


OnTurn = Callable[[Turn], None]


class Stream:
    """A client's stream in the engine; made by `Engine.open_stream`. All methods may be called from any thread."""

    def __init__(self, session: Session, scheduler: "Scheduler", on_snapshot: OnSnapshot) -> None:
        self.session = session
        self.finished: Future[Snapshot] = Future()
        """The final state, once all is said; or the error that ended the stream."""
        self._scheduler = scheduler
        self._on_snapshot = on_snapshot

    @property
    def backlog_s(self) -> float:
        """Seconds of audio fed but not yet heard; the caller bounds it."""
        return self.session.backlog_s

    def feed(self, samples: Samples) -> None:
        """Add samples of the stream; returns at once."""
        self.session.feed(samples)
        self._scheduler.wake(self)

    def finish(self) -> None:
        """No more audio will come."""
        self.session.finish()
        self._scheduler.wake(self)

    def set_language(self, language: str) -> None:
        """Change the language from the next utterance on; "auto" detects it."""
        self.session.set_language(language)

    def wait(self, timeout_s: float | None = None) -> Snapshot:
        """The final state, after `finish`; raises what ended the stream early, as `outcome` says."""
        return outcome(self.finished, timeout_s)

    def close(self) -> None:
        """Leave the engine; a pass under way ends without effect."""
        self.finished.cancel()

    def publish(self) -> None:
        """Hand over what changed. Called by the thread whose turn it is."""
        snapshot = self.session.snapshot()
        if snapshot is None or self.finished.done():
            return
        self._on_snapshot(snapshot)
        if self.session.done and self.finished.set_running_or_notify_cancel():
            self.finished.set_result(snapshot)

    def fail(self, error: BaseException) -> None:
        """End with an error, unless it has ended already."""
        if not self.finished.done() and self.finished.set_running_or_notify_cancel():
            self.finished.set_exception(error)

    @property
    def has_failed(self) -> bool:
        """Whether an error ended it."""
        return self.finished.done() and not self.finished.cancelled() and self.finished.exception() is not None


class _Fatal:
    """An error in work for one stream ends it, and no other; whoever waits for the stream is told."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> bool:
        if error is not None:
            self._stream.fail(error)
        return error is not None


class Scheduler:
    """Runs the turns of all streams of an engine."""

    def __init__(self, recognizer: Recognizes, *, workers: int, batch: int) -> None:
        """``workers`` turns at once, each with at most ``batch`` passes, fewer where their windows are long."""
        self._recognizer = recognizer
        self._batch = batch
        self._enough_samples = batch * _TYPICAL_SAMPLES
        self.on_turn: OnTurn = lambda turn: None
        """Called after each turn that did not fail as a whole, by the thread that made it; must return at once."""
        self._pool = ThreadPoolExecutor(max_workers=workers, thread_name_prefix="inference")
        self._lock = threading.Lock()
        self._closed = False
        self._waiting: deque[Stream] = deque()
        self._busy: set[Stream] = set()
        """Streams that wait or are served; each stands at most once in the queue, so streams bound it."""
        self._under_way: dict[int, float] = {}
        """By thread: when its turn began."""

    def wake(self, stream: Stream) -> None:
        """Queue a stream for its turn, unless it waits or is served already, or has nothing to hear."""
        held: list[Stream] = []
        with self._lock:
            if self._closed or stream in self._busy or stream.finished.done() or not stream.session.pending:
                return
            self._busy.add(stream)
            self._waiting.append(stream)
            turn = self._pool.submit(self._turn, held)
        turn.add_done_callback(partial(self._release, held))

    def _turn(self, held: list[Stream]) -> None:
        """Serve the streams that wait longest; ``held`` is filled with those, whatever happens."""
        started = time.monotonic()
        self._under_way[threading.get_ident()] = started
        try:
            self._serve(held, started)
        finally:
            del self._under_way[threading.get_ident()]

    def _serve(self, held: list[Stream], started: float) -> None:
        heard_s, words = 0.0, 0
        served: list[Stream] = []
        passes: list[tuple[Stream, Request]] = []
        samples = 0
        while len(passes) < self._batch and samples < self._enough_samples and (stream := self._next(held)):
            served.append(stream)
            heard_s -= stream.session.heard_s
            words -= stream.session.committed
            with _Fatal(stream):
                request = stream.session.next_request()
                if request is None:
                    stream.publish()
                else:
                    passes.append((stream, request))
                    samples += request.padded_samples
        if passes:
            found = self._recognizer.recognize([request for _, request in passes])
            for (stream, _), hypothesis in zip(passes, found, strict=True):
                with _Fatal(stream):
                    if isinstance(hypothesis, ApplianceError):
                        raise hypothesis
                    stream.session.absorb(hypothesis)
                    stream.publish()
        heard_s += sum(stream.session.heard_s for stream in served)
        words += sum(stream.session.committed for stream in served)
        failed = sum(stream.has_failed for stream in served)
        self.on_turn(Turn(time.monotonic() - started, len(passes), heard_s, words, failed))

    @property
    def waiting(self) -> int:
        """How many streams wait for their turn."""
        return len(self._waiting)

    @property
    def turn_s(self) -> float:
        """How long the longest of the turns under way has taken so far; 0 where there is none."""
        now = time.monotonic()
        return now - min(self._under_way.copy().values(), default=now)

    def _next(self, held: list[Stream]) -> Stream | None:
        with self._lock:
            while self._waiting:
                stream = self._waiting.popleft()
                held.append(stream)
                if not stream.finished.done():
                    return stream
        return None

    def _release(self, held: list[Stream], turn: "Future[None]") -> None:
        """After a turn: streams that have more to hear wait again; if it failed, its streams end with the error."""
        error = None if turn.cancelled() else turn.exception()
        if error is not None:
            for stream in held:
                stream.fail(error)
        with self._lock:
            self._busy.difference_update(held)
        for stream in held:
            self.wake(stream)

    def close(self) -> None:
        """Wait for the turns under way and let the threads end; streams that still wait are closed."""
        with self._lock:
            self._closed = True
        self._pool.shutdown(wait=True, cancel_futures=True)
        for stream in self._busy:
            stream.close()
