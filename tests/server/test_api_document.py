"""docs/API.md shows messages as the server really sends them."""

import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from appliance.errors import ApplianceError
from appliance.server.files import openai, whisperx
from appliance.server.protocol import (
    _CLOSE_BY_CODE,
    PROTOCOL_VERSION,
    READY_TO_STOP,
    Options,
    config_event,
    error_event,
    line_json,
    parse_control,
)
from appliance.server.refusals import STATUS_BY_CODE, openai_error, restarting
from appliance.server.settings import Settings
from appliance.server.updates import UpdateWriter
from appliance.speech.types import FIRST_SPEAKER, Line, Snapshot, Word
from tests.server.files.test_openai import RESULT
from tests.server.running import Running, opened, receive
from tests.server.test_process import get

TEXT = (Path(__file__).parent.parent.parent / "docs" / "API.md").read_text()
EXAMPLES: dict[str, dict[str, Any]] = {
    name: json.loads(body) for name, body in re.findall(r"```json ([\w-]+)\n(.*?)```", TEXT, re.DOTALL)
}
LINE = Line(
    FIRST_SPEAKER, "And so", 0.47, 0.69, (Word(" And", 0.47, 0.47, 0.604), Word(" so", 0.69, 0.69, 0.961)), "en"
)


def shape(value: object) -> object:
    """Keys in order and types of values; numbers are alike."""
    if isinstance(value, dict):
        return {key: shape(item) for key, item in value.items()}
    if isinstance(value, list):
        return [shape(value[0])] if value else []
    return "number" if isinstance(value, int | float) and not isinstance(value, bool) else type(value).__name__


def test_config_and_errors() -> None:
    assert EXAMPLES["config"] == config_event(Settings(), Options(), EXAMPLES["config"]["session"])
    again = EXAMPLES["config-resume"]
    options = Options(language="en", mode="diff", format="s16le", resume=True)
    assert again == config_event(Settings(), options, again["session"], again["resume"])
    assert f"version {PROTOCOL_VERSION}" in TEXT.splitlines()[0]
    example = EXAMPLES["error"]
    sent = [error_event(ApplianceError(example["message"], example["hint"], code=example["code"])) for _ in range(200)]
    assert example in sent
    assert {each["retry_after_s"] for each in sent} == {5, 6, 7, 8, 9, 10}


def test_updates() -> None:
    full, diff = UpdateWriter("full", words=False), UpdateWriter("diff", words=False)
    assert shape(EXAMPLES["update"]) == shape(json.loads(full.message(Snapshot((LINE,), 0, "x", 0, 0), 0.4)))
    first = json.loads(diff.message(Snapshot((), 0, "And so", 0, 0), 0.2))
    assert EXAMPLES["snapshot"] == first
    diff.message(Snapshot((LINE, LINE), 0, "", 0, 0), 0)
    second = json.loads(diff.message(Snapshot((LINE,), 1, "my", 0, 0), 0.1))
    assert list(EXAMPLES["diff"]) == list(second)
    assert json.loads(line_json(LINE, words=True)) == EXAMPLES["line"]
    translated = replace(LINE, translation="Und so")
    assert json.loads(line_json(translated, words=False)) == EXAMPLES["translated-line"]


def test_the_end_that_a_stop_makes_is_as_the_servers() -> None:
    assert EXAMPLES["ready_to_stop"] == READY_TO_STOP
    assert EXAMPLES["ready_to_stop-restarting"] == READY_TO_STOP | {"reason": restarting().code}


@pytest.mark.parametrize("name", ["stop", "config-request", "ping"])
def test_control_messages_are_valid(name: str) -> None:
    assert parse_control(json.dumps(EXAMPLES[name])) == EXAMPLES[name]


def test_every_error_code_is_told_with_its_close_code() -> None:
    rows = re.findall(r"^\| (1\d{3}) \| (.*?) \|", TEXT, re.MULTILINE)
    told = {code: int(close) for close, codes in rows for code in re.findall(r"`(\w+)`", codes)}
    assert told == {code: int(close) for code, close in _CLOSE_BY_CODE.items()} | {"internal": 1011}


def test_every_error_code_is_told_with_its_status() -> None:
    rows = re.findall(r"^\| ([45]\d\d) \| (.*?) \|", TEXT, re.MULTILINE)
    told = {code: int(status) for status, codes in rows for code in re.findall(r"`(\w+)`", codes)}
    others = {"bad_request": 400, "unsupported_language": 400, "unsupported_audio": 400}
    assert told == {**STATUS_BY_CODE, **others}


def test_answers_to_files() -> None:
    with pytest.raises(ApplianceError) as caught:
        openai.check_model("gpt-4o-transcribe", "base")
    assert EXAMPLES["openai-error"] == openai_error(caught.value)
    asked = {"response_format": ["verbose_json"], "timestamp_granularities[]": ["segment", "word"]}
    for name, answer in (
        ("transcription", openai.answer(openai.parse({}, "base"), "transcribe", RESULT)),
        ("verbose-transcription", openai.answer(openai.parse(asked, "base"), "transcribe", RESULT)),
        ("segments", whisperx.answer(RESULT)),
    ):
        assert shape(EXAMPLES[name]) == shape(json.loads(bytes(answer.body))), name
    [events] = re.findall(r"```sse\n(.*?)```", TEXT, re.DOTALL)
    said = [json.loads(event.removeprefix("data: ")) for event in events.strip().split("\n\n")]
    written = [openai.delta_event(said[0]["delta"]), openai.done_event(replace(RESULT, segments=()))]
    assert [shape(event) for event in said] == [shape(json.loads(event[6:])) for event in written]


@pytest.mark.model
def test_health_and_control_answers(server: Running) -> None:
    for name, path in (("healthz", "/healthz"), ("readyz", "/readyz"), ("models", "/v1/models")):
        assert shape(EXAMPLES[name]) == shape(get(server, path)[1])
    with opened(server, "?format=s16le&language=en&mode=diff&resume=true") as socket:
        assert shape(receive(socket)) == shape(EXAMPLES["config-resume"])
    with opened(server) as socket:
        assert shape(receive(socket)) == shape(EXAMPLES["config"])
        for asked, answered in (("config-request", "config_changed"), ("ping", "pong")):
            socket.send(json.dumps(EXAMPLES[asked]))
            assert receive(socket) == EXAMPLES[answered]
        socket.send(json.dumps(EXAMPLES["stop"]))
        assert "lines" in receive(socket)
        assert receive(socket) == EXAMPLES["ready_to_stop"]
