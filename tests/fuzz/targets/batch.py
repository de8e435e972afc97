"""What the process that works on files says to the server: it decodes what clients sent, and may die of it."""

from collections.abc import Iterator

from appliance.batch.job import Heard, Segment, error_line, read_answer
from appliance.errors import ApplianceError
from appliance.server.files.openai import FORMATS, GRANULARITIES, Wanted
from appliance.server.files.openai import answer as told
from appliance.server.files.result import Result
from appliance.speech.types import Word
from tests.fuzz.watch import Finding, documented


def seeds() -> Iterator[bytes]:
    yield Segment(" Zwölf", 1.5, 2.5, (50364, 1), 0.0, -0.25, 1.1, 0.01, (Word(" Zwölf", 1.5, 2.0, 0.9),)).line()
    yield Heard(3.25, "de").line()


def words() -> Iterator[bytes]:
    yield error_line(ApplianceError("too much", "send less", code="too_long"))
    yield from (b'"segment":', b'"heard":', b'"error":', b'"words":[]', b'"tokens":[]', b"null", b"[" * 900, b"1e999")


def one(data: bytes) -> bool:
    try:
        answer = read_answer(data)
    except ApplianceError as error:
        documented(error)
        if not f"{error.message}{error.hint}".isprintable():
            raise Finding(repr(error)) from error
        return error.code != "internal"
    if isinstance(answer, Segment):
        result = Result([answer], 30.0, "de")
    else:
        result = Result([], answer.duration_s, answer.language)
    for form in FORMATS:
        told(Wanted("de", "", 0.0, form, GRANULARITIES, False), "transcribe", result)
    return True
