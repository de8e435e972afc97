"""Measures a diarizer: recordings whose speakers are known are fed to it at the pace at which they were spoken.

The pace is that of a clock of its own: it stands at what was fed, or, where the diarizer can't keep up, at what its CPU
time says. So a recording takes no longer than its computation, and other work on the machine changes no figure.
"""

import time
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from appliance.bench.figures import percentile
from appliance.speakers.diarizer import Diarizer, DiarizerStream, SpeakerTurn
from appliance.speech.types import SAMPLE_RATE_HZ, Samples
from appliance.speech.vad import WINDOW_SAMPLES, VadModel, VadStream
from appliance.talks.errors import DiarizationError, Spoken, diarization_error, total

_PIECE_SAMPLES = SAMPLE_RATE_HZ // 10
_GRID_HZ = 100
"""Speech is looked at every 10 ms: when its speaker was known, and whether it stayed."""


@dataclass(frozen=True, slots=True)
class Talk:
    """A recording and who speaks in it. ``kind``: the heading that its figures come under."""

    id: str
    kind: str
    samples: Samples
    turns: tuple[Spoken, ...]

    @property
    def seconds(self) -> float:
        return len(self.samples) / SAMPLE_RATE_HZ


@dataclass(frozen=True, slots=True)
class TalkResult:
    """``speakers``: how many there are, and how many were found. ``delays_s``: of every 10 ms of speech, the time from
    when it was spoken until its speaker was known. ``revised_s``: speech whose speaker was another one at last than at
    first. ``cpu_s``: of the process, ``vad_cpu_s`` of that for voice activity."""

    talk: Talk
    error: DiarizationError
    speakers: tuple[int, int]
    delays_s: tuple[float, ...]
    revised_s: float
    cpu_s: float
    vad_cpu_s: float


def measure(talk: Talk, diarizer: Diarizer, vad: VadModel, max_speakers: int = 0) -> TalkResult:
    """Stream a recording through a diarizer in pieces of 100 ms."""
    stream = diarizer.open_stream(max_speakers)
    heard = _Heard(talk)
    clock_s = cpu_s = 0.0
    for start in range(0, len(talk.samples), _PIECE_SAMPLES):
        piece = talk.samples[start : start + _PIECE_SAMPLES]
        started = time.process_time()
        stream.feed(piece)
        if start + len(piece) == len(talk.samples):
            stream.finish()
        while stream.pending:
            diarizer.step([stream])
        took_s = time.process_time() - started
        cpu_s += took_s
        clock_s = max(clock_s, (start + len(piece)) / SAMPLE_RATE_HZ) + took_s
        heard.look(stream, clock_s)
    found = [Spoken(str(turn.speaker), turn.start_s, turn.end_s) for turn in heard.turns]
    return TalkResult(
        talk,
        diarization_error(talk.turns, found),
        (len({turn.speaker for turn in talk.turns}), len({turn.speaker for turn in heard.turns})),
        tuple(heard.delays_s()),
        heard.revised_s(),
        cpu_s,
        _vad_cpu_s(talk.samples, vad),
    )


def table(results: Sequence[TalkResult]) -> str:
    """Figures as a row for each kind of recording, with the totals of all in it."""
    rows: list[tuple[str, ...]] = [("", "n", "minutes", "DER", "missed", "false", "confused", "worst", "speakers off",
             "delay p50", "p90", "max", "revised", "CPU s/s", "of it VAD")]  # fmt: skip
    for kind in dict.fromkeys(result.talk.kind for result in results):
        those = [result for result in results if result.talk.kind == kind]
        error = total([result.error for result in those])
        seconds = sum(result.talk.seconds for result in those)
        delays = [delay for result in those for delay in result.delays_s]
        rows.append(
            (
                kind,
                str(len(those)),
                f"{seconds / 60:.1f}",
                *(
                    _percent(part, error.reference_s)
                    for part in (error.wrong_s, error.missed_s, error.false_s, error.confused_s)
                ),
                f"{100 * max(result.error.rate for result in those):.1f} %",
                f"{sum(abs(real - found) for real, found in (one.speakers for one in those)) / len(those):.2f}",
                *(f"{percentile(delays, percent) or 0.0:.2f} s" for percent in (50, 90, 100)),
                _percent(sum(one.revised_s for one in those), sum(len(one.delays_s) for one in those) / _GRID_HZ),
                f"{sum(result.cpu_s for result in those) / seconds:.3f}",
                f"{sum(result.vad_cpu_s for result in those) / seconds:.3f}",
            )
        )
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return "\n".join(
        "  ".join(
            f"{cell:>{width}}" if column else f"{cell:<{width}}"
            for column, (cell, width) in enumerate(zip(row, widths, strict=True))
        )
        for row in rows
    )


class _Heard:
    """What a diarizer said of a recording, and when."""

    def __init__(self, talk: Talk) -> None:
        length = int(talk.seconds * _GRID_HZ)
        self.turns: list[SpeakerTurn] = []
        self._spoken = np.zeros(length, dtype=bool)
        for turn in talk.turns:
            self._spoken[_grid(turn.start_s) : _grid(turn.end_s)] = True
        self._known_at = np.full(length, np.nan)
        self._first: NDArray[np.int16] = np.zeros(length, dtype=np.int16)
        self._decided = 0

    def look(self, stream: DiarizerStream, clock_s: float) -> None:
        turns = list(stream.turns)
        if turns:
            begin_s = turns[0].start_s
            before = [replace(turn, end_s=min(turn.end_s, begin_s)) for turn in self.turns if turn.start_s < begin_s]
            self.turns = before + turns
        decided = min(len(self._spoken), _grid(stream.decided_s))
        self._known_at[self._decided : decided] = clock_s
        _paint(self._first, turns, self._decided, decided)
        self._decided = max(decided, self._decided)

    def delays_s(self) -> list[float]:
        spoken_at = (np.arange(len(self._spoken)) + 1) / _GRID_HZ
        return [float(delay) for delay in (self._known_at - spoken_at)[self._spoken]]

    def revised_s(self) -> float:
        last = np.zeros_like(self._first)
        _paint(last, self.turns, 0, len(last))
        return float(np.count_nonzero(self._spoken & (self._first != last))) / _GRID_HZ


def _paint(speakers: NDArray[np.int16], turns: Sequence[SpeakerTurn], begin: int, end: int) -> None:
    """Write the speakers into a grid; where turns overlap, the later one's."""
    for turn in turns:
        speakers[max(begin, _grid(turn.start_s)) : max(begin, min(end, _grid(turn.end_s)))] = turn.speaker


def _grid(time_s: float) -> int:
    return round(time_s * _GRID_HZ)


def _vad_cpu_s(samples: Samples, vad: VadModel) -> float:
    stream = VadStream(vad)
    started = time.process_time()
    for start in range(0, len(samples) - WINDOW_SAMPLES + 1, WINDOW_SAMPLES):
        stream.probability(samples[start : start + WINDOW_SAMPLES])
    return time.process_time() - started


def _percent(part: float, whole: float) -> str:
    return f"{100 * part / whole:.1f} %" if whole else "-"
