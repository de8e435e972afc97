"""One client: sends audio at real-time pace, notes each update. Knows the field's protocol and nothing newer."""

import asyncio
import json
from dataclasses import dataclass, field
from typing import Any, Literal

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, WebSocketException

from appliance.bench.clips import Clip
from appliance.bench.events import EventLog
from appliance.speech.types import SAMPLE_RATE_HZ

FRAME_S = 0.1
DRAIN_LIMIT_S = 90.0
"""How long after the end of its audio a stream is given up."""

_FRAME_BYTES = 2 * SAMPLE_RATE_HZ // 10
_OPEN_LIMIT_S = 30.0
_LARGEST_UPDATE_BYTES = 16 * 1024 * 1024
_TRY_AGAIN_LATER = 1013
_REFUSALS = ("over_capacity", "not_ready")

Outcome = Literal["done", "refused", "failed"]


@dataclass(slots=True)
class Streamed:
    """A stream's log. Times are seconds since its first audio began; ``late_s`` is how far sending fell behind.

    ``began``: the server took the client, so what it heard counts even if the stream broke later.
    """

    log: EventLog = field(default_factory=EventLog)
    outcome: Outcome = "failed"
    why: str = ""
    began: bool = False
    drain_s: float | None = None
    late_s: float = 0.0


async def stream(url: str, clip: Clip, *, delay_s: float = 0.0) -> Streamed:
    """Stream a clip to its end. What goes wrong is told in the result, for others may be streaming beside it."""
    result = Streamed()
    await asyncio.sleep(delay_s)
    try:
        async with asyncio.timeout(_OPEN_LIMIT_S + clip.length_s + DRAIN_LIMIT_S), _connected(url) as socket:
            if _take_config(await socket.recv(), result):
                await _converse(socket, clip, result)
    except ConnectionClosed as error:
        result.outcome = "refused" if error.rcvd and error.rcvd.code == _TRY_AGAIN_LATER else "failed"
        result.why = result.why or f"the server closed the connection: {error}"
    except TimeoutError:
        result.why = f"no end within {DRAIN_LIMIT_S:g} s after the end of the audio"
    except (OSError, WebSocketException, json.JSONDecodeError) as error:
        result.why = f"{type(error).__name__}: {error}"
    return result


async def first_message(url: str) -> str | None:
    """The ``type`` of a server's first message; None where nothing answers (yet)."""
    try:
        async with asyncio.timeout(_OPEN_LIMIT_S), _connected(url) as socket:
            message = json.loads(await socket.recv())
            await socket.send(b"")
            return str(message.get("type"))
    except (OSError, TimeoutError, WebSocketException, json.JSONDecodeError):
        return None


def _connected(url: str) -> connect:
    # Without pings: a server under load answers them late, which is not what is measured here.
    return connect(
        url,
        max_size=_LARGEST_UPDATE_BYTES,
        compression=None,
        proxy=None,
        open_timeout=_OPEN_LIMIT_S,
        ping_interval=None,
    )


async def _converse(socket: ClientConnection, clip: Clip, result: Streamed) -> None:
    loop = asyncio.get_running_loop()
    started_s = loop.time()
    sender = asyncio.create_task(_send(socket, clip, started_s, result))
    try:
        async for text in socket:
            at_s = loop.time() - started_s
            message = json.loads(text)
            if message.get("type") == "ready_to_stop":
                result.outcome, result.drain_s = "done", at_s - clip.length_s
                return
            if _is_error(message, result):
                return
            if "lines" in message:
                result.log.add(at_s, committed_text(message), str(message.get("buffer_transcription") or "").strip())
        result.why = "the server closed the connection before ready_to_stop"
    finally:
        sender.cancel()
        await asyncio.gather(sender, return_exceptions=True)


async def _send(socket: ClientConnection, clip: Clip, started_s: float, result: Streamed) -> None:
    """Each frame when its last sample would have been spoken, then the empty frame."""
    loop = asyncio.get_running_loop()
    for number, start in enumerate(range(0, len(clip.pcm), _FRAME_BYTES), 1):
        due_s = min(number * FRAME_S, clip.length_s)
        ahead_s = started_s + due_s - loop.time()
        if ahead_s > 0:
            await asyncio.sleep(ahead_s)
        result.late_s = max(result.late_s, -ahead_s)
        await socket.send(clip.pcm[start : start + _FRAME_BYTES])
    await socket.send(b"")


def committed_text(update: dict[str, Any]) -> str:
    """The texts of an update's lines, joined by spaces."""
    texts = (str(line.get("text") or "").strip() for line in update["lines"])
    return " ".join(text for text in texts if text)


def _take_config(text: str | bytes, result: Streamed) -> bool:
    message = json.loads(text)
    if _is_error(message, result):
        return False
    if message.get("type") == "config":
        result.began = True
        return True
    result.why = f"the first message is no config but {text[:80]!r}"
    return False


def _is_error(message: dict[str, Any], result: Streamed) -> bool:
    if message.get("type") != "error" and message.get("status") != "error":
        return False
    result.outcome = "refused" if message.get("code") in _REFUSALS else "failed"
    result.why = str(message.get("message") or message.get("error") or "an error without words")
    return True
