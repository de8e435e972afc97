"""All that was heard in a file, and its text and subtitles."""

from collections.abc import Sequence
from dataclasses import dataclass

from appliance.batch.job import Segment
from appliance.recording.subtitles import cues, to_srt, to_vtt
from appliance.speech.types import FIRST_SPEAKER, Line


@dataclass(frozen=True, slots=True)
class Result:
    """``language`` is None where nobody speaks."""

    segments: Sequence[Segment]
    duration_s: float
    language: str | None

    @property
    def text(self) -> str:
        return "".join(segment.text for segment in self.segments).strip()

    def srt(self) -> str:
        return to_srt(cues(self._lines()))

    def vtt(self) -> str:
        return to_vtt(cues(self._lines()))

    def _lines(self) -> list[Line]:
        return [
            Line(FIRST_SPEAKER, segment.text, segment.start_s, segment.end_s, segment.words, self.language)
            for segment in self.segments
        ]
