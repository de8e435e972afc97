"""The client's stream against servers of canned answers: ours, and such as know the field's protocol only."""

import asyncio
import contextlib
import io
import json
from collections.abc import AsyncIterator
from typing import Any

import av
import numpy as np
import pytest
from websockets.asyncio.server import ServerConnection, serve

from appliance.client import ClientOptions, Transcript, open_stream
from appliance.errors import ApplianceError

OURS = {"type": "config", "useAudioWorklet": False, "mode": "diff", "protocol": 1, "language": "auto"}
FIELD = {"type": "config", "useAudioWorklet": False, "mode": "full"}
FIELD_PCM = FIELD | {"useAudioWorklet": True}
ABORT = "abort"
"""Instead of an answer: the connection goes away without a word."""
READY = {"type": "ready_to_stop"}
PCM = (np.arange(16000) - 8000).astype("<i2").tobytes()


def update(*texts: str, tentative: str = "") -> dict[str, Any]:
    lines = [{"speaker": 1, "text": text, "start": "0:00:01", "end": "0:00:02.50"} for text in texts]
    return {
        "status": "active_transcription",
        "lines": lines,
        "buffer_transcription": tentative,
        "buffer_diarization": "",
        "remaining_time_transcription": 0.5,
        "remaining_time_diarization": 0,
    }


class Heard:
    def __init__(self) -> None:
        self.audio = b""
        self.texts: list[dict[str, Any]] = []
        self.path = ""
        self.authorization: str | None = None


@contextlib.asynccontextmanager
async def server(config: dict[str, Any], *answers: dict[str, Any] | str) -> AsyncIterator[tuple[str, Heard]]:
    """Hears a stream to its end, then gives its answers and closes."""
    heard = Heard()

    async def answer(socket: ServerConnection) -> None:
        assert socket.request is not None
        heard.path, heard.authorization = socket.request.path, socket.request.headers.get("Authorization")
        await socket.send(json.dumps(config))
        async for data in socket:
            if isinstance(data, str):
                heard.texts.append(json.loads(data))
                await socket.send(json.dumps({"type": "pong", "id": heard.texts[-1]["id"]}))
            elif data:
                heard.audio += data
            else:
                break
        for message in answers:
            if message == ABORT:
                socket.transport.abort()
                return
            await socket.send(message if isinstance(message, str) else json.dumps(message))

    async with serve(answer, "127.0.0.1", 0) as running:
        yield f"ws://127.0.0.1:{next(iter(running.sockets)).getsockname()[1]}", heard


async def streamed(options: ClientOptions, data: bytes = PCM) -> tuple[list[str], Transcript]:
    async with open_stream(options) as stream:
        await stream.feed(data)
        await stream.finish()
        seen = [transcript.committed async for transcript in stream]
    return seen, stream.transcript


def run(config: dict[str, Any], *answers: dict[str, Any] | str, data: bytes = PCM, **options: Any) -> tuple[Any, ...]:
    """All states of the committed text, the transcript, and what the server heard."""

    async def run() -> tuple[Any, ...]:
        async with server(config, *answers) as (url, heard):
            return *await streamed(ClientOptions(f"{url}/asr", **options), data), heard

    return asyncio.run(asyncio.wait_for(run(), 20))


def decoded(container: bytes) -> bytes:
    with av.open(io.BytesIO(container)) as file:
        return b"".join(frame.to_ndarray().tobytes() for frame in file.decode(audio=0))


def test_a_server_of_ours() -> None:
    snapshot = {"type": "snapshot", "seq": 1} | update("One.", tentative="two")
    seen, transcript, heard = run(OURS, snapshot, READY, language="de", token="secret", words=True)
    assert seen[-1] == transcript.committed == "One." and transcript.tentative == "two"
    assert heard.audio == PCM and heard.texts == [{"type": "ping", "id": 1.0}]
    assert heard.path == "/asr?mode=diff&format=s16le&rate=16000&words=true&language=de"
    assert heard.authorization == "Bearer secret"
    assert transcript.sent_s == transcript.received_s == transcript.decided_s == 1.0


def test_a_server_of_the_field_that_takes_pcm() -> None:
    """It may change its lines, names silence, and must get no text frame."""
    silence = {"speaker": -2, "text": None, "start": "0:00:03", "end": "0:00:09"}
    last = update("One.", "Three.") | {"lines": [*update("One.", "Three.")["lines"], silence]}
    seen, transcript, heard = run(FIELD_PCM, update("One.", "Two"), last, READY)
    assert seen[-1] == "One. Three." and heard.audio == PCM and heard.texts == []
    assert [line.text for line in transcript.snapshot().lines] == ["One.", "Three.", ""]
    assert transcript.sent_s == transcript.received_s == 1.0


@pytest.mark.parametrize("rate_hz", [16000, 8000])
def test_a_server_of_the_field_that_takes_containers(rate_hz: int) -> None:
    seen, _, heard = run(FIELD, update("One."), READY, rate_hz=rate_hz)
    assert seen[-1] == "One." and heard.texts == []
    with av.open(io.BytesIO(heard.audio)) as file:
        assert (file.format.name, file.streams.audio[0].rate, file.streams.audio[0].channels) == ("wav", rate_hz, 1)
    assert decoded(heard.audio) == PCM


@pytest.mark.parametrize("config", [OURS, FIELD])
def test_containers_pass_as_they_are(config: dict[str, Any]) -> None:
    data = bytes(range(256)) * 1000
    seen, _, heard = run(config, update("One."), READY, data=data, format="auto")
    assert seen[-1] == "One." and heard.audio == data and heard.texts == []


@pytest.mark.parametrize(
    ("config", "answers", "options", "code", "expected"),
    [
        (OURS, [{"type": "error", "code": "internal", "message": "m", "hint": "h"}], {}, "internal", "server: m"),
        (OURS, [{"type": "error", "code": "not_ready", "message": "m", "retry_after_s": 3}], {}, "not_ready", "in 3 s"),
        (FIELD, [{"status": "error", "error": "FFmpeg not found"}], {}, "error", "server: FFmpeg not found"),
        (OURS, [update("One.")], {}, "closed", "before the end of the transcript"),
        (OURS, [update("One."), ABORT], {}, "closed", "broke"),
        (OURS, ["hello"], {}, "error", "makes no sense: not JSON"),
        (OURS, ["[]"], {}, "error", "makes no sense: no JSON object"),
        (OURS, [update("One.") | {"lines": [{}]}], {}, "error", "makes no sense: KeyError"),
        (OURS, [{"type": "diff"}], {}, "error", "makes no sense: KeyError"),
        (FIELD_PCM, [READY], {"format": "auto"}, "error", "takes raw PCM at 16000 Hz only"),
        (FIELD_PCM, [READY], {"rate_hz": 8000}, "error", "takes raw PCM at 16000 Hz only"),
        (update("One."), [READY], {}, "error", "first message is no config"),
        ({"type": "error", "code": "unauthorized", "message": "no", "hint": ""}, [], {}, "unauthorized", "server: no"),
    ],
)
def test_errors_have_the_servers_code(
    config: dict[str, Any], answers: list[Any], options: dict[str, Any], code: str, expected: str
) -> None:
    with pytest.raises(ApplianceError) as told:
        run(config, *answers, **options)
    assert told.value.code == code and expected in str(told.value)


def test_the_last_update_before_an_error_is_seen() -> None:
    async def run() -> None:
        error = {"type": "error", "code": "restarting", "message": "the server is stopping", "hint": ""}
        async with server(OURS, update("One."), error) as (url, _), open_stream(ClientOptions(url)) as stream:
            await stream.finish()
            await asyncio.sleep(0.3)
            with pytest.raises(ApplianceError, match="is stopping"):
                async for transcript in stream:
                    assert transcript.committed == "One."
            assert stream.transcript.committed == "One."
            with pytest.raises(ApplianceError, match="is stopping"):
                await stream.feed(PCM)

    asyncio.run(asyncio.wait_for(run(), 20))


def test_an_end_that_a_stopping_server_makes_is_no_end_of_the_transcript() -> None:
    async def run() -> None:
        error = {"type": "error", "code": "restarting", "message": "the server is stopping", "hint": ""}
        ready = READY | {"reason": "restarting"}
        async with server(OURS, update("One."), ready, error) as (url, _), open_stream(ClientOptions(url)) as stream:
            await stream.finish()
            with pytest.raises(ApplianceError, match="is stopping"):
                async for _ in stream:
                    pass
            assert stream.transcript.committed == "One."

    asyncio.run(asyncio.wait_for(run(), 20))


def test_leaving_early_closes_and_raises_nothing_of_its_own() -> None:
    async def run() -> int | None:
        closed: asyncio.Future[int | None] = asyncio.get_running_loop().create_future()

        async def answer(socket: ServerConnection) -> None:
            await socket.send(json.dumps(OURS))
            await socket.wait_closed()
            closed.set_result(socket.close_code)

        async with serve(answer, "127.0.0.1", 0) as running:
            url = f"ws://127.0.0.1:{next(iter(running.sockets)).getsockname()[1]}"
            with pytest.raises(OSError, match="of the caller"):
                async with open_stream(ClientOptions(url)) as stream:
                    await stream.feed(PCM)
                    raise OSError("of the caller")
            return await asyncio.wait_for(closed, 10)

    assert asyncio.run(run()) == 1000


def test_no_server() -> None:
    async def run() -> None:
        async with open_stream(ClientOptions("ws://127.0.0.1:9/asr")):
            pass

    with pytest.raises(ApplianceError, match=r"no server at ws://127\.0\.0\.1:9/asr"):
        asyncio.run(run())
