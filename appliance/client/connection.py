"""One stream to a server of the `/asr` protocol: audio in, the transcript as it grows out."""

import asyncio
import contextlib
import json
import struct
from collections.abc import AsyncIterator
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

from appliance.client.options import OPEN_TIMEOUT_S, ClientOptions, server_error, told
from appliance.client.state import Transcript
from appliance.errors import ApplianceError
from appliance.speech.types import SAMPLE_RATE_HZ

CLOSE_TIMEOUT_S = 2.0
_SAMPLE_BYTES = 2
_PING_S = 1.0
"""Audio between two questions how far the server has read."""
_MESSAGE_BYTES = 4096
"""Of one message, at most: no server of ours can be set to a lower limit."""


@contextlib.asynccontextmanager
async def open_stream(options: ClientOptions) -> AsyncIterator["ClientStream"]:
    """Connect, and close when the block is left.

    Raises:
        ApplianceError: no server, an untrusted certificate, or a refusal with the server's code.
    """
    with told(options.url):
        # Proxies of the environment are for the web; a server of the site is reached directly.
        connection = await connect(
            options.address,
            ssl=await asyncio.to_thread(options.ssl_context),
            additional_headers=options.headers,
            max_size=None,
            compression=None,
            open_timeout=OPEN_TIMEOUT_S,
            close_timeout=CLOSE_TIMEOUT_S,
            # An answer waits behind the audio in the sockets, which a server that is behind reads slowly.
            ping_timeout=None,
            proxy=None,
        )
    try:
        with told(options.url):
            config = await _config(connection)
            if options.target_language and "protocol" in config and "target_language" not in config:
                raise ApplianceError(
                    "this server does not translate",
                    "start it with --translation-dir, or leave the target language out; "
                    "its task=translate gives English without it",
                    code="no_translation",
                )
        stream = ClientStream(connection, options, config)
        try:
            yield stream
        finally:
            await stream.leave()
    finally:
        await connection.close()


async def _config(connection: ClientConnection) -> dict[str, Any]:
    """The server's first message."""
    message = _message(await asyncio.wait_for(connection.recv(), OPEN_TIMEOUT_S))
    if message.get("type") == "error":
        raise server_error(message)
    if message.get("type") != "config":
        raise ApplianceError("the server's first message is no config", "is it a server of the /asr protocol?")
    return message


class ClientStream:
    """Feed it, finish it, and iterate over its transcript; made by `open_stream`, for one event loop.

    Updates are taken in whether anybody iterates or not, so feeding first and looking later works too. All of these
    raise the `ApplianceError` that ended the stream, with the server's code.
    """

    def __init__(self, connection: ClientConnection, options: ClientOptions, config: dict[str, Any]) -> None:
        self.transcript = Transcript()
        """What was said so far; the same object for as long as the stream lasts."""
        self.config = config
        self._connection = connection
        self._options = options
        self._is_ours = "protocol" in config
        self._head = self._first_bytes()
        self._sent_bytes = 0
        self._asked_s = 0.0
        self._news = asyncio.Event()
        self._all_said = False
        self._over = False
        self._error: ApplianceError | None = None
        self._reading = asyncio.create_task(self._read())

    async def feed(self, data: bytes) -> None:
        """Send audio, in pieces of any size; waits while the server is behind."""
        if not data:
            return
        data, self._head = self._head + data, b""
        for start in range(0, len(data), _MESSAGE_BYTES):
            await self._send(data[start : start + _MESSAGE_BYTES])
        if self._options.format == "auto":
            return
        self._sent_bytes += len(data)
        self.transcript.sent_s = self._sent_bytes / _SAMPLE_BYTES / self._options.rate_hz
        if not self._is_ours:  # such a server may take no text frames: what was sent counts as read
            self.transcript.received_s = self.transcript.sent_s
        elif self.transcript.sent_s - self._asked_s >= _PING_S:
            self._asked_s = self.transcript.sent_s
            await self._send(json.dumps({"type": "ping", "id": round(self._asked_s, 1)}))

    async def finish(self) -> None:
        """No more audio will come; what is left of the transcript still does."""
        await self._send(b"")

    async def __aiter__(self) -> AsyncIterator[Transcript]:
        """The transcript whenever it changed, until all is said; one who is slow sees fewer states, and the last."""
        while True:
            await self._news.wait()
            over = self._over
            if not over:
                self._news.clear()
            yield self.transcript
            if over:
                break
        if self._error:
            raise self._error

    async def leave(self) -> None:
        """Take no more updates. `open_stream` calls it."""
        self._reading.cancel()
        await asyncio.gather(self._reading, return_exceptions=True)

    async def _read(self) -> None:
        """Take in the server's messages to the end."""
        try:
            with told(self._options.url):
                async for data in self._connection:
                    self._take(_message(data))
                    self._news.set()
                    if self._all_said:
                        return
            raise self._cut_off()
        except ApplianceError as error:
            self._error = error
        finally:
            self._over = True
            self._news.set()

    def _take(self, message: dict[str, Any]) -> None:
        if message.get("type") == "error" or message.get("error"):
            raise server_error(message)
        if message.get("type") == "ready_to_stop":
            if message.get("reason"):
                return  # the server ended the stream, and its next message says why
            self.transcript.received_s = self.transcript.decided_s = self.transcript.sent_s
            self._all_said = True
            return
        try:
            self.transcript.apply(message)
        except (KeyError, TypeError, ValueError) as error:
            raise _no_sense(repr(error)) from error

    async def _send(self, data: bytes | str) -> None:
        if self._error:
            raise self._error
        try:
            await self._connection.send(data)
        except ConnectionClosed as closed:
            await asyncio.wait({self._reading})  # what the server sent last says why
            raise (self._error or self._cut_off()) from closed

    def _first_bytes(self) -> bytes:
        """A WAV header, where a server that knows no ``format`` waits for a container and raw PCM is fed."""
        options = self._options
        if self._is_ours:
            return b""
        if not self.config.get("useAudioWorklet"):
            return b"" if options.format == "auto" else _wav_header(options.rate_hz)
        if (options.format, options.rate_hz) != ("s16le", SAMPLE_RATE_HZ):
            raise ApplianceError(
                f"the server takes raw PCM at {SAMPLE_RATE_HZ} Hz only", "feed s16le at that rate, mono"
            )
        return b""

    def _cut_off(self) -> ApplianceError:
        return ApplianceError(
            f"the server closed the connection ({self._connection.close_code}) before the end of the transcript",
            self._connection.close_reason or "look at the server's log",
            code="closed",
        )


def _message(data: str | bytes) -> dict[str, Any]:
    try:
        message = json.loads(data)
    except ValueError as error:
        raise _no_sense("not JSON") from error
    if not isinstance(message, dict):
        raise _no_sense("no JSON object")
    return message


def _no_sense(why: str) -> ApplianceError:
    return ApplianceError(
        f"the server's update makes no sense: {why}", "is it a server of this program? see docs/API.md"
    )


def _wav_header(rate_hz: int) -> bytes:
    """Of 16-bit mono PCM without end: sizes that no file has."""
    endless = 0xFFFFFFFF
    form = struct.pack("<HHIIHH", 1, 1, rate_hz, rate_hz * _SAMPLE_BYTES, _SAMPLE_BYTES, 8 * _SAMPLE_BYTES)
    return b"".join(
        (b"RIFF", struct.pack("<I", endless), b"WAVEfmt ", struct.pack("<I", len(form)), form)
    ) + struct.pack("<4sI", b"data", endless)
