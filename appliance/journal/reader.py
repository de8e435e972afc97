"""A file of a journal, read: what it tells of its stream, the lines that its records add up to, and what is damaged."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, BinaryIO

from appliance.errors import ApplianceError
from appliance.journal.changes import Lines
from appliance.journal.record import LONGEST_BYTES, VERSION, decode
from appliance.speech.types import SILENCE, Line


@dataclass(frozen=True, slots=True)
class Kept:
    """What was kept of a stream.

    Attributes:
        about: its first record: ``began`` (ISO 8601 with offset), ``session``, ``model``, ``version``, ``token``, ...
        lines: silence too; times in seconds of audio from the start of the stream.
        heard_s: of audio; up to the last line where the stream has no end.
        end: how it ended; None: it goes on, or was broken off.
        damaged: how many records are not as they were written, or missing; they are left out.
        is_torn: the last record was being written when that ended. It is left out.
    """

    about: dict[str, Any] = field(default_factory=dict)
    lines: list[Line] = field(default_factory=list)
    heard_s: float = 0.0
    end: str | None = None
    damaged: int = 0
    is_torn: bool = False

    @property
    def spoken(self) -> list[Line]:
        return [line for line in self.lines if line.speaker != SILENCE and line.text.strip()]

    @property
    def words(self) -> int:
        return sum(len(line.words) or len(line.text.split()) for line in self.spoken)


def read(file: BinaryIO) -> Kept:
    """All that can be read of it. One that is being written is read as far as it is.

    Raises:
        ApplianceError: its form is a later version's.
        OSError: the disk gives an error.
    """
    about: dict[str, Any] = {}
    lines = Lines()
    damaged, bad, expected = 0, 0, 0
    end, heard_s = None, 0.0
    is_torn = False
    for row in _rows(file):
        is_torn = not row.endswith(b"\n")
        if is_torn:
            break
        fields = decode(row)
        number = fields.get("n") if fields else None
        if fields is None or not isinstance(number, int) or number < expected:
            bad += 1
            continue
        damaged += max(bad, number - expected)
        bad, expected = 0, number + 1
        if "journal" in fields:
            about = _checked(fields)
        try:
            lines.apply(fields)
            if "over" in fields:
                end, heard_s = str(fields["over"]), float(fields["heard"])
        except (KeyError, TypeError, ValueError):
            damaged += 1
    found = lines.all()
    return Kept(about, found, max([heard_s, *(line.end_s for line in found)]), end, damaged + bad, is_torn)


def _rows(file: BinaryIO) -> Iterator[bytes]:
    while row := file.readline(LONGEST_BYTES):
        yield row


def _checked(fields: dict[str, Any]) -> dict[str, Any]:
    if fields["journal"] != VERSION:
        raise ApplianceError(
            f"this journal has form {fields['journal']}, and {VERSION} is known here",
            "read it with the release that wrote it",
        )
    return fields
