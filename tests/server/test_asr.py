"""Clients of the field, and ours, against a real server with real speech."""

import itertools
import json
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from websockets.exceptions import ConnectionClosed

from appliance.client import Transcript
from appliance.words import normalise
from tests.conftest import Spoken
from tests.server.running import (
    Message,
    Running,
    committed,
    field_client,
    opened,
    pcm,
    pieces,
    receive,
    running,
    updates,
    wait_decoding,
    webm,
    word_errors,
)

pytestmark = pytest.mark.model


@pytest.mark.parametrize("path", ["asr", "/asr"])
def test_field_client_gets_its_words(server: Running, librivox: tuple[Spoken, ...], path: str) -> None:
    spoken = librivox[0]
    with opened(server, path=path) as socket:
        messages = field_client(socket, pieces(pcm(spoken.path)))
    config, final = messages[0], updates(messages)[-1]
    assert config["type"] == "config" and config["useAudioWorklet"] is False and config["mode"] == "full"
    assert messages[-1] == {"type": "ready_to_stop"}
    assert word_errors(spoken.transcript, committed(final)) <= 2
    assert final["status"] == "active_transcription"
    assert final["buffer_transcription"] == final["buffer_diarization"] == final["buffer_translation"] == ""
    assert final["remaining_time_transcription"] == 0.0 and final["remaining_time_diarization"] == 0
    line = next(line for line in final["lines"] if line["text"])
    assert line["speaker"] == 1 and line["detected_language"] == "en" and "words" not in line
    assert line["start"].count(":") == 2 and line["start"] < line["end"] <= "0:00:30.00"


def test_committed_text_only_grows(server: Running, librivox: tuple[Spoken, ...]) -> None:
    with opened(server) as socket:
        messages = field_client(socket, pieces(pcm(librivox[1].path)), pace_s=0.08)
    seen = [committed(update) for update in updates(messages)]
    assert len(seen) > 3
    assert any(update["buffer_transcription"] for update in updates(messages))
    for earlier, later in itertools.pairwise(seen):
        assert later.startswith(earlier)


def test_webm_stream(server: Running, librivox: tuple[Spoken, ...]) -> None:
    with opened(server) as socket:
        messages = field_client(socket, pieces(webm(librivox[0].path), 1000))
    assert word_errors(librivox[0].transcript, committed(updates(messages)[-1])) <= 2


def test_raw_float_at_another_rate(server: Running, librivox: tuple[Spoken, ...]) -> None:
    narrow = np.frombuffer(pcm(librivox[0].path), "<i2").astype("<f4") / 32768
    wide = np.repeat(narrow, 3)
    with opened(server, "?format=f32le&rate=48000&language=en") as socket:
        messages = field_client(socket, pieces(wide.astype("<f4").tobytes(), 38400))
    assert messages[0]["useAudioWorklet"] is True
    assert word_errors(librivox[0].transcript, committed(updates(messages)[-1])) <= 3


def test_diff_and_words_add_up_to_what_full_says(server: Running, librivox: tuple[Spoken, ...]) -> None:
    audio = pieces(pcm(librivox[2].path))
    with opened(server, "?language=en") as socket:
        full = updates(field_client(socket, audio))[-1]
    with opened(server, "?language=en&mode=diff&words=true") as socket:
        messages = field_client(socket, audio)
    transcript = Transcript()
    numbers = []
    for message in messages:
        transcript.apply(message)
        numbers += [message["seq"]] if "seq" in message else []
    assert messages[1]["type"] == "snapshot"
    assert numbers == list(range(1, len(numbers) + 1))
    # Two streams are not cut at the same places, so their words may differ in one or another.
    for heard in (transcript.committed, committed(full)):
        assert word_errors(librivox[2].transcript, heard) <= 4
    assert transcript.lines and "words" not in full["lines"][0]
    for line in transcript.lines:
        assert "".join(word["text"] for word in line["words"]).strip() == line["text"]
        for word in line["words"]:
            assert word["start"] <= word["end"] and 0 <= word["probability"] <= 1


def test_two_clients_get_their_own_text(server: Running, librivox: tuple[Spoken, ...]) -> None:
    def client(spoken: Spoken) -> str:
        with opened(server) as socket:
            return committed(updates(field_client(socket, pieces(pcm(spoken.path)), pace_s=0.05))[-1])

    with ThreadPoolExecutor(2) as pool:
        heard = list(pool.map(client, librivox[3:5]))
    for spoken, text in zip(librivox[3:5], heard, strict=True):
        assert word_errors(spoken.transcript, text) <= 3


def test_silence_commits_nothing(server: Running) -> None:
    with opened(server) as socket:
        final = updates(field_client(socket, pieces(bytes(32000 * 4))))[-1]
    assert final["status"] == "no_audio_detected" and committed(final) == ""


def test_no_audio_at_all_is_answered(server: Running) -> None:
    with opened(server) as socket:
        messages = field_client(socket, [])
    assert [message.get("type", "update") for message in messages] == ["config", "update", "ready_to_stop"]


def test_audio_after_the_end_is_ignored(server: Running, librivox: tuple[Spoken, ...]) -> None:
    with opened(server) as socket:
        messages = field_client(socket, [*pieces(pcm(librivox[0].path)), b"", b"\x89PNG is not audio" * 9])
    assert messages[-1] == {"type": "ready_to_stop"}


def test_text_frames_are_answered_and_never_fatal(server: Running, librivox: tuple[Spoken, ...]) -> None:
    with opened(server) as socket:
        assert receive(socket)["type"] == "config"
        sent = ["hello", "[1]", '{"type": 7}', '{"type": "dance"}', '{"type": "config", "language": "xx"}', "x" * 20000]
        codes = []
        for text in sent:
            socket.send(text)
            codes.append(receive(socket)["code"])
        assert codes == [*["bad_message"] * 3, "unknown_message", "unsupported_language", "bad_message"]
        socket.send('{"type": "ping", "id": 5}')
        assert receive(socket) == {"type": "pong", "id": 5}
        socket.send('{"type": "config", "language": "EN"}')
        assert receive(socket) == {"type": "config_changed", "language": "en"}
        for chunk in pieces(pcm(librivox[0].path)):
            socket.send(chunk)
        socket.send(json.dumps({"type": "stop"}))
        messages = [receive(socket)]
        while messages[-1].get("type") != "ready_to_stop":
            messages.append(receive(socket))
    assert word_errors(librivox[0].transcript, committed(updates(messages)[-1])) <= 2


@pytest.mark.parametrize(
    ("query", "code", "close"),
    [
        ("?language=klingon", "unsupported_language", 1008),
        ("?mode=sideways", "bad_request", 1008),
        ("?format=mp7", "bad_request", 1008),
        ("?rate=0x10", "bad_request", 1008),
        ("?words=maybe", "bad_request", 1008),
        ("?task=sing", "bad_request", 1008),
    ],
)
def test_bad_parameters_are_named(server: Running, query: str, code: str, close: int) -> None:
    with opened(server, query) as socket:
        error = receive(socket)
        with pytest.raises(ConnectionClosed):
            socket.recv(timeout=60)
        assert socket.close_code == close
    assert error["type"] == "error" and error["code"] == code and error["hint"]
    assert query.split("=")[1] in error["message"]


def test_garbage_audio(server: Running) -> None:
    with opened(server) as socket:
        messages = field_client(socket, pieces(np.random.default_rng(5).bytes(30000)))
        assert socket.close_code == 1003
    assert messages[-1]["code"] == "unsupported_audio" and messages[-1]["hint"]


def test_message_over_the_limit_is_told(server: Running) -> None:
    with opened(server) as socket:
        receive(socket)
        socket.send(bytes(1_500_000))
        assert receive(socket)["code"] == "message_too_big"
        with pytest.raises(ConnectionClosed):
            socket.recv(timeout=60)
        assert socket.close_code == 1009


def test_message_far_over_the_limit_is_cut_off_while_it_arrives(server: Running, librivox: tuple[Spoken, ...]) -> None:
    """The close frame says 1009, but a client still busy sending may find the connection broken first."""
    with opened(server) as socket:
        receive(socket)
        with pytest.raises(ConnectionClosed):
            socket.send(bytes(3_000_000))
            socket.recv(timeout=60)
        assert socket.close_code in (1009, 1006)
    with opened(server, "?language=en") as socket:
        assert committed(updates(field_client(socket, pieces(pcm(librivox[1].path))))[-1])


def test_one_client_too_many_is_told_when_to_come_back(server: Running) -> None:
    with opened(server) as one, opened(server) as two, opened(server) as three:
        assert [receive(each)["type"] for each in (one, two, three)] == ["config"] * 3
        with opened(server) as fourth:
            error = receive(fourth)
            with pytest.raises(ConnectionClosed):
                fourth.recv(timeout=60)
            assert fourth.close_code == 1013
        assert error["code"] == "over_capacity" and error["retry_after_s"] > 0
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        with opened(server) as again:
            if receive(again)["type"] == "config":
                return
        time.sleep(0.1)
    raise AssertionError("the places were not freed")


def test_client_that_vanishes_frees_its_place_threads_and_decoder(
    server: Running, librivox: tuple[Spoken, ...]
) -> None:
    tasks = Path(f"/proc/{server.process.pid}/task")
    data = webm(librivox[0].path)

    def vanish() -> None:
        with opened(server) as socket:
            receive(socket)
            socket.send(data[: len(data) // 2])
            wait_decoding(server, 1)
            socket.socket.shutdown(2)
        wait_decoding(server, 0)

    vanish()
    time.sleep(1)
    before = len(list(tasks.iterdir()))
    for _ in range(6):
        vanish()
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline and len(list(tasks.iterdir())) > before:
        time.sleep(0.1)
    # Of those that decode for all clients more may have begun.
    assert len(list(tasks.iterdir())) <= before + 6
    test_field_client_gets_its_words(server, librivox, "asr")


def test_audio_faster_than_it_can_be_heard_is_held_back_not_lost(
    flags: list[str], tmp_path: Path, librivox: tuple[Spoken, ...]
) -> None:
    with running(["--no-tls", "--max-backlog-s", "2", *flags], tmp_path) as server:
        server.wait_for("ready: base")
        with opened(server, "?language=en") as socket:
            messages = field_client(socket, pieces(b"".join(pcm(spoken.path) for spoken in librivox), 32000))
    said = " ".join(spoken.transcript for spoken in librivox)
    assert word_errors(said, committed(updates(messages)[-1])) <= 20
    assert max(update["remaining_time_transcription"] for update in updates(messages)) <= 4.0


def test_slow_reader_gets_few_updates_and_the_last_one(server: Running, librivox: tuple[Spoken, ...]) -> None:
    with opened(server, max_queue=1) as socket:
        for chunk in pieces(pcm(librivox[1].path)):
            socket.send(chunk)
        socket.send(b"")
        time.sleep(4)
        messages = [receive(socket)]
        while messages[-1].get("type") != "ready_to_stop":
            messages.append(receive(socket))
    assert word_errors(librivox[1].transcript, committed(updates(messages)[-1])) <= 4


def test_idle_client_is_ended_with_its_text(flags: list[str], tmp_path: Path, librivox: tuple[Spoken, ...]) -> None:
    with running(["--no-tls", "--idle-timeout-s", "1", *flags], tmp_path) as server:
        server.wait_for("ready: base")
        with opened(server) as socket:
            for chunk in pieces(pcm(librivox[0].path)):
                socket.send(chunk)
            messages: list[Message] = []
            with pytest.raises(ConnectionClosed):
                while True:
                    messages.append(receive(socket))
            assert socket.close_code == 1008
    assert messages[-1]["code"] == "idle_timeout"
    assert word_errors(librivox[0].transcript, committed(updates(messages)[-1])) <= 2


def test_stop_signal_gives_clients_their_last_words(
    flags: list[str], tmp_path: Path, librivox: tuple[Spoken, ...]
) -> None:
    with running(["--no-tls", *flags], tmp_path) as server:
        server.wait_for("ready: base")
        with opened(server) as socket:
            data = pcm(librivox[0].path)
            for chunk in pieces(data[: len(data) // 20 * 12]):  # within a sentence
                socket.send(chunk)
            messages: list[Message] = [receive(socket)]
            while not (updates(messages) and messages[-1]["buffer_transcription"]):
                messages.append(receive(socket))
            before = updates(messages)[-1]
            stopping = threading.Thread(target=server.stop)
            stopping.start()
            with pytest.raises(ConnectionClosed):
                while True:
                    messages.append(receive(socket))
            assert (socket.close_code, socket.close_reason) == (1012, "restarting")
            stopping.join()
        assert server.process.returncode == 0, "after STOP_S it would be 1"
    last, ready, error = messages[-3:]
    assert ready == {"type": "ready_to_stop", "reason": "restarting"}
    assert error["code"] == "restarting" and error["retry_after_s"] > 0
    assert last == updates(messages)[-1]
    assert last["buffer_transcription"] == ""
    assert len(normalise(committed(last))) > len(normalise(committed(before)))
