import json
from typing import Any

import pytest

from appliance.batch.job import MAX_LINE_BYTES, Heard, Job, Segment, error_line, read_answer
from appliance.errors import ApplianceError
from appliance.speech.types import Word

SEGMENT = Segment(
    " Zwölf\nBoxkämpfer", 1.5, 2.5, (50364, 1234), 0.0, -0.25, 1.1, 0.01, (Word(" Zwölf", 1.5, 2.0, 0.9),), None
)


def test_what_is_written_is_read() -> None:
    job = Job("/a b", "de", ("de", "en"), "translate", 'say "Zoë"\n', 0.5, True, 60.0)
    assert job.line().endswith(b"\n") and job.line().count(b"\n") == 1
    read = Job.read(job.line().decode())
    assert read.line() == job.line() and read.prompt == job.prompt
    for answer in (SEGMENT, Heard(3.25, "de"), Heard(0.0, None)):
        assert answer.line().count(b"\n") == 1
        assert read_answer(answer.line()) == answer


def test_an_error_is_raised_where_it_is_read() -> None:
    with pytest.raises(ApplianceError) as caught:
        read_answer(error_line(ApplianceError("too much", "send less", code="too_long")))
    assert (caught.value.message, caught.value.hint, caught.value.code) == ("too much", "send less", "too_long")


def test_the_longest_segment_fits_a_line() -> None:
    """448 tokens, each a word of the longest: 30 letters of three bytes."""
    words: Any = tuple(Word("語" * 30, 14_400.123, 14_400.456, 0.123456789) for _ in range(448))
    longest = Segment("語" * 30 * 448, 0, 30, tuple(range(51_000, 51_448)), 0, -1, 1, 0, words)
    assert len(longest.line()) < MAX_LINE_BYTES
    assert json.loads(longest.line())["segment"]["text"] == longest.text
