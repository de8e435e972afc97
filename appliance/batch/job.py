"""What goes between the server and the process that works on files: one JSON object a line, either way."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from appliance.errors import ApplianceError
from appliance.speakers.load import DiarizerConfig
from appliance.speakers.sortformer_config import SortformerConfig
from appliance.speech.children import check_error, pack_error
from appliance.speech.hypothesis import Task
from appliance.speech.types import Word

MAX_LINE_BYTES = 1024 * 1024
"""Far more than a segment takes, which has 448 tokens at most."""

_MOST = 2.0**53
"""More than any time, count or token."""

_CODES = (
    "error",
    "unsupported_audio",
    "too_long",
    "missing_model",
    "missing_diarizer",
    "bad_setting",
    "internal",
)
"""Of all that may go wrong with a file."""


@dataclass(frozen=True, slots=True)
class Setup:
    """How the process loads the model. ``encoder_dir``: a CTranslate2 folder with the decoder's weights too.

    ``diarizer``: what tells speakers apart, where that is wanted.
    """

    encoder_dir: str
    device: str
    compute_type: str
    threads: int
    diarizer: DiarizerConfig | None = None

    def line(self) -> bytes:
        return _line(asdict(self))

    @classmethod
    def read(cls, line: str | bytes) -> "Setup":
        fields = json.loads(line)
        if diarizer := fields.pop("diarizer"):
            sortformer = SortformerConfig(**diarizer.pop("sortformer"))
            fields["diarizer"] = DiarizerConfig(**diarizer, sortformer=sortformer)
        return cls(**fields)


@dataclass(frozen=True, slots=True)
class Job:
    """One file, and what is wanted of it.

    ``languages``: which ``auto`` chooses among; empty: all. ``words``: with a time for each word, which takes longer.
    ``max_s``: the most audio that is heard; a longer file is refused. ``diarization``: with its speakers told apart,
    where `Setup.diarizer` is; ``max_speakers``: of these, 0 for as many as can be told apart.
    """

    path: str
    language: str = "auto"
    languages: Sequence[str] = ()
    task: Task = "transcribe"
    prompt: str = ""
    temperature: float = 0.0
    words: bool = False
    max_s: float = 4 * 3600.0
    diarization: bool = False
    max_speakers: int = 0

    def line(self) -> bytes:
        return _line(asdict(self))

    @classmethod
    def read(cls, line: str) -> "Job":
        return cls(**json.loads(line))


@dataclass(frozen=True, slots=True)
class Segment:
    """A stretch of a file's text, as Whisper cuts it; times are seconds from the file's beginning.

    ``mean_log_probability``: of its tokens. ``compression_ratio``: how well its text can be packed; above 2.4 it may be
    a loop. ``speaker``: who says it, where speakers are told apart.
    """

    text: str
    start_s: float
    end_s: float
    tokens: tuple[int, ...]
    temperature: float
    mean_log_probability: float
    compression_ratio: float
    no_speech_probability: float
    words: tuple[Word, ...] = ()
    speaker: str | None = None

    def line(self) -> bytes:
        return _line({"segment": asdict(self)})


@dataclass(frozen=True, slots=True)
class Heard:
    """The end of a job: how much audio there was, and in which language. ``language`` is None where nobody speaks."""

    duration_s: float
    language: str | None

    def line(self) -> bytes:
        return _line({"heard": asdict(self)})


def error_line(error: ApplianceError) -> bytes:
    return _line({"error": pack_error(error)})


def read_answer(line: bytes) -> Segment | Heard:
    """What a line of the process says. It reads what others sent, so nothing of it is believed unchecked.

    Raises:
        ApplianceError: the job failed, and how; code ``internal``: it is no line of ours, as of a process that died.
    """
    try:
        said: Mapping[str, Any] = json.loads(line)
        if "error" in said:
            raise check_error(said["error"], _CODES)
        if "heard" in said:
            return _heard(**said["heard"])
        return _segment(**said["segment"])
    except (AttributeError, KeyError, RecursionError, TypeError, ValueError) as error:
        raise not_ours() from error


def _heard(duration_s: object, language: object) -> Heard:
    return Heard(_number(duration_s), None if language is None else _text(language))


def _segment(
    *, text: object, tokens: Sequence[object], words: Sequence[Mapping[str, Any]], speaker: object, **figures: object
) -> Segment:
    return Segment(
        text=_text(text),
        tokens=tuple(map(_token, tokens)),
        words=tuple(_word(**word) for word in words),
        speaker=None if speaker is None else _text(speaker),
        **{name: _number(figure) for name, figure in figures.items()},
    )


def _word(*, text: object, **figures: object) -> Word:
    return Word(text=_text(text), **{name: _number(figure) for name, figure in figures.items()})


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(value)
    value.encode()  # half of a character can't be sent
    return value


def _number(value: object) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not -_MOST < value < _MOST:  # nor `nan`
        raise ValueError(value)
    return value


def _token(value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value < _MOST:
        raise ValueError(value)
    return value


def not_ours() -> ApplianceError:
    """What a process says that is broken."""
    return ApplianceError(
        "the process that works on files said what it should not", "send the file again", code="internal"
    )


def _line(message: Mapping[str, Any]) -> bytes:
    return json.dumps(message, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"
