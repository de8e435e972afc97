"""What may come over a connection, before anything of ours looks at it: how fast, how fine, and how long in silence.

uvicorn hands over whole messages and stops reading while one of them waits; then it sees no ping either, and a client
that gets no pong closes. So half a minute of speech may wait here. What uvicorn leaves open is bounded: bytes and
frames that come too fast are read more slowly (the client's own socket fills), pongs are not heaped up for a client
that takes none, and a client whose host went away without a word is noticed. All of it is work of the event loop.
"""

import asyncio
import sys
from asyncio import TimerHandle
from asyncio.transports import BaseTransport

import h11
from uvicorn._types import ASGIReceiveEvent
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.frames import CloseCode, Frame

from appliance.server.headers import Protocol
from appliance.server.listening import NEAR, Listener

MAX_BYTES_PER_S = 8 * 1024 * 1024
"""Ten times what raw 32-bit audio at 192 kHz takes; a recording that is sent as fast as it can be heard needs less."""

MAX_FRAMES_PER_S = 1000
"""Frames of any kind. A page whose worklet sends each of its blocks by itself makes 375 a second."""

BURST_S = 2.0
"""A client that was quiet may send so much at once."""

MAX_FRAGMENTS = 1000
"""Of one message. Its bytes are bounded by uvicorn; empty fragments have none."""

READ_AHEAD_BYTES = 1024 * 1024
"""What may wait for the application before no more is read: 32 s of 16-bit speech at 16 kHz, minutes of Opus."""

REQUEST_TIMEOUT_S = 20.0
"""In this time a connection must have made its request, all headers of it; and ended one that was answered before."""

MORE_CONNECTIONS = 64
"""Beyond the limit, so many are told so; others are closed at once."""

_WATCHED = ("/healthz", "/readyz")

_SLICE_BYTES = 16 * 1024
"""Looked at in one go: were all of it empty frames, they would keep the event loop for some 5 ms (measured)."""


class Allowance:
    """How long to wait with reading on, so that bytes and frames stay within their rates. Costs add up as time."""

    def __init__(self) -> None:
        self._paid_until_s = 0.0

    def wait_s(self, now_s: float, size: int, frames: int) -> float:
        """Take this much; seconds after which more may be taken, often 0."""
        cost_s = size / MAX_BYTES_PER_S + frames / MAX_FRAMES_PER_S
        self._paid_until_s = max(self._paid_until_s, now_s - BURST_S) + cost_s
        return max(0.0, self._paid_until_s - now_s)


class Waiting(asyncio.Queue[ASGIReceiveEvent]):
    """Messages that wait for the application, and how much memory they take."""

    size = 0
    """In bytes."""

    def _put(self, item: ASGIReceiveEvent) -> None:
        super()._put(item)
        self.size += size_of(item)

    def _get(self) -> ASGIReceiveEvent:
        item = super()._get()
        self.size -= size_of(item)
        return item


def size_of(message: ASGIReceiveEvent) -> int:
    """Bytes of memory that a message takes, an empty one some hundred."""
    return sys.getsizeof(message) + sum(sys.getsizeof(value) for value in message.values())


class Wire(WebSocketsSansIOProtocol):
    """The socket of one client of the `/asr` protocol, from its handshake on.

    Reading has two reasons to rest: too much waits for the application (uvicorn's ``read_paused``), and the allowance
    is used up. What was read meanwhile stays in ``_unread``; no more is read while there is any.
    """

    transport: asyncio.Transport
    waiting: Waiting
    _allowance: Allowance
    _unread = b""
    _frames = 0
    _heard_s = 0.0
    _resting: TimerHandle | None = None

    def connection_made(self, transport: BaseTransport) -> None:
        self._allowance = Allowance()
        self.queue = self.waiting = Waiting()
        super().connection_made(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        if self._resting:
            self._resting.cancel()
        self._unread = b""
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        if self.transport.is_closing():
            return
        self._heard_s = self.loop.time()
        self._unread += data
        if self._resting is None and not self.read_paused:
            self._go_on()
        if self._unread:
            self.transport.pause_reading()

    def _go_on(self) -> None:
        """Look at what was read, until enough waits or it is time to rest."""
        self._resting = None
        while self._unread and not self.read_paused and not self.transport.is_closing():
            piece, self._unread = self._unread[:_SLICE_BYTES], self._unread[_SLICE_BYTES:]
            before = self._frames
            super().data_received(piece)
            rest_s = self._allowance.wait_s(self.loop.time(), len(piece), self._frames - before)
            if rest_s:
                self._resting = self.loop.call_later(rest_s, self._go_on)
                self.transport.pause_reading()
                return
        if not self._unread and not self.read_paused and not self.transport.is_closing():
            self.transport.resume_reading()

    def handle_events(self) -> None:
        self._frames += len(self.conn.events)
        super().handle_events()

    def send_receive_event_to_app(self) -> None:
        self.read_paused = True  # else uvicorn itself stops reading, for any message
        super().send_receive_event_to_app()
        self.read_paused = self._has_enough() and not self.close_sent

    async def receive(self) -> ASGIReceiveEvent:
        message = await self.queue.get()
        if self.read_paused and not self._has_enough():
            self.read_paused = False
            if self._resting is None:
                self._resting = self.loop.call_later(0, self._go_on)
        return message

    def _has_enough(self) -> bool:
        return self.waiting.size >= READ_AHEAD_BYTES

    async def run_asgi(self) -> None:
        await super().run_asgi()
        if self.close_timer is None and not self.writable.is_set():
            self.transport.abort()  # given up for taking nothing; a close would wait until it does

    def shutdown(self) -> None:
        if self.transport.is_closing():  # its client closed it first: a second close frame would be an error
            self.stop_keepalive()
        elif not self.writable.is_set():
            self.transport.abort()  # a close would wait until what was sent is taken
        else:
            super().shutdown()

    def handle_cont(self, event: Frame) -> None:
        if len(self.frames) < MAX_FRAGMENTS:
            super().handle_cont(event)
        elif not self.close_sent:
            self.conn.fail(CloseCode.MESSAGE_TOO_BIG, f"over {MAX_FRAGMENTS} fragments")
            self.handle_parser_exception()

    def handle_ping(self) -> None:
        if self.writable.is_set():
            super().handle_ping()
        else:
            self.conn.data_to_send()  # the pong: the client takes nothing, and would have it pile up

    def keepalive_timeout(self) -> None:
        """No pong. The client is gone if nothing else came either, while it could have come."""
        self.pong_timer = None
        self.pending_ping_payload = None
        if self.close_sent or self.transport.is_closing():
            return
        if self.read_paused or self._resting or self._unread or self._heard_s >= self.ping_sent_at:
            self.schedule_ping()
        else:
            self.transport.abort()  # a close would wait for what was sent, and nobody takes it


class Requests(Protocol):
    """A connection until its request is there: one that sends nothing, or headers without an end, is closed.

    However many there are, who asks from this machine whether all is well gets an answer: a server that is merely
    flooded must not be taken for one that hangs.
    """

    _deadline: TimerHandle | None = None

    @property
    def limit_concurrency(self) -> int | None:
        """uvicorn's, which asks for it once the request is read."""
        return None if self.scope and self.scope["path"] in _WATCHED else self.config.limit_concurrency

    @limit_concurrency.setter
    def limit_concurrency(self, limit: int | None) -> None:
        """uvicorn sets what stands in its configuration."""

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        limit = self.config.limit_concurrency
        is_near = self.client is not None and self.client[0] in NEAR
        if limit is not None and len(self.connections) > limit + MORE_CONNECTIONS and not is_near:
            transport.abort()
            return
        self._expect()

    def connection_lost(self, exc: Exception | None) -> None:
        self._settle()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        if self.conn.their_state is h11.IDLE or self.conn.our_state is h11.DONE:  # what follows an answer is for nobody
            self._expect()
        else:
            self._settle()

    def _expect(self) -> None:
        if self._deadline is None:
            self._deadline = self.loop.call_later(REQUEST_TIMEOUT_S, self.transport.abort)

    def _settle(self) -> None:
        if self._deadline:
            self._deadline.cancel()
        self._deadline = None


def requests_at(listener: Listener) -> type[Requests]:
    """`Requests` of the connections that a listener accepts, and that it counts until they come here."""

    class Accepted(Requests):
        def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
            listener.greeted(transport.get_extra_info("peername"))
            super().connection_made(transport)

    return Accepted
