"""One client on the `/asr` WebSocket, from its first frame to its last update.

Tasks that share a connection: one reads frames and has them heard; one sends updates, at most ten a second and never
two at once. A slow reader therefore gets fewer updates, not a longer queue. A client that drops and comes back
(`appliance.server.lines`) finds all of this as it was; the task that reads frames goes over to its new socket, between
two frames.
"""

import asyncio
import contextlib
import dataclasses
import logging
from collections.abc import Coroutine
from typing import Any

from starlette.websockets import WebSocketDisconnect

from appliance.errors import ApplianceError
from appliance.server.hearing import Hearing
from appliance.server.lines import Line, Lines, closed_for_good
from appliance.server.news import News
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

log = logging.getLogger(__name__)

_HEARD_WITHIN_S = 1.0
"""What came in before a connection broke is decoded in this time, unless the stream is far behind."""

FAREWELL_S = 5.0
"""How long a client has for its own closing after the last message."""


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
        settings = service.settings
        wanted = stream_options(settings, language=options.language, task=options.task)
        self._news = News(
            lambda take: models.open_stream(
                wanted,
                take,
                diarization=options.diarization,
                target_language=options.target_language,
                origin=Origin(name, self._line.client.token),
            ),
            service.metrics.showed,
        )
        self._stream = self._news.stream
        self._hearing = Hearing(
            self._news,
            AudioDecoder(
                options.format,
                rate_hz=options.rate_hz,
                raw_default=settings.pcm_format,
                open_container=service.decoders.open,
            ),
            service.audio_pool,
            settings.max_backlog_s,
            service.metrics.received,
        )
        self._updates = UpdateWriter(options.mode, words=options.words)
        self._was_cut = False
        self._end_reason: ApplianceError | None = None
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
        tasks = {writer, stopper, asyncio.create_task(self._read())}
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
            await self._hearing.close()
        if self._stop.is_set():
            # In this order: clients of the field take what comes before ready_to_stop for text, and nothing after it.
            why = restarting()
            if not all_sent:
                await self._send_update()
            if all_sent or self._news.latest.is_final:  # what clients have asked for is their words first
                await self._send(dump(READY_TO_STOP | ({"reason": why.code} if self._was_cut else {})))
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
            "received_bytes": self._hearing.received_bytes,
            "received_s": round(self._hearing.received_s, 3),
        }
        await line.send(dump(config_event(self._service.settings, self._options, self._name, resume or None)))
        self._line = line
        self._updates = UpdateWriter(self._options.mode, words=self._options.words)

    async def _go_on(self, gone: WebSocketDisconnect) -> None:
        """Wait for the client to come back, and tell it what was heard. Raises ``gone`` where it does not."""
        if self._lines.id and not closed_for_good(gone):
            log.info("connection lost (%s): waiting %g s for its client", gone.code, self._lines.window_s)
        line = await self._lines.another(gone)
        log.info("%s: came back", line.client)
        await self._greet(line)
        self._news.again()

    async def _farewell(self) -> None:
        """All is said. A client that may come back closes when it has that, or gets it again."""
        if self._line is not self._lines.line:  # it came back just now
            await self._greet(self._lines.line)
            self._news.again()
        if self._news.untold:
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
        """Take frames until the client is gone for good (which raises), one after the other."""
        timeout_s = self._service.settings.idle_timeout_s
        taking: asyncio.Task[None] | None = None
        try:
            while True:
                line = self._lines.line
                if taking:
                    either: tuple[asyncio.Future[Any], ...] = (taking, line.over)
                    await asyncio.wait(either, return_when=asyncio.FIRST_COMPLETED)
                    # It may wait long for room, and a client that comes back wants to know where it stands.
                    await asyncio.wait((taking,), timeout=_HEARD_WITHIN_S)
                    if taking.done():
                        taking.result()
                        taking = None
                try:
                    message = await line.receive(timeout_s)
                except TimeoutError:
                    await self._idle(timeout_s)
                except WebSocketDisconnect as gone:
                    await self._go_on(gone)
                else:
                    taking = asyncio.create_task(self._take(message))
        finally:
            if taking:
                taking.cancel()
                await asyncio.gather(taking, return_exceptions=True)

    async def _take(self, message: dict[str, Any]) -> None:
        if message.get("bytes") is not None:
            await self._take_audio(message["bytes"])
        elif message.get("text") is not None:
            await self._take_control(message["text"])

    async def _take_audio(self, data: bytes) -> None:
        if not data:
            await self._hearing.finish()
            return
        if len(data) > self._service.settings.max_message_bytes and not self._hearing.ended:
            raise ApplianceError(
                f"message of {len(data)} bytes; at most {self._service.settings.max_message_bytes} are allowed",
                "send audio in smaller pieces, 100 ms each is good",
                code="message_too_big",
            )
        await self._hearing.feed(data)

    async def _idle(self, timeout_s: float) -> None:
        if self._hearing.ended:
            return
        self._end_reason = ApplianceError(
            f"nothing came for {timeout_s:g} s, so the stream was ended",
            'connect again to go on; to keep a quiet connection, send {"type": "ping"} now and then',
            code="idle_timeout",
        )
        await self._hearing.finish()

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
            await self._hearing.finish()
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

    async def _write(self) -> None:
        """Send what is new, until the last of it; raises what ended the stream early."""
        async for latest, lag_s in self._news.updates():
            await self._send(self._updates.message(latest, lag_s))
        self._stream.finished.result()

    async def _cut_short(self, writer: "asyncio.Task[None]") -> None:
        """On a server stop, end the stream as if the client had, and give it a bounded time to be answered."""
        await self._stop.wait()
        self._was_cut = not self._hearing.ended
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(STOP_GRACE_S):
                await self._hearing.finish()
                await asyncio.wait({writer})

    async def _send_update(self) -> None:
        await self._send(self._updates.message(self._news.latest, self._stream.backlog_s))

    async def _send(self, text: str) -> None:
        await self._line.send(text)
