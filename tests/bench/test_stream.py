"""The client against servers that behave, refuse, break, and say nothing."""

import asyncio
import json
from collections.abc import Awaitable, Callable

import pytest
from websockets.asyncio.server import ServerConnection, serve

from appliance.bench import stream as module
from appliance.bench.clips import Clip
from appliance.bench.stream import Streamed, committed_text, first_message, stream

CONFIG = json.dumps({"type": "config", "useAudioWorklet": True, "mode": "full"})
CLIP = Clip("half a second", "en", bytes(15_000), "hello")

Behaviour = Callable[[ServerConnection], Awaitable[None]]


def update(text: str, tentative: str) -> str:
    lines = [{"speaker": 1, "text": text}, {"speaker": -2, "text": ""}] if text else []
    return json.dumps({"status": "active_transcription", "lines": lines, "buffer_transcription": tentative})


def streamed(behaviour: Behaviour) -> Streamed:
    async def both() -> Streamed:
        async with serve(behaviour, "127.0.0.1", 0) as server:
            port = next(iter(server.sockets)).getsockname()[1]
            return await stream(f"ws://127.0.0.1:{port}/asr", CLIP)

    return asyncio.run(both())


def test_a_stream_to_its_end() -> None:
    received: list[bytes] = []

    async def server(socket: ServerConnection) -> None:
        await socket.send(CONFIG)
        while frame := await socket.recv():
            assert isinstance(frame, bytes)
            received.append(frame)
            await socket.send(update("hello" if len(received) > 2 else "", "you" if len(received) > 3 else ""))
        await asyncio.sleep(0.2)
        await socket.send(update("hello you", ""))
        await socket.send(json.dumps({"type": "ready_to_stop"}))

    result = streamed(server)
    assert (result.outcome, result.why, result.began) == ("done", "", True)
    assert b"".join(received) == CLIP.pcm and [len(frame) for frame in received] == [3200, 3200, 3200, 3200, 2200]
    assert [(event.added, event.tentative) for event in result.log.events] == [("hello", ""), ("", "you"), (" you", "")]
    # No earlier than the audio would have been spoken; how much later is the machine's affair.
    assert all(0.99 * least < event.at_s < 10 for event, least in zip(result.log.events, (0.3, 0.4, 0.66), strict=True))
    assert result.drain_s is not None and 0.19 < result.drain_s < 10


async def full(socket: ServerConnection) -> None:
    message = {"type": "error", "code": "over_capacity", "message": "all 8 places are taken", "retry_after_s": 10}
    await socket.send(json.dumps(message))
    await socket.close(1013)


async def full_without_a_word(socket: ServerConnection) -> None:
    await socket.close(1013)


async def full_after_the_config(socket: ServerConnection) -> None:
    await socket.send(CONFIG)
    await socket.recv()
    await socket.close(1013, "later")


@pytest.mark.parametrize("server", [full, full_without_a_word, full_after_the_config])
def test_refusals(server: Behaviour) -> None:
    result = streamed(server)
    assert result.outcome == "refused"
    assert result.why and result.drain_s is None


async def broken_off(socket: ServerConnection) -> None:
    await socket.send(CONFIG)
    await socket.send(update("hel", ""))
    await socket.recv()
    await socket.close(1011)


async def error_in_the_middle(socket: ServerConnection) -> None:
    await socket.send(CONFIG)
    await socket.send(json.dumps({"status": "error", "error": "no ffmpeg"}))
    await socket.wait_closed()


async def closed_without_the_end(socket: ServerConnection) -> None:
    await socket.send(CONFIG)
    while await socket.recv():
        pass


async def another_protocol(socket: ServerConnection) -> None:
    await socket.send(json.dumps({"type": "hello"}))
    await socket.wait_closed()


async def no_json(socket: ServerConnection) -> None:
    await socket.send("hello")
    await socket.wait_closed()


@pytest.mark.parametrize(
    ("server", "why"),
    [
        (broken_off, "1011"),
        (error_in_the_middle, "no ffmpeg"),
        (closed_without_the_end, "before ready_to_stop"),
        (another_protocol, "the first message is no config"),
        (no_json, "JSONDecodeError"),
    ],
)
def test_failures(server: Behaviour, why: str) -> None:
    result = streamed(server)
    assert result.outcome == "failed"
    assert why in result.why


def test_a_server_that_never_ends_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "DRAIN_LIMIT_S", 0.3)
    monkeypatch.setattr(module, "_OPEN_LIMIT_S", 0.5)

    async def server(socket: ServerConnection) -> None:
        await socket.send(CONFIG)
        async for _ in socket:
            pass

    result = streamed(server)
    assert (result.outcome, result.why) == ("failed", "no end within 0.3 s after the end of the audio")


def test_nobody_there() -> None:
    result = asyncio.run(stream("ws://127.0.0.1:9/asr", CLIP))
    assert result.outcome == "failed" and "ConnectionRefusedError" in result.why
    assert asyncio.run(first_message("ws://127.0.0.1:9/asr")) is None


def test_committed_text_of_an_update() -> None:
    lines = [{"text": " One. "}, {"speaker": -2, "text": None}, {"speaker": -2}, {"text": "Two."}]
    assert committed_text({"lines": lines}) == "One. Two."
