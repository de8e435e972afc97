"""Several streams of one recording, each a speaker, as one transcript by time."""

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import replace

from appliance.recording.text_breaks import PAUSE_S
from appliance.speech.types import SENTENCE_ENDS, Line, Speaker, Word


def by_time(speakers: Sequence[Sequence[Line]]) -> list[Line]:
    """The lines of all, in order of time; the first stream is speaker 1.

    A line is cut at a sentence's end or a pause where another one spoke meanwhile: there turns change. Its translation,
    of which nobody knows what belongs to which words, stays with the first part.
    """
    pieces = [
        (piece, Speaker(number), at)
        for number, lines in enumerate(speakers, 1)
        for at, line in enumerate(lines)
        for piece in _pieces(line)
    ]
    pieces.sort(key=lambda item: item[0].start_s)
    turns = itertools.groupby(pieces, lambda item: item[1:])
    return [_joined([piece for piece, _, _ in turn], speaker) for (speaker, _), turn in turns]


def _pieces(line: Line) -> Iterator[Line]:
    """The line cut at every place where another's turn may begin; as it is where it has no words."""
    words: list[Word] = []
    for word in line.words:
        if words and (word.start_s - words[-1].end_s >= PAUSE_S or words[-1].text.endswith(SENTENCE_ENDS)):
            yield _of(line, words)
            line, words = replace(line, translation=None), []
        words.append(word)
    yield _of(line, words) if words else line


def _of(line: Line, words: Sequence[Word]) -> Line:
    end_s = max(word.end_s for word in words)
    text = "".join(word.text for word in words)
    return replace(line, text=text, words=tuple(words), start_s=words[0].start_s, end_s=end_s)


def _joined(pieces: Sequence[Line], speaker: Speaker) -> Line:
    """Pieces of one line that follow each other, together again."""
    words = [word for piece in pieces for word in piece.words]
    line = _of(pieces[0], words) if words else pieces[0]
    return replace(line, speaker=speaker, text=line.text.strip())
