"""A whole session on `/asr`: the application and the engine as they are, with the real `base`; without a socket only.

The first line is the address's query. Then frames: a byte for the kind, two for the size, and the contents.
"""

import asyncio
import json
import struct
import time
from collections.abc import Iterator
from functools import cache
from typing import Any

from starlette.types import ASGIApp, Message

from appliance.server.app import create_app
from appliance.server.refusals import ERROR_CODES
from appliance.server.service import Service
from appliance.server.settings import Settings
from appliance.server.streams import load_models
from appliance.speech.audio.pcm import s16le
from tests.fuzz.material import base_files, recordings, scratch, speech
from tests.fuzz.watch import Finding

clock = time.thread_time
"""Of the event loop's thread: it must be free for others, whatever the threads of the engine have to do."""

TEXT, SOUND, END, GONE = b"t", b"s", b"e", b"g"
_ANSWERED_S = 25.0
"""How long an answer may take on a slow machine. Nothing that is sent here is longer than some seconds."""
_KNOWN = {*ERROR_CODES, "bad_message", "unknown_message"}
_SHAPES = {
    "config": {"type", "useAudioWorklet", "mode", "protocol", "language", "diarization", "session"},
    "config_changed": {"type", "language"},
    "ready_to_stop": {"type"},
    "error": {"type", "code", "message", "hint"},
}
_MAY_BE = {"config": {"target_language", "resume"}, "error": {"retry_after_s"}}
_MOST_FRAMES = 60


def frames(query: str, *given: bytes | str) -> bytes:
    """A session as one input: text frames as `str`, sound as `bytes`."""
    out = [query.encode() + b"\n"]
    for frame in given:
        data = frame.encode() if isinstance(frame, str) else frame
        kind = TEXT if isinstance(frame, str) else SOUND if data else END
        out += [kind + struct.pack("<H", len(data)) + data]
    return b"".join(out)


def seeds() -> Iterator[bytes]:
    _served()  # which takes seconds
    webm, raw = recordings()["webm"], s16le(speech(16000))
    yield frames("", webm[:1000], webm[1000:], b"")
    yield frames("language=en&mode=diff&words=true", '{"type": "ping", "id": 7}', webm, '{"type": "stop"}')
    yield frames("format=s16le&rate=16000", raw[:3200], '{"type": "config", "language": "de"}', raw[3200:], b"")
    yield frames("", '{"type": "ping"}', "no JSON", '{"type": "what"}', b"")


def words() -> Iterator[bytes]:
    yield from (frames("", '{"type": "ping", "id": 1}')[1:], frames("", b"")[1:], GONE + b"\0\0", b"s\1\0\0", b"t\1\0{")
    yield from (b"format=", b"rate=4000", b"task=translate", b"language=xx", b'{"type": "config", "language": "fr"}')


class _Served:
    """The application in an event loop of its own, which runs while an input is tried."""

    def __init__(self) -> None:
        # Small, so that what it takes to reach a bound is small.
        self.settings = Settings(
            language="en",
            max_sessions=4,
            max_message_bytes=32 * 1024,
            max_backlog_s=5,
            resume_window=0.05,
            state_dir=scratch(),
        )
        pair, vad = base_files()
        self.service = Service(self.settings, pair, vad)
        self.service._models = load_models(self.settings, pair, vad, None)
        self.service._status = "ready"
        self.app: ASGIApp = create_app(self.service, lambda: None)
        self.loop = asyncio.new_event_loop()


@cache
def _served() -> _Served:
    return _Served()


def one(data: bytes) -> bool:
    query, _, rest = data.partition(b"\n")
    served = _served()
    client = _Client(list(_frames(rest))[:_MOST_FRAMES])
    served.loop.run_until_complete(_to_its_end(served, client, query))
    if served.service._connections:
        raise Finding("a session that ended has still its place")
    return client.done


async def _to_its_end(served: _Served, client: "_Client", query: bytes) -> None:
    """A session may outlive its client, which might come back."""
    await client.run(served.app, query)
    if running := set(served.service._running):
        await asyncio.wait(running, timeout=30)


def _frames(data: bytes) -> Iterator[Message]:
    at = 0
    while at + 3 <= len(data):
        kind, (size,) = data[at : at + 1], struct.unpack_from("<H", data, at + 1)
        content = data[at + 3 : at + 3 + size]
        at += 3 + size
        if kind == TEXT:
            yield {"type": "websocket.receive", "text": content.decode("utf-8", "replace")}
        elif kind == GONE:
            yield {"type": "websocket.disconnect", "code": 1006}
        else:
            yield {"type": "websocket.receive", "bytes": b"" if kind == END else content}


class _Client:
    """Sends its frames as fast as they are taken, ends the stream, and holds every answer against the protocol."""

    def __init__(self, given: list[Message]) -> None:
        self._given = [*given, {"type": "websocket.receive", "bytes": b""}]
        self._ended = asyncio.Event()
        self._gone = False
        self._started = False
        self._closed = 0
        self._last: dict[str, Any] = {}
        self.done = False

    async def run(self, app: ASGIApp, query: bytes) -> None:
        scope = {
            "type": "websocket", "path": "/asr", "raw_path": b"/asr", "root_path": "", "scheme": "ws", "headers": [],
            "query_string": query, "client": ("192.0.2.1", 50000), "server": ("192.0.2.2", 8000), "subprotocols": [],
            "state": {}, "extensions": {},
        }  # fmt: skip
        async with asyncio.timeout(_ANSWERED_S):
            await app(scope, self._receive, self._send)
        if self._gone:
            return
        self.done = self._last.get("type") == "ready_to_stop"
        if not self.done and (self._last.get("type") != "error" or not self._closed):
            raise Finding(f"it ended with {self._last}, closed with {self._closed}")

    async def _receive(self) -> Message:
        if not self._started:
            self._started = True
            return {"type": "websocket.connect"}
        if self._given:
            message = self._given.pop(0)
            self._gone = self._gone or message["type"] == "websocket.disconnect"
            return message
        await self._ended.wait()
        return {"type": "websocket.disconnect", "code": 1000}

    async def _send(self, message: Message) -> None:
        if message["type"] == "websocket.close":
            self._closed = message["code"]
            self._ended.set()
            if self._closed == 1011:
                raise Finding("closed as by a fault of the server")
        elif message["type"] == "websocket.send":
            self._last = _checked(message["text"])
            if self._last.get("type") == "ready_to_stop":
                self._ended.set()


def _checked(text: str) -> dict[str, Any]:
    text.encode()
    said: dict[str, Any] = json.loads(text, parse_constant=_refuse)
    kind = said.get("type", "update")
    if kind in _SHAPES and not _SHAPES[kind] <= said.keys() <= _SHAPES[kind] | _MAY_BE.get(kind, set()):
        raise Finding(f"a message of another shape: {text[:300]}")
    if kind == "error" and (said["code"] not in _KNOWN or said["code"] == "internal" or not said["hint"]):
        raise Finding(f"an error that is not documented: {text[:300]}")
    if kind == "update" and "lines" not in said:
        raise Finding(f"no update: {text[:300]}")
    return said


def _refuse(name: str) -> float:
    raise Finding(f"{name} is no JSON")
