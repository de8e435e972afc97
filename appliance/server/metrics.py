"""What Prometheus reads at /metrics. Figures only: nothing of what was said, and no client's name or address.

Labels have few values, so that a long life and many clients make no more series. All methods may be called from any
thread and cost microseconds.
"""

import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import prometheus_client
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info, ProcessCollector

from appliance import __version__
from appliance.journal.writer import Journal
from appliance.server.refusals import ERROR_CODES
from appliance.speech.scheduler import Turn
from appliance.speech.types import Snapshot

if TYPE_CHECKING:
    from appliance.server.settings import Settings

CONTENT_TYPE = prometheus_client.CONTENT_TYPE_LATEST
_LAG_BUCKETS_S = (0.25, 0.5, 0.75, 1, 1.5, 2, 3, 5, 10, 20, 30, 60)
_TURN_BUCKETS_S = (0.05, 0.1, 0.2, 0.3, 0.5, 0.75, 1, 1.5, 2, 3, 5, 10)
_RECENT_S = 60.0
"""In this time the past loses half of its weight in the real-time factor."""


class Metrics:
    """The figures of a server, in a registry of its own."""

    def __init__(
        self,
        settings: "Settings",
        model: str,
        *,
        ready: Callable[[], bool],
        sessions: Callable[[], int],
        away: Callable[[], int],
        places: Callable[[], int],
        waiting: Callable[[], int],
        files: Callable[[], int],
        worker: Callable[[], int],
        undiarized: Callable[[], int],
        journal: Journal | None = None,
    ) -> None:
        """The functions are asked when the figures are read, by any thread.

        ``worker``: the process that makes passes; 0 while there is none. ``journal``: without one, none of it.
        """
        prometheus_client.disable_created_metrics()  # type: ignore[no-untyped-call]
        self._registry = registry = CollectorRegistry()
        Info("wlk", "What serves", registry=registry).info(
            {"version": __version__, "model": model, "device": settings.device}
        )
        for name, text, sample in (
            ("wlk_ready", "1 while clients are served, 0 while loading, recovering and stopping", ready),
            ("wlk_sessions_active", "Clients that stream now", sessions),
            ("wlk_sessions_away", "Of these, clients whose connection dropped and that may come back", away),
            ("wlk_sessions_limit", "Clients that may stream at once; 0 until that is measured", places),
            ("wlk_queue_depth", "Streams that wait for their turn", waiting),
            ("wlk_files_pending", "Files that are sent, wait, or are worked on", files),
            ("wlk_diarization_failures", "Streams whose speakers were given up: the diarizer failed", undiarized),
        ):
            Gauge(name, text, registry=registry).set_function(sample)
        if journal:
            _add_journal(journal, registry)
        self._sessions = Counter("wlk_sessions", "Sessions that began", registry=registry)
        self._resumed = Counter("wlk_session_resumes", "Clients that came back to their session", registry=registry)
        self._ends = Counter(
            "wlk_session_ends", "Sessions that ended: done, gone, or the code of an error", ["how"], registry=registry
        )
        self._refusals = Counter(
            "wlk_refusals", "Clients that were refused, by the code of the error", ["code"], registry=registry
        )
        for code in sorted(ERROR_CODES):  # there from the beginning, so that the first one is seen as an increase
            self._ends.labels(code)
            self._refusals.labels(code)
        self._audio = Counter("wlk_audio_seconds", "Audio that clients have streamed", registry=registry)
        self._file_audio = Counter("wlk_file_audio_seconds", "Audio of files that were worked on", registry=registry)
        self._words = Counter("wlk_committed_words", "Words that became final", registry=registry)
        self._passes = Counter("wlk_passes", "Inference passes", registry=registry)
        self._replaced = Counter(
            "wlk_inference_replacements", "Processes for inference that died or hung, replaced", registry=registry
        )
        self._failed = Counter("wlk_failed_streams", "Streams that an error in a step ended", registry=registry)
        self._lag = Histogram(
            "wlk_lag_seconds",
            "How far text is behind the audio that has come in, each time that text changes",
            buckets=_LAG_BUCKETS_S,
            registry=registry,
        )
        self._speaker_lag = Histogram(
            "wlk_diarization_lag_seconds",
            "How far speakers are behind the audio that has come in, each time that text changes, where told apart",
            buckets=_LAG_BUCKETS_S,
            registry=registry,
        )
        self._turns = Histogram(
            "wlk_step_seconds",
            "Time of a step: the passes of a batch, made together",
            buckets=_TURN_BUCKETS_S,
            registry=registry,
        )
        self._factor = _Factor()
        Gauge(
            "wlk_real_time_factor",
            "Seconds of work for a second of audio, of all streams, mostly in the last minutes",
            registry=registry,
        ).set_function(lambda: self._factor.value)
        ProcessCollector(registry=registry)
        ProcessCollector("inference", pid=lambda: worker() or "none", registry=registry)

    def text(self) -> bytes:
        """All figures in Prometheus' text format. Reads files of /proc: not for the event loop."""
        return prometheus_client.generate_latest(self._registry)

    def began(self) -> None:
        self._sessions.inc()

    def resumed(self) -> None:
        self._resumed.inc()

    def ended(self, how: str) -> None:
        """``how``: ``done``, ``gone``, or the code of an error."""
        self._ends.labels(how if how in ("done", "gone") else _known(how)).inc()

    def refused(self, code: str) -> None:
        self._refusals.labels(_known(code)).inc()

    def received(self, seconds: float) -> None:
        """A client's audio came in."""
        self._audio.inc(seconds)

    def heard_file(self, seconds: float) -> None:
        """A file was worked on, to its end."""
        self._file_audio.inc(seconds)

    def showed(self, snapshot: Snapshot) -> None:
        """A client's text changed."""
        self._lag.observe(snapshot.lag_s)
        if snapshot.diarized_s is not None:
            self._speaker_lag.observe(snapshot.diarization_lag_s)

    def took(self, turn: Turn) -> None:
        """The engine made a turn."""
        if turn.passes:
            self._turns.observe(turn.seconds)
        self._passes.inc(turn.passes)
        self._words.inc(turn.words)
        self._failed.inc(turn.failed)
        self._factor.add(turn)

    def replaced(self) -> None:
        """The process that makes passes died or hung, and another took over."""
        self._replaced.inc()


def _add_journal(journal: Journal, registry: CollectorRegistry) -> None:
    for name, text, sample in (
        ("wlk_journal_failing", "1 while the journal can't be written", lambda: journal.state == "failing"),
        (
            "wlk_journal_behind_seconds",
            "How long the oldest committed word that is not on disk has waited",
            lambda: journal.behind_s,
        ),
        ("wlk_journal_bytes", "What the journal takes on its disk", lambda: journal.bytes),
        ("wlk_journal_lost_streams", "Streams that ended and lack something in the journal", lambda: journal.lost),
    ):
        Gauge(name, text, registry=registry).set_function(sample)


def _known(code: str) -> str:
    return code if code in ERROR_CODES else "other"


class _Factor:
    """Work over audio, in which the past counts less and less."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._at = time.monotonic()
        self._work_s = 0.0
        self._heard_s = 0.0

    def add(self, turn: Turn) -> None:
        with self._lock:
            now = time.monotonic()
            kept = 0.5 ** ((now - self._at) / _RECENT_S)
            self._at = now
            self._work_s = kept * self._work_s + turn.seconds
            self._heard_s = kept * self._heard_s + turn.heard_s

    @property
    def value(self) -> float:
        """0 before anything was heard. Without new turns it stays as it was."""
        with self._lock:
            return self._work_s / self._heard_s if self._heard_s else 0.0
