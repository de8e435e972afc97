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


def changed(part: str, **fields: Any) -> bytes:
    """A good answer with other fields."""
    good = {"segment": SEGMENT, "heard": Heard(3.25, "de")}.get(part)
    row = json.loads(good.line())[part] if good else {"message": "too much", "hint": "cut it", "code": "too_long"}
    return json.dumps({part: {**row, **fields}}).encode()


@pytest.mark.parametrize(
    "line",
    [
        changed("error", code="made_up"),
        changed("error", code=["internal"]),
        changed("error", message="too much\nINFO all is well"),
        changed("error", hint="\x1b[2J"),
        changed("error", message=None),
        changed("error", hint=""),
        b'{"error": "too much"}',
        b'{"error": {}}',
        changed("segment", text=5),
        changed("segment", text="\ud800"),
        changed("segment", start_s="1"),
        changed("segment", end_s=float("nan")),
        changed("segment", temperature=float("inf")),
        changed("segment", compression_ratio=True),
        changed("segment", mean_log_probability=10**400),
        changed("segment", tokens=[-1]),
        changed("segment", tokens=[1.5]),
        changed("segment", tokens=7),
        changed("segment", speaker=1),
        changed("segment", more=1),
        changed("segment", words=[{"text": " a", "start_s": 0, "end_s": None, "probability": 1}]),
        changed("segment", words=[{"text": " a", "start_s": 0, "end_s": 1}]),
        changed("heard", duration_s=float("inf")),
        changed("heard", language={"de": 1}),
        changed("heard", more=1),
    ],
)
def test_what_such_a_process_never_says_is_not_believed(line: bytes) -> None:
    """From one that was taken over by what it decoded."""
    with pytest.raises(ApplianceError, match="said what it should not") as refused:
        read_answer(line)
    assert refused.value.code == "internal" and refused.value.hint


def test_what_it_may_say_is() -> None:
    """The changes above are what was refused."""
    assert read_answer(changed("segment")) == SEGMENT and read_answer(changed("heard")) == Heard(3.25, "de")
    with pytest.raises(ApplianceError, match="too much"):
        read_answer(changed("error"))


def test_the_longest_segment_fits_a_line() -> None:
    """448 tokens, each a word of the longest: 30 letters of three bytes."""
    words: Any = tuple(Word("語" * 30, 14_400.123, 14_400.456, 0.123456789) for _ in range(448))
    longest = Segment("語" * 30 * 448, 0, 30, tuple(range(51_000, 51_448)), 0, -1, 1, 0, words)
    assert len(longest.line()) < MAX_LINE_BYTES
    assert json.loads(longest.line())["segment"]["text"] == longest.text
