"""The messages of the `/asr` protocol: what clients may ask for, and how answers look on the wire."""

import json
import random
from collections.abc import Mapping
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Literal

from appliance.errors import ApplianceError
from appliance.server.settings import Settings
from appliance.speech.audio.decoder import MAX_RATE_HZ, MIN_RATE_HZ, AudioFormat
from appliance.speech.hypothesis import Task
from appliance.speech.types import SAMPLE_RATE_HZ, SILENCE, Line, Snapshot

PROTOCOL_VERSION = 1
READY_TO_STOP = {"type": "ready_to_stop"}
"""All that was heard is said. With a ``reason`` the server has ended the stream: the error of this code follows."""
MAX_TEXT_CHARS = 16 * 1024

Mode = Literal["full", "diff"]


class Close(IntEnum):
    """WebSocket close codes that we use."""

    NORMAL = 1000
    UNSUPPORTED = 1003
    POLICY = 1008
    TOO_BIG = 1009
    INTERNAL = 1011
    RESTART = 1012
    TRY_LATER = 1013


_CLOSE_BY_CODE = {
    "unsupported_audio": Close.UNSUPPORTED,
    "message_too_big": Close.TOO_BIG,
    "inference_failed": Close.INTERNAL,
    "not_ready": Close.TRY_LATER,
    "over_capacity": Close.TRY_LATER,
    "too_many_sessions": Close.TRY_LATER,
    "restarting": Close.RESTART,
    "unauthorized": Close.POLICY,
    "origin": Close.POLICY,
    "bad_request": Close.POLICY,
    "unsupported_language": Close.POLICY,
    "idle_timeout": Close.POLICY,
    "unknown_session": Close.POLICY,
    "taken_over": Close.POLICY,
}
_RETRY_AFTER_S = {
    "not_ready": (2, 4),
    "over_capacity": (5, 10),
    "too_many_sessions": (5, 10),
    "too_many_files": (5, 10),
    "restarting": (4, 6),
}
"""Between these, by chance: clients that were refused together should not come back together. When a place will be free
nobody knows; that is as often as it costs nothing to ask."""
_YES, _NO = ("true", "1"), ("false", "0")
CLOSING_CODES = frozenset(_CLOSE_BY_CODE)
"""Errors that end a stream."""


@dataclass(frozen=True, slots=True)
class Options:
    """What one client asked for in its address."""

    language: str = "auto"
    task: Task = "transcribe"
    mode: Mode = "full"
    words: bool = False
    format: AudioFormat = "auto"
    rate_hz: int = SAMPLE_RATE_HZ
    diarization: bool = False
    target_language: str = ""
    """To translate into; empty: no translation."""
    resume: bool = False
    """Whether the client would come back after its connection dropped."""


def parse_options(query: Mapping[str, str], settings: Settings) -> Options:
    """Options from a query string; parameters that we don't know are left alone.

    Raises:
        ApplianceError: code ``bad_request``, naming the parameter, its value and what may stand there.
    """
    mode = _choice(query, "mode", ("full", "diff"))
    audio = _choice(query, "format", ("auto", "s16le", "f32le"))
    words = _choice(query, "words", _NO + _YES)
    resume = _choice(query, "resume", _NO + _YES)
    told_apart = _choice(query, "diarization", _YES + _NO if settings.diarization else _NO + _YES)
    if told_apart in _YES and not settings.diarization:
        raise _bad_parameter("diarization", told_apart, "false, as this server does not tell speakers apart")
    task = query.get("task") or settings.task
    if task not in ("transcribe", "translate"):
        raise _bad_parameter("task", task, "transcribe or translate")
    rate = query.get("rate") or str(SAMPLE_RATE_HZ)
    if not rate.isascii() or not rate.isdigit() or len(rate) > 6 or not MIN_RATE_HZ <= int(rate) <= MAX_RATE_HZ:
        raise _bad_parameter("rate", rate, f"a whole number of Hz from {MIN_RATE_HZ} to {MAX_RATE_HZ}")
    return Options(
        language=(query.get("language") or settings.language).lower(),
        task="translate" if task == "translate" else "transcribe",
        mode="diff" if mode == "diff" else "full",
        words=words in _YES,
        format="s16le" if audio == "s16le" else "f32le" if audio == "f32le" else "auto",
        rate_hz=int(rate),
        diarization=told_apart in _YES,
        target_language=query.get("target_language", settings.target_language) if settings.translation_dir else "",
        resume=resume in _YES,
    )


def parse_control(text: str) -> dict[str, Any]:
    """A text frame as a control message with a ``type``.

    Raises:
        ApplianceError: code ``bad_message``.
    """
    hint = 'send JSON like {"type": "stop"}; audio goes in binary frames'
    if len(text) > MAX_TEXT_CHARS:
        raise ApplianceError(f"text message of over {MAX_TEXT_CHARS} characters", hint, code="bad_message")
    try:
        message = json.loads(text)
        # What is answered with a part of it must be sayable: NaN is no JSON, and half a character is no text.
        json.dumps(message, ensure_ascii=False, allow_nan=False).encode()
    except (ValueError, RecursionError) as error:
        raise ApplianceError("text message is not JSON", hint, code="bad_message") from error
    if not isinstance(message, dict) or not isinstance(message.get("type"), str):
        raise ApplianceError("text message is no JSON object with a type", hint, code="bad_message")
    return message


def pong(message: Mapping[str, Any]) -> dict[str, Any]:
    """The answer to a ping."""
    return {"type": "pong"} | ({"id": message["id"]} if "id" in message else {})


def close_code(error: ApplianceError) -> Close:
    return _CLOSE_BY_CODE.get(error.code, Close.INTERNAL)


def error_event(error: ApplianceError) -> dict[str, Any]:
    """The one shape of errors, on the socket and over HTTP."""
    event: dict[str, Any] = {"type": "error", "code": error.code, "message": error.message, "hint": error.hint}
    if error.code in _RETRY_AFTER_S:
        event["retry_after_s"] = random.randint(*_RETRY_AFTER_S[error.code])
    return event


def config_event(
    settings: Settings, options: Options, session: str, resume: Mapping[str, Any] | None = None
) -> dict[str, Any]:
    """The server's first message. ``resume``: how the session is had back after its connection dropped."""
    event: dict[str, Any] = {
        "type": "config",
        "useAudioWorklet": settings.pcm_input or options.format != "auto",
        "mode": options.mode,
        "protocol": PROTOCOL_VERSION,
        "language": options.language,
        "diarization": options.diarization,
        "session": session,
    }
    if options.target_language:
        event["target_language"] = options.target_language
    if settings.journal:
        event["journal"] = True
    if resume:
        event["resume"] = dict(resume)
    return event


def line_json(line: Line, *, words: bool) -> str:
    """One committed line, encoded."""
    item: dict[str, Any] = {
        "speaker": int(line.speaker),
        "text": line.text.strip(),
        "start": clock(line.start_s),
        "end": clock(line.end_s),
    }
    if line.language and line.speaker != SILENCE:
        item["detected_language"] = line.language
    if line.name:
        item["name"] = line.name
    if line.translation:
        item["translation"] = line.translation
    if words:
        item["words"] = [
            {
                "text": word.text,
                "start": round(word.start_s, 2),
                "end": round(word.end_s, 2),
                "probability": round(word.probability, 3),
            }
            for word in line.words
        ]
    return dump(item)


def state_fields(snapshot: Snapshot, lag_s: float) -> dict[str, Any]:
    """What every update holds beside its lines."""
    return {
        "buffer_transcription": snapshot.tentative.strip(),
        "buffer_diarization": snapshot.undiarized.strip(),
        "buffer_translation": snapshot.translation.strip(),
        "remaining_time_transcription": round(lag_s, 1),
        "remaining_time_diarization": round(snapshot.diarization_lag_s, 1),
    }


def status_of(snapshot: Snapshot) -> str:
    said = snapshot.lines or snapshot.undiarized or snapshot.tentative.strip()
    return "active_transcription" if said else "no_audio_detected"


def clock(seconds: float) -> str:
    """``H:MM:SS.cc``, for example ``0:00:01.23``."""
    hundredths = round(max(0.0, seconds) * 100)
    minutes, rest = divmod(hundredths, 6000)
    return f"{minutes // 60}:{minutes % 60:02d}:{rest // 100:02d}.{rest % 100:02d}"


def dump(message: Mapping[str, Any]) -> str:
    return json.dumps(message, ensure_ascii=False, separators=(",", ":"))


def _choice(query: Mapping[str, str], name: str, allowed: tuple[str, ...]) -> str:
    value = query.get(name) or allowed[0]
    if value not in allowed:
        raise _bad_parameter(name, value, ", ".join(allowed))
    return value


def _bad_parameter(name: str, value: str, expected: str) -> ApplianceError:
    return ApplianceError(f"{name}={value[:40]!r} is not possible", f"expected: {expected}", code="bad_request")
