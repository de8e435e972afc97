"""What the process that works on files says to the server: it decodes what clients sent, and may die of it."""

from collections.abc import Iterator

from appliance.batch.job import Heard, Segment, error_line, read_answer
from appliance.errors import ApplianceError
from appliance.speech.types import Word


def seeds() -> Iterator[bytes]:
    yield Segment(" Zwölf", 1.5, 2.5, (50364, 1), 0.0, -0.25, 1.1, 0.01, (Word(" Zwölf", 1.5, 2.0, 0.9),)).line()
    yield Heard(3.25, "de").line()


def words() -> Iterator[bytes]:
    yield error_line(ApplianceError("too much", "send less", code="too_long"))
    yield from (b'"segment":', b'"heard":', b'"error":', b'"words":[]', b'"tokens":[]', b"null", b"[" * 900, b"1e999")


def one(data: bytes) -> bool:
    try:
        read_answer(data)
    except ApplianceError as error:
        return error.code != "internal"
    return True
