"""Snapshots to update messages: the whole state each time, or only what changed.

Encoded lines are kept, so the work for one update is that of its changed lines. (A full update is
still as long as the transcript; that is what its clients expect.)
"""

from itertools import compress, count, islice
from operator import is_not
from typing import Any

from appliance.server.protocol import Mode, dump, line_json, state_fields, status_of
from appliance.speech.types import Line, Snapshot


class UpdateWriter:
    """The updates of one client, in its mode. ``lines`` of a snapshot change only near their end; see `Snapshot`."""

    def __init__(self, mode: Mode, *, words: bool) -> None:
        self._mode = mode
        self._words = words
        self._encoded: list[str] = []
        self._lines: tuple[Line, ...] = ()
        self._pruned = 0
        self._seq = 0

    def message(self, snapshot: Snapshot, lag_s: float) -> str:
        """The next update for the client, as JSON text."""
        dropped, kept = self._take(snapshot)
        fields: dict[str, Any] = {"status": status_of(snapshot)}
        lines = self._encoded
        name = "lines"
        if self._mode == "diff":
            self._seq += 1
            fields = {"type": "snapshot" if self._seq == 1 else "diff", "seq": self._seq} | fields
            if self._seq == 1 and snapshot.pruned:
                fields["lines_pruned"] = snapshot.pruned
            if self._seq > 1:
                name, lines = "new_lines", list(islice(self._encoded, kept, None))
                fields["n_lines"] = len(self._encoded)
                if dropped:
                    fields["lines_pruned"] = dropped
        fields |= state_fields(snapshot, lag_s)
        return f'{dump(fields)[:-1]},"{name}":[{",".join(lines)}]}}'

    def _take(self, snapshot: Snapshot) -> tuple[int, int]:
        """Bring the encoded lines up to date.

        Returns:
            How many lines went away at the front, and how many of the others stayed as they were.
        """
        dropped = min(snapshot.pruned - self._pruned, len(self._encoded))
        skipped = snapshot.pruned - self._pruned - dropped
        self._pruned = snapshot.pruned
        del self._encoded[:dropped]
        kept = 0 if skipped else _same(self._lines[dropped:], snapshot.lines)
        del self._encoded[kept:]
        self._encoded += [line_json(line, words=self._words) for line in islice(snapshot.lines, kept, None)]
        self._lines = snapshot.lines
        return dropped, kept


def _same(before: tuple[Line, ...], now: tuple[Line, ...]) -> int:
    """How many lines at the front are as before. Old ones are the same objects, which is seen at once."""
    length = min(len(before), len(now))
    same = next(compress(count(), map(is_not, before, now)), length)
    while same < length and before[same] == now[same]:
        same += 1
    return same
