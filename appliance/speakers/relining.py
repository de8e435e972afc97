"""The engine's lines, cut where the speaker changes.

Words come in order and are kept as long as their speaker may change; work for an update is that of these words, however
long the stream is.
"""

import itertools
import math
from collections import deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from appliance.speakers.assign import speakers_of
from appliance.speakers.diarizer import REVISION_S, SpeakerTurn
from appliance.speech.transcript import RETAINED_LINES
from appliance.speech.types import FIRST_SPEAKER, SILENCE, Line, Snapshot, Speaker, Word

LONGEST_WAIT_S = 10.0
"""A word waits this long for its speaker, counted in audio received; then it is shown as of the speaker before it."""


@dataclass(frozen=True, slots=True)
class Known:
    """What a diarizer knows of a stream at one moment.

    ``decided_s`` is infinite once it is over: all is diarized, or the diarizer failed.
    """

    decided_s: float = 0.0
    turns: Sequence[SpeakerTurn] = ()
    names: Mapping[Speaker, str] = field(default_factory=dict)

    @property
    def over(self) -> bool:
        return math.isinf(self.decided_s)


@dataclass(frozen=True, slots=True)
class _Piece:
    """A word, or a line of silence. ``begins``: a line of the engine's begins with it."""

    line: Line
    word: Word | None
    begins: bool

    @property
    def end_s(self) -> float:
        return self.word.end_s if self.word else self.line.end_s


class Relining:
    """The lines of a stream. Used by one thread at a time."""

    def __init__(self) -> None:
        self._closed: deque[Line] = deque()
        self._pruned = 0
        self._open: list[_Piece] = []
        self._final: list[Speaker] = []
        """Speakers of the first open pieces, which do not change any more."""
        self._before = FIRST_SPEAKER
        """Who spoke last in the closed lines."""
        self._taken_lines = 0
        self._taken_words = 0
        """How many of the engine's lines were taken whole, and words of the next one."""

    def snapshot(self, said: Snapshot, known: Known) -> Snapshot:
        """The engine's snapshot with its words by speakers; those that still wait for theirs are ``undiarized``."""
        self._take(said)
        count = self._count(known.decided_s, said.received_s)
        shown, waiting = self._open[:count], self._open[count:]
        speakers = self._speakers(shown, known)
        settled_s = known.decided_s - REVISION_S
        final = sum(1 for _ in itertools.takewhile(lambda piece: piece.end_s <= settled_s, shown))
        self._final = speakers[: max(final, len(self._final))]
        lines = self._lines(shown, speakers, known.names)
        undiarized = "".join(piece.word.text for piece in waiting if piece.word)
        diarized_s = min(known.decided_s, said.received_s)
        return replace(said, lines=lines, pruned=self._pruned, undiarized=undiarized, diarized_s=diarized_s)

    def _take(self, said: Snapshot) -> None:
        """What the engine has added since: its lines change at their end only."""
        for line in itertools.islice(said.lines, max(0, self._taken_lines - said.pruned), None):
            if line.speaker == SILENCE:
                self._open.append(_Piece(line, None, begins=True))
            for number, word in enumerate(line.words[self._taken_words :], self._taken_words):
                self._open.append(_Piece(line, word, begins=number == 0))
            self._taken_words = 0
        self._taken_lines = said.pruned + len(said.lines)
        if said.lines and said.lines[-1].words:  # it may still grow
            self._taken_lines -= 1
            self._taken_words = len(said.lines[-1].words)

    def _count(self, decided_s: float, received_s: float) -> int:
        """How many of the open pieces are shown: up to the first word that waits."""
        until_s = max(decided_s, received_s - LONGEST_WAIT_S)
        return next(
            (at for at, piece in enumerate(self._open) if piece.word and piece.end_s > until_s), len(self._open)
        )

    def _speakers(self, shown: Sequence[_Piece], known: Known) -> list[Speaker]:
        spoken = [piece.word for piece in shown if piece.word]
        final = [speaker for speaker in self._final if speaker != SILENCE]
        found = iter(speakers_of(spoken, known.turns, self._before, final))
        return [next(found) if piece.word else SILENCE for piece in shown]

    def _lines(
        self, shown: Sequence[_Piece], speakers: Sequence[Speaker], names: Mapping[Speaker, str]
    ) -> tuple[Line, ...]:
        """All lines; those that can't change any more are closed."""
        starts = [at for at, piece in enumerate(shown) if at == 0 or piece.begins or speakers[at] != speakers[at - 1]]
        edges = list(itertools.pairwise([*starts, len(shown)]))
        final = len(self._final)
        # A line may still grow while what follows it may become its speaker's.
        whole = sum(1 for _, end in edges if end < len(shown) and (end < final or (end == final and shown[end].begins)))
        made = [_line(shown[start:end], speakers[start], names) for start, end in edges]
        if whole:
            self._close(made[:whole], edges[whole - 1][1])
        return (*self._closed, *made[whole:])

    def _close(self, lines: Sequence[Line], pieces: int) -> None:
        self._closed.extend(lines)
        self._before = next((line.speaker for line in reversed(lines) if line.speaker != SILENCE), self._before)
        del self._open[:pieces]
        del self._final[:pieces]
        while len(self._closed) > RETAINED_LINES:
            self._closed.popleft()
            self._pruned += 1


def _line(pieces: Sequence[_Piece], speaker: Speaker, names: Mapping[Speaker, str]) -> Line:
    first = pieces[0].line
    words = tuple(piece.word for piece in pieces if piece.word)
    if not words:
        return first
    return Line(
        speaker,
        "".join(word.text for word in words).lstrip(),
        words[0].start_s,
        max(word.end_s for word in words),
        words,
        first.language,
        names.get(speaker),
    )
