"""One stream to a server of the `/asr` protocol: audio in, the transcript as it grows out.

Where the server can keep the stream for a client whose connection drops, it is taken up again without a word: the
server says from which byte on to send.
"""

import asyncio
import contextlib
import json
import struct
from collections.abc import AsyncIterator
from typing import Any

from websockets.asyncio.client import ClientConnection
from websockets.exceptions import ConnectionClosed, ConnectionClosedOK

from appliance.client.dialing import dial, no_sense, parsed
from appliance.client.options import ClientOptions, server_error
from appliance.client.state import Transcript
from appliance.client.unheard import Unheard
from appliance.errors import ApplianceError
from appliance.speech.types import SAMPLE_RATE_HZ

_SAMPLE_BYTES = 2
_PING_BYTES = SAMPLE_RATE_HZ * _SAMPLE_BYTES
"""Between two questions how far the server has read."""
_QUIET_S = 10.0
"""Without a message the server is asked for a sign; without one for as long again the connection is dead."""
_AGAIN_S = (0.0, 0.5, 1.0, 2.0, 4.0)
"""Before each attempt to come back, and then always the last."""
_MAY_PASS = ("error", "closed", "not_ready")
"""Codes of what goes wrong with a network, not of a server's refusal."""


@contextlib.asynccontextmanager
async def open_stream(options: ClientOptions) -> AsyncIterator["ClientStream"]:
    """Connect, and close when the block is left.

    Raises:
        ApplianceError: no server, an untrusted certificate, or a refusal with the server's code.
    """
    connection, config = await dial(options)
    try:
        if options.target_language and "protocol" in config and "target_language" not in config:
            raise ApplianceError(
                "this server does not translate",
                "start it with --translation-dir, or leave the target language out; "
                "its task=translate gives English without it",
                code="no_translation",
            )
        stream = ClientStream(connection, options, config)
    except ApplianceError:
        await connection.close()
        raise
    try:
        yield stream
    finally:
        await stream.leave()


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
        self._unheard = Unheard()
        self._news = asyncio.Event()
        self._all_said = False
        self._over = False
        self._error: ApplianceError | None = None
        self._running = asyncio.create_task(self._run())

    async def feed(self, data: bytes) -> None:
        """Send audio, in pieces of any size; waits while the server is behind, or away, with some minutes of it."""
        self._check()
        if data:
            data, self._head = self._head + data, b""
            await self._unheard.add(data)
            self._check()

    async def finish(self) -> None:
        """No more audio will come; what is left of the transcript still does."""
        self._check()
        await self._unheard.end()

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
        """Take no more updates, and close. `open_stream` calls it."""
        self._running.cancel()
        await asyncio.gather(self._running, return_exceptions=True)
        await self._connection.close()

    def _check(self) -> None:
        if self._over:
            raise self._error or self._cut_off()

    async def _run(self) -> None:
        """Send and take in messages to the end, over one connection after the other."""
        try:
            at = 0
            while broken := await self._talk(at):
                at = await self._come_back(broken)
        except ApplianceError as error:
            self._error = error
        finally:
            self._over = True
            self._news.set()
            await self._unheard.end()

    async def _talk(self, at: int) -> ApplianceError | None:
        """Over this connection, sending from byte ``at`` on. Returns what broke it, None when all is said."""
        sending = asyncio.create_task(self._send_from(at))
        try:
            while not self._all_said:
                data = await self._receive()
                await self._take(parsed(data))
                self._news.set()
        except ConnectionClosedOK:
            return self._cut_off()
        except (ConnectionClosed, TimeoutError) as error:
            return ApplianceError(
                f"the connection to {self._options.url.split('?')[0]} broke: {error or 'no answer'}",
                "look at the server's log",
                code="closed",
            )
        finally:
            sending.cancel()
            await asyncio.gather(sending, return_exceptions=True)
        return None

    async def _come_back(self, broken: ApplianceError) -> int:
        """Take the stream up again. Returns the byte to send from; raises ``broken`` where that can't be."""
        resume = self.config.get("resume")
        if not isinstance(resume, dict):
            raise broken
        self._connection.transport.abort()  # closed in good order, the session would be over
        loop = asyncio.get_running_loop()
        until = loop.time() + float(resume["window_s"])
        attempt = 0
        while True:
            await asyncio.sleep(_AGAIN_S[min(attempt, len(_AGAIN_S) - 1)])
            attempt += 1
            try:
                self._connection, self.config = await dial(self._options, str(resume["id"]))
                break
            except ApplianceError as error:
                if error.code not in _MAY_PASS or loop.time() > until:
                    raise broken from error
        at = self.config.get("resume", {}).get("received_bytes")
        if not isinstance(at, int) or not self._unheard.has(at):
            raise no_sense(f"received_bytes is {at!r}") from broken
        await self._heard(at)
        return at

    async def _receive(self) -> str | bytes:
        """The server's next message.

        Raises:
            ConnectionClosed: there is none.
            TimeoutError: the connection gives no sign of life, and one could come back.
        """
        if "resume" not in self.config:
            return await self._connection.recv()
        sign: asyncio.Future[float] | None = None
        while True:
            with contextlib.suppress(TimeoutError):
                return await asyncio.wait_for(self._connection.recv(), _QUIET_S)
            if sign and not sign.done():
                raise TimeoutError
            sign = asyncio.ensure_future(await asyncio.wait_for(self._connection.ping(), _QUIET_S))

    async def _take(self, message: dict[str, Any]) -> None:
        if message.get("type") == "error" or message.get("error"):
            raise server_error(message)
        if message.get("type") == "ready_to_stop":
            if message.get("reason"):
                return  # the server ended the stream, and its next message says why
            self.transcript.received_s = self.transcript.decided_s = self.transcript.sent_s
            self._all_said = True
        elif message.get("type") == "pong" and isinstance(message.get("id"), int):
            await self._heard(message["id"])
        else:
            try:
                self.transcript.apply(message)
            except (KeyError, TypeError, ValueError) as error:
                raise no_sense(repr(error)) from error

    async def _heard(self, to: int) -> None:
        """The server has read up to this byte."""
        await self._unheard.taken(to)
        self.transcript.received_s = max(self.transcript.received_s, self._seconds(to))

    async def _send_from(self, at: int) -> None:
        """Send what is fed; where it can't be sent again, it is not kept either."""
        asked = at
        kept = "resume" in self.config
        with contextlib.suppress(ConnectionClosed):  # which `_receive` sees too
            while piece := await self._unheard.after(at):
                await self._connection.send(piece)
                at += len(piece)
                self.transcript.sent_s = max(self.transcript.sent_s, self._seconds(at))
                if not kept:
                    await self._unheard.taken(at)
                if not self._is_ours:  # such a server may take no text frames: what was sent counts as read
                    self.transcript.received_s = self.transcript.sent_s
                elif at - asked >= _PING_BYTES and (kept or self._options.format != "auto"):
                    asked = at
                    await self._connection.send(json.dumps({"type": "ping", "id": at}))
            await self._connection.send(b"")

    def _seconds(self, at: int) -> float:
        """Of raw audio up to this byte; of containers nobody knows, it is 0."""
        return 0.0 if self._options.format == "auto" else at / _SAMPLE_BYTES / self._options.rate_hz

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


def _wav_header(rate_hz: int) -> bytes:
    """Of 16-bit mono PCM without end: sizes that no file has."""
    endless = 0xFFFFFFFF
    form = struct.pack("<HHIIHH", 1, 1, rate_hz, rate_hz * _SAMPLE_BYTES, _SAMPLE_BYTES, 8 * _SAMPLE_BYTES)
    return b"".join(
        (b"RIFF", struct.pack("<I", endless), b"WAVEfmt ", struct.pack("<I", len(form)), form)
    ) + struct.pack("<4sI", b"data", endless)
