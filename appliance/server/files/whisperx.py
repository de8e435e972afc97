"""`/transcribe`: a file in and segments with words out, as services around WhisperX have it."""

from dataclasses import dataclass
from typing import Any

from starlette.responses import JSONResponse, Response

from appliance.batch.job import Segment
from appliance.server.files.fields import Fields, impossible, number, one
from appliance.server.files.result import Result

MAX_SPEAKERS = 100


@dataclass(frozen=True, slots=True)
class Wanted:
    """What one request asks for. The number of speakers counts where speakers are told apart."""

    language: str
    min_speakers: int | None
    max_speakers: int | None


def parse(fields: Fields) -> Wanted:
    """What a form asks for.

    Raises:
        FieldError: a field is not possible.
    """
    least, most = _speakers(fields, "min_speakers"), _speakers(fields, "max_speakers")
    if least and most and least > most:
        raise impossible("max_speakers", str(most), f"at least min_speakers, {least}")
    return Wanted(one(fields, "language").lower(), least, most)


def _speakers(fields: Fields, name: str) -> int | None:
    value = number(fields, name, 1, MAX_SPEAKERS)
    if value is not None and value != int(value):
        raise impossible(name, one(fields, name), f"a whole number from 1 to {MAX_SPEAKERS}")
    return None if value is None else int(value)


def answer(result: Result) -> Response:
    segments = [_segment(segment) for segment in result.segments]
    words = [word for segment in segments for word in segment["words"]]
    return JSONResponse(
        {
            "segments": segments,
            "word_segments": words,
            "language": result.language or "",
            "duration": round(result.duration_s, 2),
        }
    )


def _segment(segment: Segment) -> dict[str, Any]:
    # WhisperX too leaves the speaker out where speakers are not told apart.
    speaker = {} if segment.speaker is None else {"speaker": segment.speaker}
    words = [
        {
            "word": word.text.strip(),
            "start": round(word.start_s, 2),
            "end": round(word.end_s, 2),
            "score": round(word.probability, 3),
            **speaker,
        }
        for word in segment.words
    ]
    return {
        "start": round(segment.start_s, 2),
        "end": round(segment.end_s, 2),
        "text": segment.text,
        "words": words,
        **speaker,
    }
