"""A recording through an engine in this process: the other way beside `appliance.client`, without a server."""

import contextlib
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import replace
from typing import Protocol

from appliance.errors import ApplianceError
from appliance.recording.playback import LAST_WORDS_S, Pace, paced
from appliance.speech.types import SAMPLE_RATE_HZ, Samples, Snapshot

BACKLOG_S = 20.0
"""Audio that may wait in the engine; feeding stops while there is more."""

STALL_S = 120.0
"""How long the engine may make no progress before the stream is given up: far more than any pass takes."""

_POLL_S = 0.05
_REPORT_S = 0.5

Watch = Callable[[Snapshot], None]


class Stream(Protocol):
    """What `Engine.open_stream` of `appliance.speech.engine` gives, as far as it is needed here.

    ``wait`` raises `TimeoutError` while there is no final state, and what made the stream fail where it did.
    """

    @property
    def backlog_s(self) -> float: ...
    def feed(self, samples: Samples) -> None: ...
    def finish(self) -> None: ...
    def wait(self, timeout_s: float) -> Snapshot: ...
    def close(self) -> None: ...


def transcribe(
    samples: Iterable[Samples],
    open_stream: Callable[[Watch], Stream],
    watch: Watch,
    *,
    pace: Pace = "fast",
    stop: threading.Event | None = None,
) -> None:
    """Feed a stream to its end; ``watch`` gets each new state, and now and then how far it is. One call at a time.

    Setting ``stop`` ends the stream where it is; then the rest is waited for, for `LAST_WORDS_S` at most.

    Raises:
        ApplianceError: the stream can't be opened, failed, or stands still.
    """
    stop = stop or threading.Event()
    progress = _Progress(watch)
    stream = open_stream(progress.take)
    try:
        for frame in paced(samples, pace, stop):
            stream.feed(frame)
            progress.fed(len(frame) / SAMPLE_RATE_HZ, stream.backlog_s)
            _make_room(stream, stop)
        stream.finish()
        final = _rest(stream, progress, stop)
        if final is not None:
            progress.take(final)
    finally:
        stream.close()


def _make_room(stream: Stream, stop: threading.Event) -> None:
    """Wait while the engine has enough to do; a stream that failed tells so here."""
    least_s, since = stream.backlog_s, time.monotonic()
    while (backlog_s := stream.backlog_s) > BACKLOG_S and not stop.is_set():
        with contextlib.suppress(TimeoutError):
            stream.wait(_POLL_S)
        if backlog_s < least_s:
            least_s, since = backlog_s, time.monotonic()
        elif time.monotonic() - since > STALL_S:
            raise _stalled()


def _rest(stream: Stream, progress: "_Progress", stop: threading.Event) -> Snapshot | None:
    """The final state, or None when it takes too long for a stream that was told to stop. New states are progress too:
    translations come when all is heard."""
    least_s, taken, since, stopped = stream.backlog_s, progress.taken, time.monotonic(), None
    while True:
        try:
            return stream.wait(_POLL_S)
        except TimeoutError:
            now = time.monotonic()
        if stop.is_set():
            stopped = stopped or now
            if now - stopped > LAST_WORDS_S:
                return None
        if stream.backlog_s < least_s or progress.taken > taken:
            least_s, taken, since = stream.backlog_s, progress.taken, now
        elif now - since > STALL_S:
            raise _stalled()


def _stalled() -> ApplianceError:
    return ApplianceError(
        f"the engine made no progress for {STALL_S:.0f} s", "is this machine overloaded, or out of memory?"
    )


class _Progress:
    """Joins the engine's states (from its thread) with how much was fed (from ours)."""

    def __init__(self, watch: Watch) -> None:
        self._watch = watch
        self._lock = threading.Lock()
        self._last = Snapshot((), 0, "", 0.0, 0.0)
        self.taken = 0
        """How many states came."""
        self._fed_s = 0.0
        self._reported_s = 0.0

    def take(self, snapshot: Snapshot) -> None:
        with self._lock:
            self._last = snapshot
            self.taken += 1
            self._watch(snapshot)

    def fed(self, more_s: float, backlog_s: float) -> None:
        """Between texts, what is heard counts as decided: the engine says more precisely with its next state."""
        self._fed_s += more_s
        if self._fed_s - self._reported_s >= _REPORT_S:
            self._reported_s = self._fed_s
            with self._lock:
                decided_s = self._last.decided_s if self._last.tentative else self._fed_s - backlog_s
                self._watch(replace(self._last, received_s=self._fed_s, decided_s=max(0.0, decided_s)))
