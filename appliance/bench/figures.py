"""From an event log to figures. Pure: no clock, no socket, no file.

A word's latency is the time since which it has stood for good, less the time at which it was spoken (its end, by the
batch run's word times). A word stands for good from the update after which neither it nor any word before it changed.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from appliance.bench.alignment import align
from appliance.bench.clips import Clip, SpokenWord
from appliance.bench.events import EventLog, word_events
from appliance.words import normalise


@dataclass(frozen=True, slots=True)
class Latency:
    """Of one word: when it was spoken, and how long it took, in seconds."""

    spoken_s: float
    latency_s: float


@dataclass(frozen=True, slots=True)
class Heard:
    """What a stream came to. ``errors``, ``batch_errors`` are of ``words``, which is 0 without a transcript."""

    name: str
    audio_s: float
    text: str
    words: int
    errors: int
    batch_errors: int
    committed: tuple[Latency, ...]
    shown: tuple[Latency, ...]
    first_shown_s: float | None
    taken_back: int
    committed_words: int


def judge(clip: Clip, log: EventLog) -> Heard:
    """All that the text of a stream and its times tell."""
    reference = normalise(clip.transcript or "", clip.language)
    known = clip.transcript is not None
    shown = standing_since(log, clip.language, shown=True)
    return Heard(
        name=clip.name,
        audio_s=clip.length_s,
        text=log.shown,
        words=len(reference),
        errors=align(reference, normalise(log.shown, clip.language)).errors if known else 0,
        batch_errors=align(reference, normalise(clip.batch, clip.language)).errors if known else 0,
        committed=latencies(clip.words, standing_since(log, clip.language, shown=False), clip.language),
        shown=latencies(clip.words, shown, clip.language),
        first_shown_s=first_shown(clip.words, log, clip.language),
        taken_back=taken_back(log, clip.language),
        committed_words=len(normalise(log.committed, clip.language)),
    )


def standing_since(log: EventLog, language: str, *, shown: bool) -> list[tuple[str, float]]:
    """The last text's words, each with the time since which it and all before it have stood unchanged."""
    since: list[tuple[str, float]] = []
    for event in word_events(log.events, language, shown=shown):
        since[event.kept :] = [(word, event.at_s) for word in event.added]
    return since


def latencies(spoken: Sequence[SpokenWord], heard: Sequence[tuple[str, float]], language: str) -> tuple[Latency, ...]:
    """Of the words that were spoken and heard alike; others have no time to measure from."""
    parts = [(part, word.end_s) for word in spoken for part in normalise(word.text, language)]
    matches = align([part for part, _ in parts], [word for word, _ in heard]).matches
    return tuple(Latency(parts[i][1], heard[j][1] - parts[i][1]) for i, j in matches)


def first_shown(spoken: Sequence[SpokenWord], log: EventLog, language: str) -> float | None:
    """Seconds from the end of the first spoken word to the first update with a word in it."""
    first = next(iter(word_events(log.events, language, shown=True)), None)
    return first.at_s - spoken[0].end_s if first and spoken else None


def taken_back(log: EventLog, language: str) -> int:
    """Committed words that an update removed or changed, and those after them, over all updates."""
    return sum(event.taken_back for event in word_events(log.events, language, shown=False))


def percentile(values: Iterable[float], percent: float) -> float | None:
    """Interpolated between the two nearest; None of nothing."""
    listed = list(values)
    return float(np.percentile(listed, percent)) if listed else None


def spoken_within(latencies: Iterable[Latency], start_s: float, end_s: float) -> list[float]:
    """Latencies of the words spoken in a window, its end excluded."""
    return [latency.latency_s for latency in latencies if start_s <= latency.spoken_s < end_s]


def error_rate(errors: int, words: int) -> float | None:
    """None where there were no words to get wrong."""
    return errors / words if words else None
