"""Whose turn it is at the diarizer: steps of many streams in one thread.

As at the engine, a stream stands at most once in the queue and comes back to its end after a step; streams that wait
are stepped together, as many as a step takes. Audio waits here, not in the diarizer's state.

A stream whose audio comes faster than it is spoken tells how much waits (`Lane.backlog_s`), and is read more slowly.
One that is live is never held up: where the diarizer is `MOST_BEHIND_S` behind, what waits is left out, and it goes on
with what comes now. Speakers stay who they were; what was left out has no turns of its own.
"""

import logging
import threading
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from functools import partial

from appliance.speakers.diarizer import Diarizer, DiarizerStream, SpeakerTurn
from appliance.speakers.relining import Known
from appliance.speech.types import SAMPLE_RATE_HZ, Samples

log = logging.getLogger(__name__)

MOST_BEHIND_S = 30.0
"""Audio that waits, of a stream that is live."""

_PORTION_S = 1.0

_PAST_S = 120.0
"""What was left out so long ago changes no turn that is still told."""

OnKnown = Callable[[Known], None]


class Lane:
    """A stream's way through the diarizer; made by `SpeakerScheduler.open`."""

    def __init__(self, stream: DiarizerStream, scheduler: "SpeakerScheduler", on_known: OnKnown) -> None:
        self.stream = stream
        self._scheduler = scheduler
        self._on_known = on_known
        self._lock = threading.Lock()
        self._waiting: deque[Samples] = deque()
        self._waiting_samples = 0
        self._fed = 0
        self._given = 0
        """Samples that the diarizer's stream has; those that were left out are not among them."""
        self._left_out: deque[tuple[float, float]] = deque()
        """Where in the diarizer's time something was left out, and how many seconds in all up to there."""
        self._finished = False
        self._is_told = False
        self._ended = False
        self._began = scheduler.clock()

    @property
    def ended(self) -> bool:
        return self._ended

    @property
    def backlog_s(self) -> float:
        """Seconds of audio that wait, where more came than time went by; else 0."""
        return self._waiting_samples / SAMPLE_RATE_HZ if self._is_ahead() else 0.0

    @property
    def pending(self) -> bool:
        """Whether there is something to hand over or to step."""
        return not self._ended and (
            bool(self._waiting) or self.stream.pending or (self._finished and not self._is_told)
        )

    def feed(self, samples: Samples) -> None:
        """Add samples of the stream; returns at once."""
        with self._lock:
            if self._ended or self._finished:
                return
            if self._waiting_samples > MOST_BEHIND_S * SAMPLE_RATE_HZ and not self._is_ahead():
                self._leave_out()
            self._waiting.append(samples)
            self._waiting_samples += len(samples)
            self._fed += len(samples)
        self._scheduler.wake(self)

    def finish(self) -> None:
        """No more audio will come."""
        self._finished = True
        self._scheduler.wake(self)

    def close(self) -> None:
        """Leave; nothing is told any more."""
        with self._lock:
            self._ended = True
            self._waiting.clear()
            self._waiting_samples = 0

    # By the scheduler's thread.

    def hand_over(self) -> None:
        """Give the diarizer enough for a step, and no more than `_PORTION_S` beyond that."""
        enough = self._given + _PORTION_S * SAMPLE_RATE_HZ
        while not self._ended and not (self.stream.pending and self._given >= enough):
            with self._lock:
                samples = self._waiting.popleft() if self._waiting else None
                if samples is not None:
                    self._waiting_samples -= len(samples)
                    self._given += len(samples)
            if samples is not None:
                self.stream.feed(samples)
            elif self._finished and not self._is_told and not self.stream.pending:
                self._is_told = True
                self.stream.finish()
            else:
                break

    def tell(self) -> None:
        """Say what is known now."""
        if self._ended:
            return
        if self.stream.done or (self._is_told and not self.stream.pending):
            self._end()
            return
        turns = tuple(self._moved(turn) for turn in self.stream.turns)
        self._on_known(Known(self._stream_s(self.stream.decided_s), turns, dict(self.stream.names)))

    def fail(self) -> None:
        """The diarizer failed: what is known by now is all."""
        if not self._ended:
            self._end()

    def _end(self) -> None:
        turns = tuple(self._moved(turn) for turn in self.stream.turns)
        names = dict(self.stream.names)
        self.close()
        self._on_known(Known(float("inf"), turns, names))

    def _is_ahead(self) -> bool:
        return self._fed / SAMPLE_RATE_HZ > self._scheduler.clock() - self._began

    def _leave_out(self) -> None:
        left_out_s = self._waiting_samples / SAMPLE_RATE_HZ
        at_s = self._given / SAMPLE_RATE_HZ
        log.warning("speakers: %.0f s behind, which are left out", left_out_s)
        before_s = self._left_out[-1][1] if self._left_out else 0.0
        self._left_out.append((at_s, before_s + left_out_s))
        while len(self._left_out) > 1 and self._left_out[1][0] < at_s - _PAST_S:
            self._left_out.popleft()
        self._waiting.clear()
        self._waiting_samples = 0

    def _stream_s(self, diarizer_s: float) -> float:
        """A time of the diarizer's, in the stream: what was left out before it is added."""
        added_s = 0.0
        with self._lock:
            for at_s, left_out_s in self._left_out:
                if at_s < diarizer_s:
                    added_s = left_out_s
        return diarizer_s + added_s

    def _moved(self, turn: SpeakerTurn) -> SpeakerTurn:
        return replace(turn, start_s=self._stream_s(turn.start_s), end_s=self._stream_s(turn.end_s))


class SpeakerScheduler:
    """Runs the steps of all streams of a diarizer."""

    def __init__(
        self, diarizer: Diarizer, *, max_speakers: int = 0, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """``max_speakers``: of each stream that says nothing else; 0: as many as the diarizer can tell apart."""
        self.cost = diarizer.cost()
        """As the diarizer measured it."""
        self._diarizer = diarizer
        self._max_speakers = max_speakers
        self.clock = clock
        self.failures = 0
        """Streams whose speakers were given up, as the diarizer failed."""
        self._step_began: float | None = None
        self._pool = ThreadPoolExecutor(max_workers=1, thread_name_prefix="speakers")
        self._lock = threading.Lock()
        self._closed = False
        self._queue: deque[Lane] = deque()
        self._busy: set[Lane] = set()

    @property
    def step_s(self) -> float:
        """How long the step under way has taken so far; 0 where there is none."""
        began = self._step_began
        return 0.0 if began is None else time.monotonic() - began

    def open(self, on_known: OnKnown) -> Lane:
        """Begin a stream.

        Args:
            on_known: called in the thread of the steps after each of this stream's; must return at once.
        """
        return Lane(self._diarizer.open_stream(self._max_speakers), self, on_known)

    def wake(self, lane: Lane) -> None:
        """Queue a stream for its step, unless it waits or is served already, or has nothing to do."""
        held: list[Lane] = []
        with self._lock:
            if self._closed or lane in self._busy or not lane.pending:
                return
            self._busy.add(lane)
            self._queue.append(lane)
            step = self._pool.submit(self._step, held)
        step.add_done_callback(partial(self._release, held))

    def _step(self, held: list[Lane]) -> None:
        """Serve the streams that wait longest; ``held`` is filled with those, whatever happens."""
        self._step_began = time.monotonic()
        try:
            self._serve(held)
        finally:
            self._step_began = None

    def _serve(self, held: list[Lane]) -> None:
        ready: list[Lane] = []
        while len(ready) < self._diarizer.batch and (lane := self._next(held)):
            lane.hand_over()
            if lane.stream.pending and not lane.ended:
                ready.append(lane)
            else:
                lane.tell()
        if ready:
            self._diarizer.step([lane.stream for lane in ready])
            for lane in ready:
                lane.tell()

    def _next(self, held: list[Lane]) -> Lane | None:
        with self._lock:
            if not self._queue:
                return None
            held.append(self._queue.popleft())
            return held[-1]

    def _release(self, held: list[Lane], step: "Future[None]") -> None:
        """After a step: streams that have more to do wait again; if it failed, they go on without speakers."""
        error = None if step.cancelled() else step.exception()
        if error is not None:
            told = [lane for lane in held if not lane.ended]
            self.failures += len(told)
            log.error("speakers: the diarizer failed; %d streams go on without", len(told), exc_info=error)
            for lane in told:
                lane.fail()
        with self._lock:
            self._busy.difference_update(held)
        for lane in held:
            self.wake(lane)

    def close(self) -> None:
        """Wait for the step under way and let the thread end; streams that still wait go on without speakers."""
        with self._lock:
            self._closed = True
        self._pool.shutdown(wait=True, cancel_futures=True)
        for lane in self._busy:
            lane.fail()
