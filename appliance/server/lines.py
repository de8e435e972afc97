"""The sockets of a session: the one it has, and another one when its client's connection dropped and it came back.

A client that asks for it (``resume=true``) gets an id that nobody can guess. While the session waits for it, it keeps
its place, its stream and its decoder; after the window it ends as one whose client went away.
"""

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator
from typing import Any

from starlette.websockets import WebSocket, WebSocketDisconnect

from appliance.errors import ApplianceError
from appliance.server.access import Client
from appliance.server.protocol import Close

_FOR_GOOD = (1000, 1001)
"""Closed with these, a client does not come back. (A connection that breaks is told to us as 1005.)"""


class Line:
    """One socket, while a session talks over it.

    ``client``: who is at its other end. ``timeout_s``: a client that takes nothing for this long is gone.
    """

    def __init__(self, socket: WebSocket, client: Client, timeout_s: float) -> None:
        self.client = client
        self.socket = socket
        self.over: asyncio.Future[Close] = asyncio.get_running_loop().create_future()
        """How it ends: the code to close it with, the error to tell first, or a `WebSocketDisconnect`: it is gone."""
        self.closed = asyncio.Event()
        """Set by who holds the socket, once its client was told how it ended, or is gone."""
        self._timeout_s = timeout_s
        self._takes = True
        self._sending = asyncio.Lock()
        self._waiting: set[asyncio.Timeout] = set()

    async def receive(self, timeout_s: float) -> dict[str, Any]:
        """The client's next message. One task at a time.

        Raises:
            TimeoutError: none came.
            WebSocketDisconnect: the line is over.
        """
        if self.over.done():
            raise WebSocketDisconnect(1006, "left")
        try:
            async with self._patience(timeout_s):
                message: dict[str, Any] = dict(await self.socket.receive())
        except TimeoutError:
            if self.over.done():
                raise WebSocketDisconnect(1006, "left") from None
            raise
        if message["type"] == "websocket.disconnect":
            gone = WebSocketDisconnect(message.get("code", 1005), message.get("reason"))
            self.leave(gone)
            raise gone
        return message

    async def closing(self, timeout_s: float) -> WebSocketDisconnect:
        """How the client closes it, whatever it sends before; one that does not is left."""
        loop = asyncio.get_running_loop()
        until = loop.time() + timeout_s
        try:
            while True:
                await self.receive(until - loop.time())
        except TimeoutError:
            gone = WebSocketDisconnect(1006, "did not close")
            self.leave(gone)
        except WebSocketDisconnect as closed:
            gone = closed
        return gone

    async def send(self, text: str) -> None:
        """Send, unless it is over; that it is now, and how the client ended it, `receive` tells."""
        async with self._sending:
            if self.over.done() or not self._takes:
                return
            try:
                async with self._patience(self._timeout_s):
                    await self.socket.send_text(text)
            except TimeoutError:
                self.leave(WebSocketDisconnect(1006, "takes no updates"))
            except (WebSocketDisconnect, RuntimeError):  # RuntimeError: uvicorn closed it for a fault in a frame
                self._takes = False

    def leave(self, how: Close | ApplianceError | WebSocketDisconnect) -> None:
        """The session needs it no more, and whoever waits for it is woken. What was said first stays."""
        if self.over.done():
            return
        if isinstance(how, Close):
            self.over.set_result(how)
        else:
            self.over.set_exception(how)
        for waiting in self._waiting:
            if not waiting.expired():
                waiting.reschedule(asyncio.get_running_loop().time())

    @contextlib.asynccontextmanager
    async def _patience(self, timeout_s: float) -> AsyncIterator[None]:
        """A `TimeoutError` after this time, and as soon as the line is left."""
        async with asyncio.timeout(timeout_s) as waiting:
            self._waiting.add(waiting)
            try:
                yield
            finally:
                self._waiting.discard(waiting)


class Lines:
    """The lines of one session, one after the other."""

    def __init__(self, line: Line) -> None:
        self.line = line
        self.id = ""
        """What its client shows to have it back; "" where it may not."""
        self.window_s = 0.0
        self._next: Line | None = None
        self._came = asyncio.Event()
        self._until: float | None = None

    @property
    def away(self) -> bool:
        """Whether the client is gone, and may come back."""
        return self.line.over.done() and not self._came.is_set()

    def allow(self, window_s: float) -> None:
        """Let the client come back within so many seconds; 0: not at all."""
        self.id = secrets.token_urlsafe(16) if window_s else ""
        self.window_s = window_s

    def come(self, line: Line) -> None:
        """The client is back. Where it still has another line, as after its network changed, that one is closed."""
        self.line.leave(_taken_over())
        if self._next:
            self._next.leave(_taken_over())
        self._next = line
        self._came.set()

    async def another(self, gone: WebSocketDisconnect) -> Line:
        """Wait for the client to come back, after the line ended so. May be called again when it was cancelled.

        Raises:
            WebSocketDisconnect: ``gone``, of a client that does not come back, or did not in time.
        """
        if not self._came.is_set() and (not self.id or gone.code in _FOR_GOOD):
            raise gone
        if self._until is None:
            self._until = asyncio.get_running_loop().time() + self.window_s
        try:
            async with asyncio.timeout_at(self._until):
                await self._came.wait()
        except TimeoutError:
            raise gone from None
        assert self._next is not None
        self._came.clear()
        self.line, self._next, self._until = self._next, None, None
        return self.line

    def end(self, how: Close | ApplianceError | WebSocketDisconnect) -> None:
        """The session is over: its client is told how; one that came too late, that there is none, or the restart."""
        self.line.leave(how)
        if self._next:
            self._next.leave(how if how is Close.RESTART else unknown_session())

    async def closed(self) -> None:
        """Wait, after `end`, until the clients were told."""
        for line in (self.line, self._next):
            if line:
                await line.closed.wait()


def closed_for_good(gone: WebSocketDisconnect) -> bool:
    return gone.code in _FOR_GOOD


def unknown_session() -> ApplianceError:
    """What one is told who asks for a session that is over, was never there, or is another one's."""
    return ApplianceError(
        "there is no session with this id to go on with",
        "connect without it: a new stream begins",
        code="unknown_session",
    )


def _taken_over() -> ApplianceError:
    return ApplianceError(
        "the session goes on over another connection", "a session has one at a time: the newest", code="taken_over"
    )
