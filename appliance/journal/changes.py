"""From one state of a transcript to the next, as records; and back.

Lines are numbered from the beginning of the stream, as `Snapshot.pruned` counts them. A record sets one line anew, but
for the words of it that stay; so a line that grows costs its new words only, and one whose speaker or translation is
known later is corrected by a record without words.
"""

from collections.abc import Iterator, Mapping
from itertools import takewhile
from typing import Any

from appliance.speech.types import FIRST_SPEAKER, Line, Snapshot, Speaker, Word

NOTHING = Snapshot(lines=(), pruned=0, tentative="", received_s=0.0, decided_s=0.0)


def changes(before: Snapshot, now: Snapshot) -> Iterator[dict[str, Any]]:
    """The fields of the records that lead from one state of a stream to a later one."""
    count_before, count = before.pruned + len(before.lines), now.pruned + len(now.lines)
    if count < count_before:
        yield {"lines": count}
    for number, line in enumerate(now.lines, now.pruned):
        old = before.lines[number - before.pruned] if before.pruned <= number < count_before else None
        if old is not line and old != line:
            yield _set(number, line, old.words if old else ())
    if now.undiarized.strip() != before.undiarized.strip():
        yield {"waiting": now.undiarized.strip(), "until": round(now.decided_s, 2)}


def committed_alike(before: Snapshot, now: Snapshot) -> bool:
    """Whether no record is needed between them. Cheap, for it is asked about each snapshot."""
    return (
        before.pruned == now.pruned
        and len(before.lines) == len(now.lines)
        and before.undiarized == now.undiarized
        and all(old is line or old == line for old, line in zip(before.lines, now.lines, strict=True))
    )


def _set(number: int, line: Line, before: tuple[Word, ...]) -> dict[str, Any]:
    kept = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], zip(before, line.words, strict=False)))
    fields: dict[str, Any] = {
        "line": number,
        "kept": kept,
        "words": [
            [word.text, round(word.start_s, 2), round(word.end_s, 2), round(word.probability, 3)]
            for word in line.words[kept:]
        ],
        "speaker": int(line.speaker),
        "start": round(line.start_s, 2),
        "end": round(line.end_s, 2),
    }
    optional = {"language": line.language, "name": line.name, "translation": line.translation}
    return fields | {name: value for name, value in optional.items() if value is not None}


class Lines:
    """The lines that records add up to."""

    def __init__(self) -> None:
        self._lines: dict[int, Line] = {}
        self._waiting = ""
        self._until_s = 0.0

    def apply(self, fields: Mapping[str, Any]) -> None:
        """Take over a record; one of another kind changes nothing.

        Raises:
            KeyError, TypeError, ValueError: it is none of ours.
        """
        if "line" in fields:
            number = int(fields["line"])
            old = self._lines.get(number)
            self._lines[number] = _line(fields, old.words[: int(fields["kept"])] if old else ())
        elif "lines" in fields:
            for number in [number for number in self._lines if number >= int(fields["lines"])]:
                del self._lines[number]
        elif "waiting" in fields:
            self._waiting, self._until_s = str(fields["waiting"]), float(fields["until"])

    def all(self) -> list[Line]:
        """In order; at the end text that had no speaker yet, as of who spoke last."""
        lines = [self._lines[number] for number in sorted(self._lines)]
        if self._waiting:
            last = next((line for line in reversed(lines) if line.words), Line(FIRST_SPEAKER, "", 0.0, 0.0))
            end_s = max(line.end_s for line in [last, *lines])
            until_s = max(end_s, self._until_s)
            lines.append(Line(last.speaker, self._waiting, end_s, until_s, (), last.language, last.name))
        return lines


def _line(fields: Mapping[str, Any], before: tuple[Word, ...]) -> Line:
    new = (Word(str(text), float(start_s), float(end_s), float(p)) for text, start_s, end_s, p in fields["words"])
    words = (*before, *new)
    return Line(
        Speaker(int(fields["speaker"])),
        "".join(word.text for word in words).lstrip(),
        float(fields["start"]),
        float(fields["end"]),
        words,
        fields.get("language"),
        fields.get("name"),
        fields.get("translation"),
    )
