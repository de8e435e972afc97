"""All that was said in one stream, collected from its snapshots, and the forms in which it is given out."""

import itertools
import json
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Literal

from appliance.recording.subtitles import cues, speaker_names, to_srt, to_vtt
from appliance.speech.types import SILENCE, Line, Snapshot, Speaker, Word

Format = Literal["text", "srt", "vtt", "json"]
FORMATS: tuple[Format, ...] = ("text", "srt", "vtt", "json")


class Transcription:
    """The transcript of a stream as it grows, whichever way it comes: `appliance.client` or
    `appliance.recording.local`.

    Snapshots hold the latest lines only; this keeps every line since the beginning, so it grows with the
    recording (some 10 MB for an hour with words). One thread at a time.

    Args:
        offset_s: where the stream begins in the recording; added to all times given out.
    """

    def __init__(self, offset_s: float = 0.0) -> None:
        self._offset_s = offset_s
        self._lines: list[Line] = []
        self.tentative = ""
        """Text after the lines: what waits for its speaker, and what may still change."""
        self.received_s = 0.0
        """Seconds of audio that came in."""
        self.decided_s = 0.0
        """Seconds of audio that are turned into text, or known to be silence."""

    def update(self, snapshot: Snapshot) -> None:
        self._lines[snapshot.pruned :] = snapshot.lines
        self.tentative = f"{snapshot.undiarized} {snapshot.tentative}".strip()
        self.received_s = max(self.received_s, snapshot.received_s)
        self.decided_s = max(self.decided_s, snapshot.decided_s)

    @property
    def text(self) -> str:
        """The committed text."""
        return " ".join(text for line in self._lines if (text := line.text.strip()))

    @property
    def lag_s(self) -> float:
        return max(0.0, self.received_s - self.decided_s)

    @property
    def position_s(self) -> float:
        """How far in the recording the transcript is."""
        return self._offset_s + self.decided_s

    @property
    def lines(self) -> list[Line]:
        """Committed lines but silence, with times in the recording."""
        return [_moved(line, self._offset_s) for line in self._lines if line.speaker != SILENCE and line.text.strip()]

    def render(self, form: Format) -> str:
        """The whole transcript in one form; see `render`."""
        return render(self.lines, self.received_s, form)


def render(lines: Sequence[Line], duration_s: float, form: Format) -> str:
    """Lines as a text, subtitles or a JSON object (see docs/transcribe.md); ends with a newline.

    Where there are several speakers, all but JSON name them. A translation stands below what it is of.
    """
    if form == "srt":
        return to_srt(cues(lines, named=True))
    if form == "vtt":
        return to_vtt(cues(lines))
    if form == "json":
        return json.dumps(_json(lines, duration_s), ensure_ascii=False, indent=2) + "\n"
    names = speaker_names(lines)
    if any(line.translation for line in lines):
        return _text_in_two_languages(lines, names)
    if len(names) < 2:
        return f"{_text(lines)}\n"
    turns = itertools.groupby(lines, lambda line: line.speaker)
    return "".join(f"{names[speaker]}: {_text(turn)}\n" for speaker, turn in turns)


def _text(lines: Iterable[Line]) -> str:
    return " ".join(line.text.strip() for line in lines)


def _text_in_two_languages(lines: Sequence[Line], names: Mapping[Speaker, str]) -> str:
    """A paragraph for each line."""
    return (
        "\n\n".join(
            "\n".join(
                filter(None, (f"{names[line.speaker]}: " * (len(names) > 1) + line.text.strip(), line.translation))
            )
            for line in lines
        )
        + "\n"
    )


def _json(lines: Sequence[Line], duration_s: float) -> dict[str, Any]:
    return {
        "text": _text(lines),
        "language": _language(lines),
        "duration": round(duration_s, 2),
        "lines": [
            {
                "speaker": line.speaker,
                **({"name": line.name} if line.name else {}),
                "text": line.text.strip(),
                "start": round(line.start_s, 2),
                "end": round(line.end_s, 2),
                "language": line.language,
                **({"translation": line.translation} if line.translation else {}),
                "words": [_word(word) for word in line.words],
            }
            for line in lines
        ],
    }


def _moved(line: Line, by_s: float) -> Line:
    words = tuple(replace(word, start_s=word.start_s + by_s, end_s=word.end_s + by_s) for word in line.words)
    return replace(line, start_s=line.start_s + by_s, end_s=line.end_s + by_s, words=words)


def _language(lines: Sequence[Line]) -> str | None:
    """The language with the most text."""
    characters: Counter[str] = Counter()
    for line in lines:
        if line.language:
            characters[line.language] += len(line.text)
    return characters.most_common(1)[0][0] if characters else None


def _word(word: Word) -> dict[str, Any]:
    return {
        "text": word.text,
        "start": round(word.start_s, 2),
        "end": round(word.end_s, 2),
        "probability": round(word.probability, 3),
    }
