"""From the probabilities that each of a model's outputs speaks, to turns of numbered speakers, as a stream goes on."""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from appliance.speakers.diarizer import SpeakerTurn
from appliance.speech.types import FIRST_SPEAKER, Speaker

KEPT_S = 60.0
"""Turns that ended longer ago are forgotten."""

Probabilities = NDArray[np.float32]
"""Shape ``(frames, outputs)``, float32: that a speaker speaks in a frame. Several may: rows don't sum to 1."""


@dataclass(frozen=True, slots=True)
class Thresholds:
    """When an output is taken to speak: from ``onset`` on, until it falls below ``offset``.

    A pause shorter than ``shortest_pause_s`` doesn't end a turn; what is shorter than ``shortest_turn_s``, such pauses
    counted in, is no turn. The defaults lie between the two sets that NVIDIA published for its model, one for telephone
    calls (0.641, 0.561, 0.296 s, 0.511 s) and one for all kinds of recordings (0.56, 1.0, 0.151 s, 0.007 s).
    """

    onset: float = 0.6
    offset: float = 0.5
    shortest_pause_s: float = 0.24
    shortest_turn_s: float = 0.24


@dataclass(slots=True)
class _Turn:
    """Of an output, in frames. ``end``: after its last frame of speech; None while it speaks."""

    output: int
    start: int
    end: int | None = None
    shown: bool = False


class Activity:
    """Who spoke when in one stream. Speakers are numbered as their first turn is long enough to be one.

    With ``max_speakers`` numbered already, what a further output says is credited to the one of these that is most
    likely in that frame: it is then rather one of them that the model has split in two.
    """

    def __init__(self, outputs: int, frame_s: float, thresholds: Thresholds, max_speakers: int = 0) -> None:
        self._frame_s, self._thresholds = frame_s, thresholds
        self._limit = min(max_speakers or outputs, outputs)
        self._frames = 0
        self._open: list[_Turn | None] = [None] * outputs
        self._closed: deque[_Turn] = deque()
        self._pause = round(thresholds.shortest_pause_s / frame_s)
        self._length = round(thresholds.shortest_turn_s / frame_s)
        self.numbers: dict[int, Speaker] = {}
        """Of the outputs that have had a turn."""

    @property
    def decided_s(self) -> float:
        """Up to where turns are known. One that is too short to be one as yet is not."""
        undecided = [turn.start for turn in self._open if turn and not turn.shown]
        return min([self._frames, *undecided]) * self._frame_s

    def turns(self, until_s: float) -> Sequence[SpeakerTurn]:
        """Those that began before this, by their start, ended by this."""
        return sorted(self._shown(until_s), key=lambda turn: (turn.start_s, turn.speaker))

    def _shown(self, until_s: float) -> Iterator[SpeakerTurn]:
        for turn in (*self._closed, *self._open):
            if turn and turn.shown and turn.start * self._frame_s < until_s:
                end = self._frames if turn.end is None else turn.end
                yield SpeakerTurn(
                    self.numbers[turn.output], turn.start * self._frame_s, min(end * self._frame_s, until_s)
                )

    def take(self, probabilities: Probabilities) -> None:
        """The stream goes on by these frames."""
        for row in probabilities:
            for output, probability in enumerate(self._within_limit(row)):
                self._hear(output, float(probability))
            self._frames += 1
            self._number()
        while self._closed and (self._frames - (self._closed[0].end or 0)) * self._frame_s > KEPT_S:
            self._closed.popleft()

    def _within_limit(self, row: Probabilities) -> Probabilities:
        if len(self.numbers) < self._limit or len(self.numbers) == len(row):
            return row
        known = list(self.numbers)
        heard = np.zeros_like(row)
        heard[known] = row[known]
        likeliest = known[int(np.argmax(row[known]))]
        heard[likeliest] = row.max()
        return heard

    def _hear(self, output: int, probability: float) -> None:
        turn = self._open[output]
        if turn is None:
            if probability >= self._thresholds.onset:
                self._open[output] = _Turn(output, self._frames)
        elif turn.end is None:
            if probability < self._thresholds.offset:
                turn.end = self._frames
                self._end_if_long_ago(turn)
        elif probability >= self._thresholds.onset:
            turn.end = None
        else:
            self._end_if_long_ago(turn)

    def _end_if_long_ago(self, turn: _Turn) -> None:
        assert turn.end is not None
        if self._frames + 1 - turn.end >= self._pause:
            self._open[turn.output] = None
            if turn.shown:
                self._closed.append(turn)

    def _number(self) -> None:
        """Show the turns that are long enough by now, and number their speakers, in the order in which they began."""
        waiting = [turn for turn in self._open if turn and not turn.shown]
        for turn in sorted(waiting, key=lambda turn: turn.start):
            end = self._frames if turn.end is None else turn.end
            if end - turn.start < self._length:
                continue
            if turn.output not in self.numbers:
                if len(self.numbers) == self._limit:
                    self._open[turn.output] = None
                    continue
                self.numbers[turn.output] = Speaker(FIRST_SPEAKER + len(self.numbers))
            turn.shown = True
