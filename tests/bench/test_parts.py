"""The parts of a measurement against a stand-in that says what it is told, late, or never ends."""

import sys
from collections.abc import Iterator

import pytest

from appliance.bench import parts, stream
from appliance.bench.clips import Clip, SpokenWord
from appliance.bench.parts import alone, long_run, parallel, quiet
from appliance.bench.servers import Server, Subject, running

STAND_IN = """
import asyncio, json, sys
from websockets.asyncio.server import serve

clients = 0

async def converse(socket):
    global clients
    clients += 1
    try:
        if clients > 2:
            await socket.send(json.dumps({"type": "error", "code": "over_capacity", "message": "full"}))
            return
        await socket.send(json.dumps({"type": "config"}))
        bytes_heard = 0
        while frame := await socket.recv():
            bytes_heard += len(frame)
            text = "one two" if bytes_heard >= 16000 else "one" if bytes_heard >= 8000 else ""
            lines = [{"text": text}] if text else []
            await socket.send(json.dumps({"lines": lines, "buffer_transcription": "three" if text else ""}))
        if "endless" in socket.request.path:
            await socket.wait_closed()
        await socket.send(json.dumps({"type": "ready_to_stop"}))
    finally:
        clients -= 1

async def main():
    async with serve(converse, "127.0.0.1", int(sys.argv[-1])):
        await asyncio.Future()

asyncio.run(main())
"""
CLIP = Clip("half", "en", bytes(16_000), "one two", "one too", (SpokenWord("one", 0.2), SpokenWord("two", 0.4)))
ENDLESS = Clip("endless", "endless", CLIP.pcm, "one two", "one two", CLIP.words)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    folder = tmp_path_factory.mktemp("stand-in")
    (folder / "server.py").write_text(STAND_IN)
    with running(Subject("stand-in", "1", (sys.executable, str(folder / "server.py"))), folder / "a.log") as started:
        yield started


def test_one_client_at_a_time(server: Server) -> None:
    found = alone(server, [CLIP, CLIP])
    assert (found.recordings, found.audio_s, found.failures, found.taken_back) == (2, 1.0, (), 0)
    assert (found.accuracy.words, found.accuracy.stream, found.accuracy.batch) == (4, 0.5, 0.5)
    assert found.commit.words == found.shown.words == 4
    assert found.commit.p50_s is not None and 0.1 <= found.commit.p50_s < 5
    assert found.drain_s is not None and found.longest_drain_s is not None and found.drain_s <= found.longest_drain_s
    assert found.peak_memory_mib > 5 and 0 <= found.cpu_s_per_audio_s < 5


def test_many_clients_some_of_them_refused(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "CLIENT_S", 1.0)
    monkeypatch.setattr(parts, "_STAGGER_S", 0.02)
    found = parallel(server, [CLIP], 4)
    assert (found.clients, found.served, found.refused, found.failures) == (4, 2, 2, ())
    assert found.audio_s == pytest.approx(2.2)
    assert found.shown.words > 0 and found.cpu_s_per_audio_s is not None


def test_one_that_never_ends_is_counted_with_what_it_heard(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stream, "DRAIN_LIMIT_S", 0.5)
    monkeypatch.setattr(stream, "_OPEN_LIMIT_S", 1.0)
    found = alone(server, [ENDLESS])
    assert found.failures == ("endless: no end within 0.5 s after the end of the audio",)
    assert (found.accuracy.words, found.accuracy.stream, found.drain_s) == (2, 0.5, None)


def test_words_where_nothing_is_said(server: Server) -> None:
    (found,) = quiet(server, [Clip("silence", "en", CLIP.pcm, "")])
    assert (found.name, found.audio_s, found.words, found.text, found.failure) == ("silence", 0.5, 2, "one two", "")


def test_a_long_run_by_its_windows(server: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(parts, "WINDOW_S", 1.0)
    found = long_run(server, [CLIP], 2.1 / 60)
    assert found.minutes == pytest.approx(2.2 / 60) and found.failure == ""
    assert found.commit_first.words == 2 and found.commit_last.words == 0
    assert found.memory_minute_10_mib > 5 and found.growth_mib == pytest.approx(0, abs=50)
