"""The committed text of a stream, as lines. Words are only ever added at the end."""

from collections import deque
from dataclasses import replace

from appliance.speech.types import FIRST_SPEAKER, SENTENCE_ENDS, SILENCE, Line, Snapshot, Word

SILENCE_LINE_S = 5.0
"""A pause this long becomes a line of its own, as clients of the field's protocol expect."""

LINE_S = 30.0
"""A line this long is closed at the next sentence or utterance end, so that the work of an update stays bounded."""

LONGEST_LINE_S = 2 * LINE_S
"""A line this long is closed at the next word."""

RETAINED_LINES = 2000
"""Older lines are dropped from the front: some 16 hours of speech, and a bound all the same."""


class Transcript:
    """Lines of committed words. Used by one thread at a time."""

    def __init__(self) -> None:
        self._lines: deque[Line] = deque()
        self._pruned = 0
        self._open = False

    def close_line(self) -> None:
        """An utterance ended: what follows starts a new line if the open one is long."""
        if self._open and _duration_s(self._lines[-1]) >= LINE_S:
            self._open = False

    def append(self, words: list[Word], language: str) -> None:
        """Add committed words, in order."""
        for word in words:
            self._append_word(word, language)

    def snapshot(self, tentative: str, received_s: float, decided_s: float) -> Snapshot:
        return Snapshot(tuple(self._lines), self._pruned, tentative, received_s, decided_s)

    def _append_word(self, word: Word, language: str) -> None:
        last_end_s = self._lines[-1].end_s if self._lines else 0.0
        if word.start_s - last_end_s >= SILENCE_LINE_S:
            self._add(Line(SILENCE, "", last_end_s, word.start_s))
            self._open = False
        if self._open and (self._lines[-1].language != language or _is_full(self._lines[-1])):
            self._open = False
        if not self._open:
            self._add(Line(FIRST_SPEAKER, "", word.start_s, word.start_s, (), language))
            self._open = True
        line = self._lines[-1]
        self._lines[-1] = replace(
            line,
            text=line.text + word.text if line.text else word.text.lstrip(),
            end_s=max(line.end_s, word.end_s),
            words=(*line.words, word),
        )

    def _add(self, line: Line) -> None:
        self._lines.append(line)
        if len(self._lines) > RETAINED_LINES:
            self._lines.popleft()
            self._pruned += 1


def _duration_s(line: Line) -> float:
    return line.end_s - line.start_s


def _is_full(line: Line) -> bool:
    ends_sentence = line.text.endswith(SENTENCE_ENDS)
    return _duration_s(line) >= (LINE_S if ends_sentence else LONGEST_LINE_S)
