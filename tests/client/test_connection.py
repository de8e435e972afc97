"""The client's stream against servers of canned answers: ours, and such as know the field's protocol only."""

import asyncio
import contextlib
import io
import json
from collections.abc import AsyncIterator, Sequence
from typing import Any

import av
import numpy as np
import pytest
from websockets.asyncio.server import ServerConnection, serve
from websockets.typing import Subprotocol

from appliance.client import ClientOptions, Transcript, connection, open_stream
from appliance.client.unheard import KEPT_BYTES
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
    assert heard.audio == PCM and heard.texts == [{"type": "ping", "id": 32000}]
    assert heard.path == "/asr?mode=diff&format=s16le&rate=16000&resume=true&words=true&language=de"
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


def chosen(_: ServerConnection, offered: Sequence[Subprotocol]) -> Subprotocol | None:
    return Subprotocol("wlk") if "wlk" in offered else None


class Resuming:
    """A server that keeps one stream, hears ``each`` bytes on a connection, and then is gone without a word."""

    def __init__(self, *each: int, knows: bool = True, window_s: float = 60.0) -> None:
        self.audio = b""
        self.offered: list[str | None] = []
        self._each = list(each)
        self._knows = knows
        self._window_s = window_s

    async def answer(self, socket: ServerConnection) -> None:
        assert socket.request is not None
        self.offered.append(socket.request.headers.get("Sec-WebSocket-Protocol"))
        if self.offered[-1] and not self._knows:
            await socket.send(json.dumps({"type": "error", "code": "unknown_session", "message": "m", "hint": ""}))
            return
        resume = {"id": "abc", "window_s": self._window_s, "received_bytes": len(self.audio), "received_s": 0}
        await socket.send(json.dumps(OURS | {"resume": resume}))
        snapshot = {"type": "snapshot", "seq": 1} | update(*(f"Part {n}." for n, _ in enumerate(self.offered)))
        await socket.send(json.dumps(snapshot))
        until = len(self.audio) + self._each.pop(0) if self._each else None
        async for data in socket:
            if isinstance(data, str):
                await socket.send(json.dumps({"type": "pong", "id": len(self.audio)}))
            elif data:
                self.audio += data
            else:
                break
            if until is not None and len(self.audio) >= until:
                socket.transport.abort()
                return
        await socket.send(json.dumps(READY))
        await socket.wait_closed()


def resumed(server: Resuming, data: bytes, **options: Any) -> Transcript:
    async def hear() -> Transcript:
        async with serve(server.answer, "127.0.0.1", 0, select_subprotocol=chosen) as running:
            url = f"ws://127.0.0.1:{next(iter(running.sockets)).getsockname()[1]}/asr"
            return (await streamed(ClientOptions(url, **options), data))[1]

    return asyncio.run(asyncio.wait_for(hear(), 60))


@pytest.mark.parametrize("form", ["s16le", "auto"])
def test_a_stream_is_taken_up_where_the_server_says(form: str) -> None:
    """Of more audio than is kept: what the server has need not be."""
    data = np.random.default_rng(3).bytes(3 * KEPT_BYTES // 2)
    server = Resuming(0, 100_000, 1, 2_000_000)
    transcript = resumed(server, data, format=form)
    assert server.audio == data
    assert server.offered == [None, *["wlk, wlk.resume.abc"] * 4]
    assert transcript.committed == "Part 0. Part 1. Part 2. Part 3. Part 4."
    assert form == "auto" or transcript.received_s == transcript.sent_s == len(data) / 32000


def test_a_stream_that_is_not_there_any_more_has_ended() -> None:
    for server in (Resuming(1000, knows=False), Resuming(1000, window_s=-1, knows=False)):
        with pytest.raises(ApplianceError) as told:
            resumed(server, PCM)
        assert told.value.code == "closed" and len(server.offered) == 2


def test_one_who_does_not_want_it_is_not_brought_back() -> None:
    async def answer(socket: ServerConnection) -> None:
        assert socket.request is not None and "resume" not in socket.request.path
        await socket.send(json.dumps(OURS))
        socket.transport.abort()

    async def hear() -> None:
        async with serve(answer, "127.0.0.1", 0) as running:
            url = f"ws://127.0.0.1:{next(iter(running.sockets)).getsockname()[1]}/asr"
            with pytest.raises(ApplianceError, match="broke"):
                await streamed(ClientOptions(url, resume=False))

    asyncio.run(asyncio.wait_for(hear(), 20))


def test_a_server_that_gives_no_sign_is_left(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connection, "_QUIET_S", 0.2)
    calls, back = 0, asyncio.Event()

    async def answer(socket: ServerConnection) -> None:
        nonlocal calls
        calls += 1
        resume = {"id": "abc", "window_s": 60, "received_bytes": 0, "received_s": 0}
        await socket.send(json.dumps(OURS | {"resume": resume}))
        if calls == 1:
            socket.transport.pause_reading()
            await back.wait()
        back.set()
        async for data in socket:
            if data == b"":
                break
        await socket.send(json.dumps(READY))

    async def hear() -> None:
        async with serve(answer, "127.0.0.1", 0, select_subprotocol=chosen) as running:
            url = f"ws://127.0.0.1:{next(iter(running.sockets)).getsockname()[1]}/asr"
            await streamed(ClientOptions(url))

    asyncio.run(asyncio.wait_for(hear(), 20))
    assert calls >= 2
