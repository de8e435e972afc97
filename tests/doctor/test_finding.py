import json

import pytest

from appliance.doctor.finding import Finding, Severity, as_json, as_rows, as_text, failed, status, worst
from appliance.errors import ApplianceError

GOOD = Finding("disk", "ok", "room")
BAD = Finding("pair", "error", 'a "file"\n\x1b[31mis\tlost', "cp a\\b c")


@pytest.mark.parametrize(
    ("severities", "wanted", "code"),
    [
        ((), "ok", 0),
        (("ok",), "ok", 0),
        (("note", "ok"), "note", 0),
        (("warning", "note"), "warning", 1),
        (("ok", "error", "warning"), "error", 2),
    ],
)
def test_the_worst_is_the_status(severities: tuple[Severity, ...], wanted: str, code: int) -> None:
    findings = [Finding("x", severity, "") for severity in severities]
    assert (worst(findings), status(findings)) == (wanted, code)


def test_text_is_aligned_and_acts_on_no_terminal() -> None:
    lines = as_text([GOOD, BAD]).splitlines()
    assert lines == [
        "ok       disk  room",
        'error    pair  a "file" [31mis lost',
        "               -> cp a\\b c",
        "",
        "1 error, 0 warning, 0 note, 1 ok",
    ]


def test_json_tells_all() -> None:
    told = json.loads(as_json([GOOD, BAD]))
    assert told["worst"] == "error"
    assert told["findings"][1] == {"check": "pair", "severity": "error", "seen": BAD.seen, "remedy": BAD.remedy}


def test_rows_have_four_fields_each() -> None:
    assert [len(row.split("\t")) for row in as_rows([GOOD, BAD]).splitlines()] == [4, 4]


def test_an_error_becomes_a_finding() -> None:
    assert failed("pair", ApplianceError("gone", "copy it")) == Finding("pair", "error", "gone", "copy it")
