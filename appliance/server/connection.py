"""One client on the `/asr` WebSocket, from its first frame to its last update.

Tasks that share a connection: one reads frames and feeds decoded audio to the stream, whose snapshots the
engine's threads hand over; one sends updates, at most ten a second and never two at once. A slow reader
therefore gets fewer updates, not a longer queue.
"""

import asyncio
import contextlib
import logging
from collections.abc import Iterator
from contextvars import copy_context
from typing import Any

from starlette.websockets import WebSocket, WebSocketDisconnect

from appliance.errors import ApplianceError
from appliance.server.protocol import Close, Options, config_event, dump, error_event, parse_control, pong
from appliance.server.refusals import restarting
from appliance.server.service import STOP_GRACE_S, Service
from appliance.server.streams import stream_options
from appliance.server.updates import UpdateWriter
from appliance.speech.audio.decoder import AudioDecoder
from appliance.speech.types import SAMPLE_RATE_HZ, Samples, Snapshot

log = logging.getLogger(__name__)

UPDATE_INTERVAL_S = 0.1
LAG_INTERVAL_S = 1.0
SEND_TIMEOUT_S = 20.0
"""A client that takes nothing for this long is gone."""
_TURN_SAMPLES = 4 * SAMPLE_RATE_HZ
_NOTHING = Snapshot(lines=(), pruned=0, tentative="", received_s=0.0, decided_s=0.0)


class Connection:
    """Call `run` once, inside `Service.seat`; `stop` asks for an early end."""

    def __init__(self, socket: WebSocket, service: Service, options: Options, name: str) -> None:
        """``name``: of the session, by which the client and the log call it."""
        self._socket = socket
        self._service = service
        self._options = options
        self._name = name
        models = service.models()
        self._engine = models.engine
        wanted = stream_options(service.settings, language=options.language, task=options.task)
        self._stream = models.open_stream(
            wanted, self._take_snapshot, diarization=options.diarization, target_language=options.target_language
        )
        self._loop = asyncio.get_running_loop()
        self._decoder = AudioDecoder(options.format, rate_hz=options.rate_hz, raw_default=service.settings.pcm_format)
        self._updates = UpdateWriter(options.mode, words=options.words)
        self._latest = _NOTHING
        self._ended = False
        self._end_reason: ApplianceError | None = None
        self._sending = asyncio.Lock()
        self._news = asyncio.Event()
        self._all_said = asyncio.Event()
        self._stop = asyncio.Event()

    def stop(self) -> None:
        """End the stream early: the server is shutting down."""
        self._stop.set()

    async def run(self) -> Close:
        """Serve the client until its stream has ended and been answered.

        Returns:
            The code to close with.

        Raises:
            ApplianceError: the client must be told, and closed with the error's code.
            WebSocketDisconnect: it is gone already.
        """
        await self._send(dump(config_event(self._service.settings, self._options, self._name)))
        writer = asyncio.create_task(self._write(), name="write")
        stopper = asyncio.create_task(self._cut_short(), name="stop")
        tasks = {writer, stopper, asyncio.create_task(self._read()), asyncio.create_task(self._follow())}
        try:
            running = tasks
            while writer in running and stopper in running:
                done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self._stream.close()
            await asyncio.get_running_loop().run_in_executor(self._service.audio_pool, self._decoder.close)
        if self._stop.is_set():
            if not self._all_said.is_set():
                await self._send_update()
            await self._send(dump(error_event(restarting())))  # while the shutdown still waits for us
            return Close.RESTART
        if self._end_reason:
            raise self._end_reason
        await self._send(dump({"type": "ready_to_stop"}))
        return Close.NORMAL

    # Reading.

    async def _read(self) -> None:
        """Take frames until the client is gone (which raises)."""
        timeout_s = self._service.settings.idle_timeout_s
        while True:
            try:
                # Not `wait_for`: up to Python 3.11 it forgets a cancellation that comes with a message.
                async with asyncio.timeout(timeout_s):
                    message = await self._socket.receive()
            except TimeoutError:
                await self._idle(timeout_s)
                continue
            if message["type"] == "websocket.disconnect":
                raise WebSocketDisconnect(message.get("code", 1005), message.get("reason"))
            if message.get("bytes") is not None:
                await self._take_audio(message["bytes"])
            elif message.get("text") is not None:
                await self._take_control(message["text"])

    async def _take_audio(self, data: bytes) -> None:
        if self._ended:
            return
        if not data:
            await self._end()
            return
        if len(data) > self._service.settings.max_message_bytes:
            raise ApplianceError(
                f"message of {len(data)} bytes; at most {self._service.settings.max_message_bytes} are allowed",
                "send audio in smaller pieces, 100 ms each is good",
                code="message_too_big",
            )
        await self._hear(self._decoder.feed(data))

    async def _hear(self, pieces: Iterator[Samples]) -> None:
        """Feed decoded audio to the session, waiting while too much of it is unheard."""
        loop = asyncio.get_running_loop()
        more = True
        while more:
            # In a copy of this context, so that the threads' lines in the log have the session's name.
            batch, more = await loop.run_in_executor(self._service.audio_pool, copy_context().run, take_some, pieces)
            for samples in batch:
                self._stream.feed(samples)
                self._service.metrics.received(samples.size / SAMPLE_RATE_HZ)
            while self._stream.backlog_s > self._service.settings.max_backlog_s:
                with contextlib.suppress(TimeoutError):
                    async with asyncio.timeout(UPDATE_INTERVAL_S):
                        await self._all_said.wait()

    async def _end(self) -> None:
        """No more audio: hear what the decoder still holds, then let the session finish."""
        if self._ended:
            return
        self._ended = True
        await self._hear(self._decoder.finish())
        self._stream.finish()

    async def _idle(self, timeout_s: float) -> None:
        if self._ended:
            return
        self._end_reason = ApplianceError(
            f"nothing came for {timeout_s:g} s, so the stream was ended",
            'connect again to go on; to keep a quiet connection, send {"type": "ping"} now and then',
            code="idle_timeout",
        )
        await self._end()

    async def _take_control(self, text: str) -> None:
        """Answer a text frame; one that makes no sense is an error message, not the end."""
        try:
            answer = await self._control(parse_control(text))
        except ApplianceError as error:
            answer = error_event(error)
        if answer:
            await self._send(dump(answer))

    async def _control(self, message: dict[str, Any]) -> dict[str, Any] | None:
        kind = message["type"]
        if kind == "stop":
            await self._end()
            return None
        if kind == "ping":
            return pong(message)
        if kind == "config":
            language = message.get("language")
            if not isinstance(language, str):
                raise ApplianceError(
                    "config message without a language", 'send {"type": "config", "language": "en"}', code="bad_message"
                )
            self._engine.check_language(language.lower())
            self._stream.set_language(language.lower())
            return {"type": "config_changed", "language": language.lower()}
        raise ApplianceError(
            f"unknown message type: {kind[:40]!r}", "known: stop, config, ping", code="unknown_message"
        )

    # Working and answering.

    def _take_snapshot(self, snapshot: Snapshot) -> None:
        """Called by the engine's threads."""
        with contextlib.suppress(RuntimeError):  # the loop is closed: the server was stopped meanwhile
            self._loop.call_soon_threadsafe(self._show, snapshot)

    def _show(self, snapshot: Snapshot) -> None:
        self._latest = snapshot
        self._service.metrics.showed(snapshot)
        self._news.set()

    async def _follow(self) -> None:
        """Wait until all is said (or the stream failed, which raises)."""
        self._latest = await asyncio.wrap_future(self._stream.finished)
        self._all_said.set()
        self._news.set()

    async def _write(self) -> None:
        """Send what is new, until the last of it."""
        sent: Snapshot | None = None
        sent_lag_s = 0.0
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LAG_INTERVAL_S):
                    await self._news.wait()
            lag_s = round(self._stream.backlog_s, 1)
            if not self._news.is_set() and lag_s == sent_lag_s:
                continue
            self._news.clear()
            last = self._all_said.is_set()
            if self._latest is not sent or lag_s != sent_lag_s:
                sent, sent_lag_s = self._latest, lag_s
                await self._send_update()
            if last:
                return
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(UPDATE_INTERVAL_S):
                    await self._all_said.wait()

    async def _cut_short(self) -> None:
        """On a server stop, end the stream as if the client had, and give it a bounded time."""
        await self._stop.wait()
        self._ended = True
        self._stream.finish()
        await asyncio.sleep(STOP_GRACE_S)

    async def _send_update(self) -> None:
        await self._send(self._updates.message(self._latest, self._stream.backlog_s))

    async def _send(self, text: str) -> None:
        async with self._sending:
            try:
                async with asyncio.timeout(SEND_TIMEOUT_S):
                    await self._socket.send_text(text)
            except TimeoutError as error:
                raise WebSocketDisconnect(1006, "takes no updates") from error


def take_some(pieces: Iterator[Samples]) -> tuple[list[Samples], bool]:
    """Some seconds of audio, and whether there may be more; runs in an audio thread."""
    batch: list[Samples] = []
    total = 0
    for samples in pieces:
        batch.append(samples)
        total += samples.size
        if total >= _TURN_SAMPLES:
            return batch, True
    return batch, False
