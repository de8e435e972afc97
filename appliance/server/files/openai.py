"""`/v1/audio/transcriptions` and `/v1/audio/translations`: what OpenAI's clients ask for, and how they are answered."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from starlette.responses import JSONResponse, PlainTextResponse, Response

from appliance.batch.job import Segment
from appliance.server.files import languages
from appliance.server.files.fields import Fields, choice, impossible, number, one
from appliance.server.files.result import Result
from appliance.server.protocol import dump
from appliance.server.refusals import FieldError
from appliance.speech.hypothesis import Task
from appliance.speech.types import Word

ALIAS = "whisper-1"
"""OpenAI's own name of Whisper, which programs ask for: it is whatever model is served."""

FORMATS = ("json", "text", "srt", "verbose_json", "vtt")
GRANULARITIES = ("segment", "word")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What one request asks for."""

    language: str
    prompt: str
    temperature: float
    format: str
    granularities: tuple[str, ...]
    stream: bool

    @property
    def words(self) -> bool:
        """Subtitles are cut by the times of words."""
        return "word" in self.granularities or self.format in ("srt", "vtt")


def parse(fields: Fields, model: str) -> Wanted:
    """What a form asks of the served model.

    Raises:
        FieldError: a field is not possible, or another model is asked for.
    """
    check_model(one(fields, "model", model), model)
    form = choice(fields, "response_format", FORMATS)
    stream = choice(fields, "stream", ("false", "true", "False", "True")).lower() == "true"
    if stream and form not in ("json", "text"):
        raise FieldError("stream", f"stream=true can't give {form}", "ask for response_format=json, or without stream")
    return Wanted(
        language=one(fields, "language").lower(),
        prompt=one(fields, "prompt"),
        temperature=number(fields, "temperature", 0, 1) or 0.0,
        format=form,
        granularities=_granularities(fields, form),
        stream=stream,
    )


def check_model(asked: str, served: str) -> None:
    """Raise a `FieldError` (code ``model_not_found``) for another model than the one that is served."""
    if asked not in (served, ALIAS):
        raise FieldError(
            "model",
            f"the model {asked[:80]!r} is not served here",
            f"ask for {served!r} or {ALIAS!r}, which are the same here",
            code="model_not_found",
        )


def _granularities(fields: Fields, form: str) -> tuple[str, ...]:
    """Which times are wanted; other forms than ``verbose_json`` have none."""
    name = "timestamp_granularities"
    given = [value.strip() for each in (f"{name}[]", name) for value in fields.get(each, ()) if value.strip()]
    for value in given:
        if value not in GRANULARITIES:
            raise impossible(name, value, ", ".join(GRANULARITIES))
    return tuple(given) or ("segment",) if form == "verbose_json" else ()


def answer(wanted: Wanted, task: Task, result: Result) -> Response:
    """A whole result in the form that was asked for."""
    match wanted.format:
        case "text":
            return PlainTextResponse(f"{result.text}\n")
        case "srt":
            return PlainTextResponse(result.srt())
        case "vtt":
            return PlainTextResponse(result.vtt(), media_type="text/vtt")
        case "verbose_json":
            return JSONResponse(_verbose(wanted, task, result))
        case _:
            return JSONResponse({"text": result.text, "usage": _usage(result)})


def delta_event(text: str) -> bytes:
    return sse({"type": "transcript.text.delta", "delta": text})


def done_event(result: Result) -> bytes:
    return sse({"type": "transcript.text.done", "text": result.text})


def sse(message: Mapping[str, Any]) -> bytes:
    """One server-sent event."""
    return f"data: {dump(message)}\n\n".encode()


def _verbose(wanted: Wanted, task: Task, result: Result) -> dict[str, Any]:
    answer: dict[str, Any] = {
        "task": task,
        "language": languages.name("en" if task == "translate" else result.language or ""),
        "duration": round(result.duration_s, 2),
        "text": result.text,
    }
    if "segment" in wanted.granularities:
        answer["segments"] = [_segment(number, segment) for number, segment in enumerate(result.segments)]
    if "word" in wanted.granularities:
        answer["words"] = [_word(word) for segment in result.segments for word in segment.words]
    return answer | {"usage": _usage(result)}


def _segment(number: int, segment: Segment) -> dict[str, Any]:
    return {
        "id": number,
        "seek": round(segment.start_s * 100),
        "start": round(segment.start_s, 2),
        "end": round(segment.end_s, 2),
        "text": segment.text,
        "tokens": list(segment.tokens),
        "temperature": segment.temperature,
        "avg_logprob": round(segment.mean_log_probability, 4),
        "compression_ratio": round(segment.compression_ratio, 4),
        "no_speech_prob": round(segment.no_speech_probability, 4),
    }


def _word(word: Word) -> dict[str, Any]:
    return {"word": word.text.strip(), "start": round(word.start_s, 2), "end": round(word.end_s, 2)}


def _usage(result: Result) -> dict[str, Any]:
    return {"type": "duration", "seconds": math.ceil(result.duration_s)}
