"""One client on the `/asr` WebSocket, from its first frame to its last update.

Tasks that share a connection: one reads frames and feeds decoded audio to the stream, whose snapshots the
engine's threads hand over; one sends updates, at most ten a second and never two at once. A slow reader
therefore gets fewer updates, not a longer queue. A client that drops and comes back (`appliance.server.lines`) finds
all of this as it was; the task that reads frames goes over to its new socket, between two frames.
"""

import asyncio
import contextlib
import dataclasses
import logging
from collections.abc import Coroutine, Iterator
from contextvars import copy_context
from typing import Any

from starlette.websockets import WebSocketDisconnect

from appliance.errors import ApplianceError
from appliance.server.lines import Line, Lines, closed_for_good
from appliance.server.protocol import (
    READY_TO_STOP,
    Close,
    Options,
    config_event,
    dump,
    error_event,
    parse_control,
    pong,
)
from appliance.server.refusals import restarting
from appliance.server.service import STOP_GRACE_S, Service
from appliance.server.streams import Origin, stream_options
from appliance.server.updates import UpdateWriter
from appliance.speech.audio.decoder import AudioDecoder
from appliance.speech.types import SAMPLE_RATE_HZ, Samples, Snapshot

log = logging.getLogger(__name__)

UPDATE_INTERVAL_S = 0.1
LAG_INTERVAL_S = 1.0
FAREWELL_S = 5.0
"""How long a client has for its own closing after the last message."""
_TURN_SAMPLES = 4 * SAMPLE_RATE_HZ
_NOTHING = Snapshot(lines=(), pruned=0, tentative="", received_s=0.0, decided_s=0.0)


class Connection:
    """Call `run` once, inside `Service.seat`; `stop` asks for an early end."""

    def __init__(self, lines: Lines, service: Service, options: Options, name: str) -> None:
        """``name``: of the session, by which the client and the log call it."""
        self._lines = lines
        self._line = lines.line
        """Where updates go; after the client came back, once it was told so."""
        self._service = service
        self._options = options
        self._name = name
        models = service.models()
        self._engine = models.engine
        wanted = stream_options(service.settings, language=options.language, task=options.task)
        self._stream = models.open_stream(
            wanted,
            self._take_snapshot,
            diarization=options.diarization,
            target_language=options.target_language,
            origin=Origin(name, self._line.client.token),
        )
        self._loop = asyncio.get_running_loop()
        self._decoder = AudioDecoder(options.format, rate_hz=options.rate_hz, raw_default=service.settings.pcm_format)
        self._updates = UpdateWriter(options.mode, words=options.words)
        self._received_bytes = 0
        self._received_samples = 0
        self._latest = _NOTHING
        self._sent: Snapshot | None = None
        self._sent_lag_s = 0.0
        self._ended = False
        self._was_cut = False
        self._end_reason: ApplianceError | None = None
        self._hearing = asyncio.Lock()
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
        await self._greet(self._line)
        writer = asyncio.create_task(self._write(), name="write")
        stopper = asyncio.create_task(self._cut_short(writer), name="stop")
        tasks = {writer, stopper, asyncio.create_task(self._read()), asyncio.create_task(self._follow())}
        try:
            running = tasks
            while writer in running and stopper in running:
                done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()
            all_sent = writer.done()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            self._stream.close()
            await asyncio.get_running_loop().run_in_executor(self._service.audio_pool, self._decoder.close)
        if self._stop.is_set():
            # In this order: clients of the field take what comes before ready_to_stop for text, and nothing after it.
            why = restarting()
            if all_sent:
                await self._send(dump(READY_TO_STOP | ({"reason": why.code} if self._was_cut else {})))
            else:
                await self._send_update()
            await self._send(dump(error_event(why)))
            return Close.RESTART
        if self._end_reason:
            raise self._end_reason
        await self._unless_stopped(self._farewell())
        return Close.NORMAL

    # Over which socket.

    async def _greet(self, line: Line) -> None:
        """Tell a client where its session stands; updates follow, and to one that came back the first has it all."""
        resume = self._lines.id and {
            "id": self._lines.id,
            "window_s": self._lines.window_s,
            "received_bytes": self._received_bytes,
            "received_s": round(self._received_samples / SAMPLE_RATE_HZ, 3),
        }
        await line.send(dump(config_event(self._service.settings, self._options, self._name, resume or None)))
        self._line = line
        self._updates = UpdateWriter(self._options.mode, words=self._options.words)
        self._sent, self._sent_lag_s = None, 0.0

    async def _go_on(self, gone: WebSocketDisconnect) -> None:
        """Wait for the client to come back, and tell it what was heard. Raises ``gone`` where it does not."""
        if self._lines.id and not closed_for_good(gone):
            log.info("connection lost (%s): waiting %g s for its client", gone.code, self._lines.window_s)
        line = await self._lines.another(gone)
        log.info("%s: came back", line.client)
        await self._greet(line)
        self._news.set()

    async def _farewell(self) -> None:
        """All is said. A client that may come back closes when it has that, or gets it again."""
        if self._line is not self._lines.line:  # it came back just now
            await self._greet(self._lines.line)
            await self._send_update()
        while True:
            await self._send(dump(READY_TO_STOP))
            if not self._lines.id:
                return
            gone = await self._lines.line.closing(FAREWELL_S)
            if closed_for_good(gone):
                return
            await self._go_on(gone)
            await self._send_update()

    async def _unless_stopped(self, doing: Coroutine[Any, Any, None]) -> None:
        tasks = {asyncio.create_task(doing), asyncio.create_task(self._stop.wait())}
        try:
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    # Reading.

    async def _read(self) -> None:
        """Take frames until the client is gone for good (which raises)."""
        timeout_s = self._service.settings.idle_timeout_s
        while True:
            try:
                message = await self._lines.line.receive(timeout_s)
            except TimeoutError:
                await self._idle(timeout_s)
                continue
            except WebSocketDisconnect as gone:
                await self._go_on(gone)
                continue
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
        self._received_bytes += len(data)

    async def _hear(self, pieces: Iterator[Samples]) -> None:
        """Feed decoded audio to the session, after what was before, waiting while too much of it is unheard."""
        loop = asyncio.get_running_loop()
        more = True
        async with self._hearing:
            while more:
                # In a copy of this context, so that the threads' lines in the log have the session's name.
                context = copy_context()
                batch, more = await loop.run_in_executor(self._service.audio_pool, context.run, take_some, pieces)
                for samples in batch:
                    self._stream.feed(samples)
                    self._received_samples += samples.size
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
            self._options = dataclasses.replace(self._options, language=language.lower())
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
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LAG_INTERVAL_S):
                    await self._news.wait()
            lag_s = round(self._stream.backlog_s, 1)
            if not self._news.is_set() and lag_s == self._sent_lag_s:
                continue
            self._news.clear()
            last = self._all_said.is_set()
            if self._latest is not self._sent or lag_s != self._sent_lag_s:
                self._sent, self._sent_lag_s = self._latest, lag_s
                await self._send_update()
            if last:
                return
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(UPDATE_INTERVAL_S):
                    await self._all_said.wait()

    async def _cut_short(self, writer: "asyncio.Task[None]") -> None:
        """On a server stop, end the stream as if the client had, and give it a bounded time to be answered."""
        await self._stop.wait()
        self._was_cut = not self._ended
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(STOP_GRACE_S):
                await self._end()
                await asyncio.wait({writer})

    async def _send_update(self) -> None:
        await self._send(self._updates.message(self._latest, self._stream.backlog_s))

    async def _send(self, text: str) -> None:
        await self._line.send(text)


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
