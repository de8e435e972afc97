import json

import pytest

from appliance.batch.job import Segment
from appliance.server.files.openai import answer, delta_event, done_event, parse
from appliance.server.files.result import Result
from appliance.server.refusals import FieldError, openai_error
from appliance.speech.hypothesis import Task
from appliance.speech.types import Word

FIRST = (Word(" And", 0.12, 0.4, 0.9), Word(" so,", 0.4, 1, 0.8))
SECOND = (Word(" my", 1.5, 1.8, 0.7), Word(" fellow.", 1.8, 2.25, 1))
SEGMENTS = (
    Segment(" And so,", 0.12, 1.0, (1, 2), 0.0, -0.2, 1.0, 0.01, FIRST),
    Segment(" my fellow.", 1.5, 2.25, (3,), 0.0, -0.4, 1.0, 0.02, SECOND),
)
RESULT = Result(SEGMENTS, 3.2, "en")


def test_nothing_is_needed_but_the_file() -> None:
    wanted = parse({}, "base")
    assert (wanted.language, wanted.prompt, wanted.temperature, wanted.format) == ("", "", 0.0, "json")
    assert not wanted.stream and not wanted.words


def test_all_that_can_be_asked_for() -> None:
    fields = {
        "model": ["whisper-1"],
        "language": ["EN"],
        "prompt": [" Zoë "],
        "temperature": ["0.5"],
        "response_format": ["verbose_json"],
        "timestamp_granularities[]": ["word", "segment"],
        "chunking_strategy": ["auto"],
    }
    wanted = parse(fields, "base")
    assert (wanted.language, wanted.prompt, wanted.temperature) == ("en", "Zoë", 0.5)
    assert wanted.granularities == ("word", "segment") and wanted.words
    assert parse({"response_format": ["srt"]}, "base").words
    assert parse({"stream": ["True"]}, "base").stream and not parse({"stream": ["false"]}, "base").stream
    assert not parse({"timestamp_granularities[]": ["word"]}, "base").words


@pytest.mark.parametrize(
    ("field", "value", "code"),
    [
        ("model", "gpt-4o-transcribe", "model_not_found"),
        ("response_format", "xml", "bad_request"),
        ("temperature", "1.1", "bad_request"),
        ("temperature", "-0.1", "bad_request"),
        ("temperature", "nan", "bad_request"),
        ("temperature", "warm", "bad_request"),
        ("stream", "perhaps", "bad_request"),
        ("timestamp_granularities", "letter", "bad_request"),
    ],
)
def test_what_is_not_possible_names_its_field(field: str, value: str, code: str) -> None:
    with pytest.raises(FieldError) as caught:
        parse({field: [value]}, "base")
    body = openai_error(caught.value)["error"]
    assert (body["param"], body["code"], body["type"]) == (field, code, "invalid_request_error")
    assert value in body["message"] and caught.value.hint in body["message"]


def test_a_field_given_twice_and_forms_that_do_not_go_together() -> None:
    with pytest.raises(FieldError, match="given 2 times"):
        parse({"language": ["en", "de"]}, "base")
    with pytest.raises(FieldError, match="stream=true can't give srt"):
        parse({"stream": ["true"], "response_format": ["srt"]}, "base")


def body(form: str, *granularities: str) -> str:
    fields = {"response_format": [form], "timestamp_granularities[]": list(granularities)}
    made = answer(parse(fields, "base"), "transcribe", RESULT)
    return bytes(made.body).decode()


def test_answers() -> None:
    text = "And so, my fellow."
    assert json.loads(body("json")) == {"text": text, "usage": {"type": "duration", "seconds": 4}}
    assert body("text") == f"{text}\n"
    assert body("srt").startswith("1\n00:00:00,120 --> ") and text in body("srt").replace("\n", " ")
    assert body("vtt").startswith("WEBVTT\n\n00:00:00.120 --> ")


def test_verbose_answers_hold_the_times_that_were_asked_for() -> None:
    plain, words, both = (json.loads(body("verbose_json", *which)) for which in ((), ("word",), ("word", "segment")))
    assert "segments" in plain and "words" not in plain
    assert "segments" not in words and {"segments", "words"} <= set(both)
    assert words["words"][1] == {"word": "so,", "start": 0.4, "end": 1.0}
    assert (plain["segments"][1]["id"], plain["segments"][1]["start"], plain["duration"]) == (1, 1.5, 3.2)
    assert plain["task"] == "transcribe" and plain["language"] == "english"


@pytest.mark.parametrize(("task", "language"), [("transcribe", "chinese"), ("translate", "english")])
def test_verbose_answers_name_the_language_of_their_text(task: Task, language: str) -> None:
    made = answer(parse({"response_format": ["verbose_json"]}, "base"), task, Result(SEGMENTS, 3.2, "zh"))
    told = json.loads(bytes(made.body))
    assert (told["task"], told["language"]) == (task, language)


def test_events_are_one_line_each() -> None:
    assert delta_event("a\nb") == b'data: {"type":"transcript.text.delta","delta":"a\\nb"}\n\n'
    assert json.loads(done_event(RESULT).removeprefix(b"data: "))["text"] == RESULT.text


def test_a_file_in_which_nobody_speaks() -> None:
    silent = Result((), 5.0, None)
    made = answer(parse({"response_format": ["verbose_json"]}, "base"), "transcribe", silent)
    assert json.loads(bytes(made.body)) == {
        "task": "transcribe",
        "language": "",
        "duration": 5.0,
        "text": "",
        "segments": [],
        "usage": {"type": "duration", "seconds": 5},
    }
