"""What a server has said so far: `/asr` updates of either mode, put together as docs/API.md says."""

from dataclasses import dataclass, field
from typing import Any

from appliance.speech.types import Line, Snapshot, Speaker, Word


@dataclass
class Transcript:
    """What the server has said so far, kept by `apply`.

    ``lines``: as they came. ``undiarized``: committed text after them whose speaker is not known yet. ``pruned``: how
    many lines fell off the front; their text stays in ``committed``.
    ``sent_s``: seconds of audio sent; ``received_s``: those of it that the server is known to have read;
    ``decided_s``: those of it that were turned into text, or known to be silence, at the last update.
    """

    lines: list[dict[str, Any]] = field(default_factory=list)
    undiarized: str = ""
    tentative: str = ""
    tentative_translation: str = ""
    lag_s: float = 0.0
    pruned: int = 0
    pruned_text: str = ""
    sent_s: float = 0.0
    received_s: float = 0.0
    decided_s: float = 0.0
    _typed: list[Line] = field(default_factory=list)

    @property
    def committed(self) -> str:
        return " ".join(filter(None, [self.pruned_text, *(line.get("text") or "" for line in self.lines)]))

    def snapshot(self) -> Snapshot:
        """The same as the server's own picture of it."""
        return Snapshot(
            tuple(self._typed),
            self.pruned,
            self.tentative,
            self.received_s,
            self.decided_s,
            self.undiarized,
            translation=self.tentative_translation,
        )

    def apply(self, message: dict[str, Any]) -> None:
        """Take over an update of either mode; other messages are ignored."""
        if "lines" in message:
            if message.get("type") == "snapshot":
                self._prune(message.get("lines_pruned", 0) - self.pruned)
            self.lines = list(message["lines"])
            self._typed = [_line(item) for item in self.lines]
        elif message.get("type") == "diff":
            new = message.get("new_lines", [])
            self._prune(message.get("lines_pruned", 0))
            kept = max(0, message["n_lines"] - len(new))
            self.lines = self.lines[:kept] + new
            self._typed = self._typed[:kept] + [_line(item) for item in new]
        else:
            return
        self.undiarized = message.get("buffer_diarization", "")
        self.tentative = message.get("buffer_transcription", "")
        self.tentative_translation = message.get("buffer_translation", "")
        self.lag_s = message.get("remaining_time_transcription", 0.0)
        self.decided_s = max(self.decided_s, self.received_s - self.lag_s)

    def _prune(self, count: int) -> None:
        """That many lines fell off the front."""
        count = max(0, count)
        texts = (line.get("text") or "" for line in self.lines[:count])
        self.pruned_text = " ".join(filter(None, [self.pruned_text, *texts]))
        self.pruned += count
        self.lines, self._typed = self.lines[count:], self._typed[count:]


def _line(item: dict[str, Any]) -> Line:
    words = (Word(word["text"], word["start"], word["end"], word["probability"]) for word in item.get("words", ()))
    return Line(
        Speaker(item["speaker"]),
        item.get("text") or "",
        _seconds(item["start"]),
        _seconds(item["end"]),
        tuple(words),
        item.get("detected_language"),
        item.get("name"),
        item.get("translation"),
    )


def _seconds(clock: str) -> float:
    """Seconds of ``H:MM:SS.cc``."""
    hours, minutes, seconds = clock.split(":")
    return 3600 * int(hours) + 60 * int(minutes) + float(seconds)
