"""What a client or a setting may choose about the text: task, commit mode, policy, window, places."""

from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed

from tests.conftest import Spoken
from tests.server.running import (
    Running,
    committed,
    field_client,
    opened,
    pcm,
    pieces,
    receive,
    refused_start,
    running,
    updates,
    word_errors,
)
from tests.server.test_process import get

pytestmark = pytest.mark.model

LOCAL = ("--no-tls", "--host", "127.0.0.1", "--port", "0")


ENGLISH = "Take this old whisky to the blond judge who is smoking."


def heard(server: Running, spoken: Spoken, query: str = "", pace_s: float = 0.0) -> list[str]:
    """Committed text after each update."""
    with opened(server, query) as socket:
        messages = field_client(socket, pieces(pcm(spoken.path) + bytes(32_000)), pace_s=pace_s)
    assert messages[-1] == {"type": "ready_to_stop"}
    return [committed(message) for message in updates(messages)]


def is_english(text: str, french: Spoken) -> bool:
    """Whether it is nearer to the translation than to what was said: `base` leaves a word untranslated now and then."""
    return word_errors(ENGLISH, text) < word_errors(french.transcript, text)


def test_translation_is_for_the_client_that_asks(server: Running, french: Spoken) -> None:
    assert is_english(heard(server, french, "?task=translate")[-1], french)
    assert not is_english(heard(server, french)[-1], french)


def test_a_server_that_translates_unless_asked_otherwise(flags: list[str], tmp_path: Path, french: Spoken) -> None:
    with running(["--no-tls", "--task", "translate", *flags], tmp_path) as server:
        server.wait_for("ready: base")
        assert is_english(heard(server, french)[-1], french)
        assert not is_english(heard(server, french, "?task=transcribe")[-1], french)


def test_languages_limit_what_is_detected(flags: list[str], tmp_path: Path, french: Spoken) -> None:
    with running(["--no-tls", "--languages", "de,es", *flags], tmp_path) as server:
        server.wait_for("ready: base")
        with opened(server) as socket:
            last = updates(field_client(socket, pieces(pcm(french.path))))[-1]
    assert {line["detected_language"] for line in last["lines"]} <= {"de", "es"}
    assert committed(last)


@pytest.mark.parametrize("languages", ["en,tlh", "auto"])
def test_languages_the_model_lacks_end_the_server(flags: list[str], languages: str) -> None:
    status, said = refused_start([*flags, *LOCAL, "--languages", languages])
    assert status == 1 and f"unknown language: {languages.split(',')[-1]!r}" in said and "hint" in said


@pytest.mark.parametrize(
    ("given", "name"),
    [
        (["--commit", "soon"], "--commit (WLK_COMMIT) is 'soon'"),
        (["--policy", "guess"], "--policy (WLK_POLICY) is 'guess'"),
        (["--task", "sing"], "--task (WLK_TASK) is 'sing'"),
    ],
)
def test_values_that_are_not_possible_end_the_server(flags: list[str], given: list[str], name: str) -> None:
    status, said = refused_start([*flags, *LOCAL, *given])
    assert status == 2 and name in said and "hint" in said


@pytest.mark.parametrize(
    "given",
    [["--commit", "fast"], ["--commit", "accurate"], ["--window", "full"], ["--policy", "localagreement"]],
    ids=["fast", "accurate", "full window", "agreement"],
)
def test_each_way_gets_the_words(
    flags: list[str], tmp_path: Path, librivox: tuple[Spoken, ...], given: list[str]
) -> None:
    with running(["--no-tls", *given, *flags], tmp_path) as server:
        server.wait_for("ready: base")
        texts = heard(server, librivox[0], "?language=en")
    assert word_errors(librivox[0].transcript, texts[-1]) <= 3, texts[-1]


def test_accurate_commits_less_often_than_fast(flags: list[str], tmp_path: Path, librivox: tuple[Spoken, ...]) -> None:
    steps = {}
    for mode in ("fast", "accurate"):
        with running(["--no-tls", "--commit", mode, *flags], tmp_path) as server:
            server.wait_for("ready: base")
            steps[mode] = len(set(heard(server, librivox[0], "?language=en", pace_s=0.1)))
    assert steps["accurate"] < steps["fast"]


def test_the_only_place_is_refused_to_a_second_client_and_free_again(flags: list[str], tmp_path: Path) -> None:
    with running(["--no-tls", "--max-sessions", "1", *flags], tmp_path) as server:
        server.wait_for("ready: base")
        assert get(server, "/readyz")[1]["max_sessions"] == 1
        with opened(server) as first:
            assert receive(first)["type"] == "config"
            with opened(server) as second:
                error = receive(second)
                with pytest.raises(ConnectionClosed):
                    second.recv(timeout=60)
                assert second.close_code == 1013
            assert error["code"] == "over_capacity" and error["retry_after_s"] > 0
            assert error["message"] == "all 1 places are taken"
            assert get(server, "/readyz")[1]["sessions"] == 1
            assert [message["type"] for message in field_client(first, []) if "type" in message] == ["ready_to_stop"]
        with opened(server) as third:
            assert receive(third)["type"] == "config"


def test_places_are_measured_where_none_are_set(flags: list[str], tmp_path: Path) -> None:
    with running(["--no-tls", *flags], tmp_path) as server:
        assert get(server, "/readyz")[1]["max_sessions"] == 0
        found = server.wait_for(r"carries (\d+) streams at once")
        server.wait_for("ready: base")
        assert get(server, "/readyz")[1]["max_sessions"] == int(found[1]) >= 1
