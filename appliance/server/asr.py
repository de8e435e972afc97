"""The `/asr` endpoint: who may come in, and how each ends. Errors of a session stop here."""

import asyncio
import contextlib
import logging

from starlette.websockets import WebSocket, WebSocketDisconnect

from appliance.errors import ApplianceError
from appliance.log import session
from appliance.server.access import Client, peer, selected_subprotocol
from appliance.server.connection import Connection
from appliance.server.headers import HEADERS
from appliance.server.protocol import Close, close_code, dump, error_event, parse_options
from appliance.server.refusals import refusal, restarting
from appliance.server.service import Service

log = logging.getLogger(__name__)

REFUSE_HEADER = "wlk-refuse"
"""Set to "handshake" by proxies that have several servers: a refusal that another one may not share is HTTP 503."""

FAREWELL_S = 5.0
"""How long a client has for its own closing after the last message."""


async def serve_asr(socket: WebSocket) -> None:
    """One client. It is accepted first, so that a refusal can say why; but not where a proxy can try another server."""
    with session() as name:
        await _serve(socket, socket.app.state.service, name)


async def _serve(socket: WebSocket, service: Service, name: str) -> None:
    client = peer(socket)
    try:
        if socket.headers.get(REFUSE_HEADER) == "handshake":
            service.check_place()
    except ApplianceError as error:
        log.info("%s: %s (%s, before the handshake)", client, error.message, error.code)
        service.metrics.refused(error.code)
        answer = refusal(socket.url.path, error)
        answer.headers.update(HEADERS)  # which uvicorn puts before all others
        await socket.send_denial_response(answer)
        return
    await socket.accept(subprotocol=selected_subprotocol(socket))
    try:
        client = service.access.admit(socket)
    except ApplianceError as error:
        log.info("%s: %s (%s)", client, error.message, error.code)
        service.metrics.refused(error.code)
        await _tell(socket, error)
        return
    seated = asyncio.Event()
    running = asyncio.ensure_future(_session(socket, service, client, name, seated))
    try:
        await asyncio.wait({running})
    finally:
        running.cancel()
    end = running.exception()
    count = service.metrics.ended if seated.is_set() else service.metrics.refused
    if end is None:
        log.info("%s: done", client)
        count("done" if running.result() is Close.NORMAL else "restarting")
        await _close(socket, running.result())
    elif isinstance(end, ApplianceError):
        log.info("%s: %s (%s)", client, end.message, end.code)
        count(end.code)
        await _tell(socket, end)
    elif isinstance(end, WebSocketDisconnect):
        log.info("%s: went away (%s)", client, end.code)
        count("gone")
    else:
        log.error("%s: session failed", client, exc_info=end)
        count("internal")
        await _tell(socket, ApplianceError("the session failed", "the server's log says more", code="internal"))


async def _session(socket: WebSocket, service: Service, client: Client, name: str, seated: asyncio.Event) -> Close:
    options = parse_options(socket.query_params, service.settings)
    connection = Connection(socket, service, options, name, client.token)
    with service.seat(connection, client):
        seated.set()
        log.info("%s: connected", client)
        end = await connection.run()
        if end is Close.RESTART:  # while the shutdown still waits for us
            await _close(socket, end, restarting().code)
        return end


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
    with contextlib.suppress(WebSocketDisconnect, RuntimeError):
        await socket.close(code, reason.encode()[:120].decode(errors="ignore"))
