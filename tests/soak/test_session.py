"""Acts against servers that behave, and such that don't."""

import asyncio
import contextlib
import json
from collections.abc import Awaitable, Callable
from dataclasses import replace

import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from appliance.bench.clips import Clip, SpokenWord
from appliance.soak.acts import Act
from appliance.soak.session import Performed, perform
from appliance.soak.tally import Tally

PLAY = Clip("a second", "en", bytes(32_000), "hello you", "", (SpokenWord("hello", 0.3), SpokenWord("you", 0.8)))
ACT = Act(0, "s16le", False, "full", "none", 0.5, 0.3)
CONFIG = json.dumps({"type": "config", "useAudioWorklet": True, "mode": "full", "protocol": 1})

Behaviour = Callable[[ServerConnection], Awaitable[None]]


def update(text: str, tentative: str = "", start: str = "0:00:00.10", end: str = "0:00:00.90") -> str:
    lines = [{"speaker": 1, "text": text, "start": start, "end": end}] if text else []
    return json.dumps({"status": "active_transcription", "lines": lines, "buffer_transcription": tentative})


def performed(behaviour: Behaviour, act: Act = ACT, tally: Tally | None = None) -> Performed:
    async def both() -> Performed:
        async with serve(behaviour, "127.0.0.1", 0) as server:
            port = next(iter(server.sockets)).getsockname()[1]
            return await perform(act, PLAY, port, (tally or Tally(1)).present)

    return asyncio.run(both())


async def good(socket: ServerConnection) -> None:
    """Says a word after half a second of audio, and the other one at the end."""
    await socket.send(CONFIG)
    size = 0
    with contextlib.suppress(ConnectionClosed):
        async for data in socket:
            if isinstance(data, str):
                continue
            if not data:
                break
            size += len(data)
            if size >= 16_000:
                await socket.send(update("hello", "you"))
        await socket.send(update("hello you"))
        await socket.send('{"type": "ready_to_stop"}')


def test_to_the_end() -> None:
    tally = Tally(1)
    done = performed(good, tally=tally)
    assert (done.end, done.text, done.wrong, done.connections) == ("done", "hello you", [], 1)
    assert len(done.committed) == 2 and all(0 <= one.latency_s < 20 for one in done.committed)
    assert tally.busy == 1  # it has only just left


@pytest.mark.parametrize("trouble", ["pause", "silence", "slow", "stop"])
def test_what_a_stream_survives(trouble: str) -> None:
    done = performed(good, replace(ACT, trouble=trouble))  # type: ignore[arg-type]
    assert (done.end, done.wrong) == ("done", []) and done.text.startswith("hello")


def test_in_a_container() -> None:
    done = performed(good, replace(ACT, form="wav"))
    assert (done.end, done.text) == ("done", "hello you")


def test_sound_that_breaks_is_sent_on_and_refused() -> None:
    sent = bytearray()

    async def server(socket: ServerConnection) -> None:
        await socket.send(CONFIG)
        while data := await socket.recv():
            assert isinstance(data, bytes)
            sent.extend(data)
            if len(sent) >= 24_000:
                told = {"type": "error", "code": "unsupported_audio", "message": "no sound", "hint": "send some"}
                await socket.send(json.dumps(told))
                await socket.close(1007)
                return

    done = performed(server, replace(ACT, trouble="broken"))
    assert (done.end, done.code) == ("broken", "unsupported_audio")
    assert not any(sent[:12_000]) and any(sent[20_000:])


@pytest.mark.parametrize("trouble", ["drop", "leave"])
def test_a_cut_is_what_was_wanted(trouble: str) -> None:
    gone = []

    async def server(socket: ServerConnection) -> None:
        await good(socket)
        gone.append(socket.close_code)

    done = performed(server, replace(ACT, trouble=trouble, at=0.9))  # type: ignore[arg-type]
    assert (done.end, done.wrong) == ("cut", []) and done.text == "hello"
    assert gone == [1006]


async def full(socket: ServerConnection) -> None:
    await socket.send(json.dumps({"type": "error", "code": "over_capacity", "message": "all", "retry_after_s": 7}))
    await socket.close(1013)


async def broken(socket: ServerConnection) -> None:
    await socket.send(CONFIG)
    await socket.recv()
    await socket.send(json.dumps({"type": "error", "code": "internal", "message": "the session failed"}))
    await socket.close(1011)


async def silent_end(socket: ServerConnection) -> None:
    await socket.send(CONFIG)
    while await socket.recv():
        pass


def test_refused() -> None:
    done = performed(full)
    assert (done.end, done.code, done.retry_after_s) == ("refused", "over_capacity", 7.0)


@pytest.mark.parametrize(("server", "code"), [(broken, "internal"), (silent_end, "closed")])
def test_errors(server: Behaviour, code: str) -> None:
    done = performed(server)
    assert (done.end, done.code) == ("error", code) and done.why


@pytest.mark.parametrize(
    ("states", "wrong"),
    [
        ([update("hello"), update("hollow")], "committed text was changed: 'hello' to 'hollow'"),
        ([update("hello", start="0:00:02.00", end="0:00:01.00")], "a line ends before it begins"),
        ([update("hello", "you")], "the last state has tentative text: 'you'"),
    ],
)
def test_what_no_server_may_say(states: list[str], wrong: str) -> None:
    async def server(socket: ServerConnection) -> None:
        await socket.send(CONFIG)
        while await socket.recv():
            pass
        for state in states:
            await socket.send(state)
            await asyncio.sleep(0.1)
        await socket.send('{"type": "ready_to_stop"}')

    done = performed(server)
    assert done.wrong[0] == wrong
