"""The `/asr` endpoint: who may come in, and how each ends. Errors of a session stop here."""

import asyncio
import contextlib
import logging
from collections.abc import Mapping

from starlette.websockets import WebSocket, WebSocketDisconnect

from appliance.errors import ApplianceError
from appliance.log import session
from appliance.server.access import Client, peer, selected_subprotocol
from appliance.server.connection import FAREWELL_S, Connection
from appliance.server.headers import HEADERS
from appliance.server.kept import wanted_session
from appliance.server.lines import Line, Lines
from appliance.server.protocol import Close, close_code, dump, error_event, parse_options
from appliance.server.refusals import refusal, restarting
from appliance.server.service import Service

log = logging.getLogger(__name__)

REFUSE_HEADER = "wlk-refuse"
"""Set to "handshake" by proxies that have several servers: a refusal that another one may not share is HTTP 503."""


async def serve_asr(socket: WebSocket) -> None:
    """One client. It is accepted first, so that a refusal can say why; but not where a proxy can try another server."""
    with session() as name:
        line = await _let_in(socket, socket.app.state.service, name)
        if line:
            await _serve(socket, line)


async def _let_in(socket: WebSocket, service: Service, name: str) -> Line | None:
    """Begin a session, or go on with the one that the client comes back to; None for a client that was refused."""
    client = peer(socket)
    wanted = wanted_session(socket)
    try:
        if socket.headers.get(REFUSE_HEADER) == "handshake":
            if wanted:
                service.kept.check(wanted)
            else:
                service.check_place()
    except ApplianceError as error:
        log.info("%s: %s (%s, before the handshake)", client, error.message, error.code)
        service.metrics.refused(error.code)
        answer = refusal(socket.url.path, error)
        answer.headers.update(HEADERS)  # which uvicorn puts before all others
        await socket.send_denial_response(answer)
        return None
    await socket.accept(subprotocol=selected_subprotocol(socket))
    try:
        client = service.access.admit(socket)
        line = Line(socket, client, service.settings.client_timeout_s)
        if wanted:
            service.kept.find(wanted, client).come(line)
    except ApplianceError as error:
        log.info("%s: %s (%s)", client, error.message, error.code)
        service.metrics.refused(error.code)
        await _tell(socket, error)
        return None
    if wanted:
        service.metrics.resumed()
    else:
        service.keep_running(_live(socket.query_params, line, service, name))
    return line


async def _serve(socket: WebSocket, line: Line) -> None:
    """Hold the socket open for its session, and close it as that says."""
    try:
        close = await line.over
    except WebSocketDisconnect:
        return
    except ApplianceError as error:
        await _tell(socket, error)
    else:
        await _close(socket, close, restarting().code if close is Close.RESTART else "")
    finally:
        line.closed.set()


async def _live(query: Mapping[str, str], line: Line, service: Service, name: str) -> None:
    """A session, from its beginning to its end; its first socket may be gone before."""
    client = line.client
    seated = asyncio.Event()
    lines = Lines(line)
    running = asyncio.ensure_future(_session(query, lines, service, client, name, seated))
    try:
        await asyncio.wait({running})
    finally:
        running.cancel()
    end = running.exception()
    count = service.metrics.ended if seated.is_set() else service.metrics.refused
    if end is None:
        log.info("%s: done", client)
        count("done" if running.result() is Close.NORMAL else "restarting")
        lines.end(running.result())
    elif isinstance(end, ApplianceError):
        log.info("%s: %s (%s)", client, end.message, end.code)
        count(end.code)
        lines.end(end)
    elif isinstance(end, WebSocketDisconnect):
        log.info("%s: went away (%s)", client, end.code)
        count("gone")
        lines.end(end)
    else:
        log.error("%s: session failed", client, exc_info=end)
        count("internal")
        lines.end(ApplianceError("the session failed", "the server's log says more", code="internal"))
    if end is not None or running.result() is Close.RESTART:
        await lines.closed()  # a stop waits for this; who has all its words may close when it likes


async def _session(
    query: Mapping[str, str], lines: Lines, service: Service, client: Client, name: str, seated: asyncio.Event
) -> Close:
    options = parse_options(query, service.settings)
    if options.resume:
        lines.allow(service.settings.resume_window)
    service.check_place()  # what a session needs is made for those only who get one
    connection = Connection(lines, service, options, name)
    with service.seat(connection, client), service.kept.keep(lines, client):
        seated.set()
        log.info("%s: connected", client)
        return await connection.run()


async def _tell(socket: WebSocket, error: ApplianceError) -> None:
    """Send the error, then close with its code. The client may be gone; that is fine."""
    with contextlib.suppress(WebSocketDisconnect, RuntimeError, TimeoutError):
        await asyncio.wait_for(socket.send_text(dump(error_event(error))), FAREWELL_S)
    await _close(socket, close_code(error), error.message)


async def _close(socket: WebSocket, code: Close, reason: str = "") -> None:
    """Close, after leaving a client whose stream is answered the time to do it first."""
    with contextlib.suppress(WebSocketDisconnect, RuntimeError, TimeoutError):
        if code is Close.NORMAL:
            async with asyncio.timeout(FAREWELL_S):
                while (await socket.receive())["type"] != "websocket.disconnect":
                    pass
            return
    with contextlib.suppress(WebSocketDisconnect, RuntimeError, TimeoutError):
        closing = socket.close(code, reason.encode()[:120].decode(errors="ignore"))
        await asyncio.wait_for(closing, FAREWELL_S)
