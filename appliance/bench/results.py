"""What a run found, as plain records: the table, the JSON and the plot are made from these.

Times are seconds, rates are fractions of 1, memory is the resident memory of the process tree in MiB.
None stands where there was nothing to measure from.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from appliance.bench.figures import Heard, error_rate, percentile
from appliance.bench.machine import Circumstances


@dataclass(frozen=True, slots=True)
class Accuracy:
    """Of all recordings together; ``difference_points``: percentage points of the stream over batch."""

    words: int
    stream: float | None
    batch: float | None
    difference_points: float | None


@dataclass(frozen=True, slots=True)
class Spread:
    """Over all words of all recordings; ``words`` is how many there were to measure."""

    words: int
    p50_s: float | None
    p90_s: float | None


@dataclass(frozen=True, slots=True)
class Alone:
    """One client at a time, each recording once. ``drain_s`` and ``first_shown_s`` are the median of the recordings."""

    recordings: int
    audio_s: float
    accuracy: Accuracy
    commit: Spread
    shown: Spread
    first_shown_s: float | None
    drain_s: float | None
    longest_drain_s: float | None
    taken_back: int
    cpu_s_per_audio_s: float
    peak_memory_mib: float
    failures: tuple[str, ...]
    heard: tuple[Heard, ...]


@dataclass(frozen=True, slots=True)
class Parallel:
    """Many clients at once. Figures are of all that were not refused, also of those that broke (``failures``)."""

    clients: int
    served: int
    refused: int
    audio_s: float
    accuracy: Accuracy
    commit: Spread
    shown: Spread
    taken_back: int
    latest_send_s: float
    cpu_s_per_audio_s: float | None
    peak_memory_mib: float
    failures: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Quiet:
    """A sound in which nothing is said, and how many words were committed all the same."""

    name: str
    audio_s: float
    words: int
    text: str
    failure: str = ""


@dataclass(frozen=True, slots=True)
class Minute:
    """Of the long run: the words spoken in it, and the memory at its end."""

    minute: int
    commit_p90_s: float | None
    shown_p90_s: float | None
    memory_mib: float


@dataclass(frozen=True, slots=True)
class LongRun:
    """Continuous speech. ``first`` and ``last``: the words spoken in the first and the last ten minutes."""

    minutes: float
    accuracy: Accuracy
    commit_first: Spread
    commit_last: Spread
    shown_first: Spread
    shown_last: Spread
    taken_back: int
    drain_s: float | None
    cpu_s_per_audio_s: float
    memory_minute_10_mib: float
    memory_end_mib: float
    by_minute: tuple[Minute, ...]
    failure: str = ""

    @property
    def growth_mib(self) -> float:
        return self.memory_end_mib - self.memory_minute_10_mib


@dataclass(frozen=True, slots=True)
class SubjectResult:
    """A server, or a mode of it; parts that were not asked for are None or empty."""

    name: str
    version: str
    settings: dict[str, str]
    ready_s: float
    alone: Alone
    parallel: tuple[Parallel, ...] = ()
    quiet: tuple[Quiet, ...] = ()
    long_run: LongRun | None = None


@dataclass(frozen=True, slots=True)
class BenchResult:
    circumstances: Circumstances
    settings: dict[str, object]
    subjects: tuple[SubjectResult, ...]


def accuracy_of(heard: Sequence[Heard]) -> Accuracy:
    words = sum(one.words for one in heard)
    stream = error_rate(sum(one.errors for one in heard if one.words), words)
    batch = error_rate(sum(one.batch_errors for one in heard if one.words), words)
    difference = 100 * (stream - batch) if stream is not None and batch is not None else None
    return Accuracy(words, stream, batch, difference)


def spread_of(latencies_s: Sequence[float]) -> Spread:
    return Spread(len(latencies_s), percentile(latencies_s, 50), percentile(latencies_s, 90))
