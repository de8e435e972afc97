"""What a client may do to a connection, over real sockets, with a small application behind them."""

import asyncio
import contextlib
import ctypes
import http.client
import socket as sockets
import ssl
import struct
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import uvicorn
from starlette.types import Message, Receive, Scope, Send
from websockets.exceptions import ConnectionClosed
from websockets.frames import Frame, Opcode
from websockets.sync.client import ClientConnection, connect

from appliance.server import listening, wire
from appliance.server.certificate import Certificate
from appliance.server.listening import bind
from appliance.server.wire import Allowance, Wire, requests_at
from tests.server.certificates import put_foreign

PING_S = 0.4
PATIENT_S = 1.5
"""Between pings that must be answered in time, on a machine that is busy otherwise."""
PAYLOAD = b"p" * 120


@dataclass
class Behind:
    """An application that notes what it receives; it takes nothing while ``open`` is not set."""

    messages: list[Message] = field(default_factory=list)
    open: threading.Event = field(default_factory=threading.Event)
    gone: threading.Event = field(default_factory=threading.Event)
    wires: list[Wire] = field(default_factory=list)
    port: int = 0
    server: uvicorn.Server = field(init=False)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
            await send({"type": "http.response.body"})
            return
        self.wires.append(receive.__self__)  # type: ignore[attr-defined]
        await send({"type": "websocket.accept"})
        while True:
            while not self.open.is_set():  # noqa: ASYNC110 (set by the test's thread)
                await asyncio.sleep(0.01)
            message = await receive()
            self.messages.append(message)
            if message["type"] == "websocket.disconnect":
                self.gone.set()
                return
            if message.get("text") in ("talk", "talk and leave"):
                await send({"type": "websocket.send", "bytes": bytes(16 * 1024 * 1024)})
            if message.get("text") == "talk and leave":
                return

    def received(self) -> list[bytes]:
        return [message["bytes"] for message in list(self.messages) if message.get("bytes") is not None]


@contextlib.contextmanager
def behind(
    ping_s: float = 60.0, tls: Certificate | None = None, limit_concurrency: int | None = None
) -> Iterator[Behind]:
    app = Behind()
    app.open.set()
    listener = bind("127.0.0.1", 0, shakes_hands=tls is not None)
    app.port = listener.getsockname()[1]
    config = uvicorn.Config(
        app,
        http=requests_at(listener),
        ws=Wire,
        lifespan="off",
        log_config=None,
        ws_ping_interval=ping_s,
        ws_ping_timeout=ping_s,
        ws_per_message_deflate=False,
        timeout_graceful_shutdown=30,
        limit_concurrency=limit_concurrency,
        ssl_certfile=tls.certificate if tls else None,
        ssl_keyfile=tls.key if tls else None,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    app.server = server
    thread.start()
    try:
        until(lambda: server.started)
        yield app
    finally:
        app.open.set()
        server.should_exit = True
        thread.join()


def until(true: Callable[[], bool], timeout_s: float = 30.0) -> None:
    deadline = time.monotonic() + timeout_s
    while not true():
        assert time.monotonic() < deadline, "it did not come to that"
        time.sleep(0.01)


def opened(app: Behind) -> ClientConnection:
    return connect(f"ws://127.0.0.1:{app.port}/", compression=None, proxy=None, ping_interval=None)


@contextlib.contextmanager
def bare(app: Behind, *, tls: bool = False) -> Iterator[sockets.socket]:
    """A WebSocket that answers nothing by itself, and whose system keeps little for it."""
    with contextlib.ExitStack() as kept:
        connection = kept.enter_context(sockets.socket())
        connection.setsockopt(sockets.SOL_SOCKET, sockets.SO_RCVBUF, 4096)
        connection.settimeout(20)
        connection.connect(("127.0.0.1", app.port))
        if tls:
            any_server = ssl.create_default_context()
            any_server.check_hostname, any_server.verify_mode = False, ssl.CERT_NONE
            connection = kept.enter_context(any_server.wrap_socket(connection))
        connection.sendall(
            b"GET / HTTP/1.1\r\nHost: a\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: MDEyMzQ1Njc4OWFiY2RlZg==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        )
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += connection.recv(1)
        assert b" 101 " in head
        yield connection


def frame(opcode: Opcode, data: bytes, *, fin: bool = True) -> bytes:
    return Frame(opcode, data, fin).serialize(mask=True)


def deafen(connection: sockets.socket) -> None:
    """From now on nothing that arrives for this socket is seen or acknowledged: its host has vanished."""
    drop_all = ctypes.create_string_buffer(struct.pack("HBBI", 6, 0, 0, 0))  # BPF: return 0 bytes
    program = struct.pack("HP", 1, ctypes.addressof(drop_all))
    connection.setsockopt(sockets.SOL_SOCKET, 26, program)  # SO_ATTACH_FILTER


def test_an_allowance_lets_bursts_pass_and_then_counts() -> None:
    allowance = Allowance()
    assert allowance.wait_s(100.0, 0, 2 * wire.MAX_FRAMES_PER_S) == 0
    assert allowance.wait_s(100.0, wire.MAX_BYTES_PER_S, 0) == pytest.approx(1.0)
    assert allowance.wait_s(100.5, 0, wire.MAX_FRAMES_PER_S // 2) == pytest.approx(1.0)
    assert allowance.wait_s(1000.0, 1000, 10) == 0


def test_bytes_that_come_too_fast_are_held_back_and_none_is_lost(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "MAX_BYTES_PER_S", 256 * 1024)
    monkeypatch.setattr(wire, "BURST_S", 0.5)
    pieces = [bytes([number % 256]) * 50_000 for number in range(16)]
    with behind() as app, opened(app) as socket:
        started_s = time.monotonic()
        for piece in pieces:
            socket.send(piece)
        until(lambda: len(app.received()) == len(pieces))
        took_s = time.monotonic() - started_s
        assert app.received() == pieces
    assert took_s > 800_000 / (256 * 1024) - 0.6


@pytest.mark.parametrize("opcode", [Opcode.BINARY, Opcode.TEXT, Opcode.PING])
def test_small_frames_are_counted_whatever_they_are(monkeypatch: pytest.MonkeyPatch, opcode: Opcode) -> None:
    monkeypatch.setattr(wire, "MAX_FRAMES_PER_S", 4000)
    monkeypatch.setattr(wire, "BURST_S", 0.1)
    count = 7000  # of 8 bytes: several pieces of what is looked at in one go
    with behind() as app, bare(app) as socket:
        started_s = time.monotonic()
        socket.sendall(frame(opcode, b"{}") * count + frame(Opcode.BINARY, b"the end"))
        until(lambda: b"the end" in app.received())
        took_s = time.monotonic() - started_s
        if opcode is not Opcode.PING:
            assert len(app.messages) == 1 + count + 1
    assert took_s > 1.0


def test_little_waits_while_the_application_takes_nothing() -> None:
    with behind() as app, bare(app) as socket:
        app.open.clear()
        socket.settimeout(0.5)
        with contextlib.suppress(TimeoutError):
            while True:
                socket.send(frame(Opcode.BINARY, b"x") * 10_000)
        (client,) = app.wires
        assert client.waiting.size < 2 * wire.READ_AHEAD_BYTES
        assert len(client._unread) <= 512 * 1024
        app.open.set()


def test_a_ping_is_answered_while_speech_waits_and_all_of_it_is_heard() -> None:
    """Half a minute of it, as while inference hangs: clients of the field close after 20 s without a pong."""
    pieces = [bytes([number]) * 3200 for number in range(250)]
    with behind() as app, opened(app) as socket:
        app.open.clear()
        for piece in pieces:
            socket.send(piece)
        assert socket.ping().wait(20)
        app.open.set()
        until(lambda: len(app.received()) == len(pieces))
        assert app.received() == pieces
        (client,) = app.wires
        assert client.waiting.size == 0


def test_what_waits_is_heard_though_its_client_left() -> None:
    with behind() as app, opened(app) as socket:
        app.open.clear()
        for _ in range(50):
            socket.send(b"audio")
        socket.close()
        app.open.set()
        until(app.gone.is_set)
        assert app.received() == [b"audio"] * 50


def test_pongs_do_not_pile_up_for_a_client_that_takes_none(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "MAX_FRAMES_PER_S", 1_000_000)
    with behind() as app, bare(app) as socket:
        for _ in range(400):
            socket.sendall(frame(Opcode.PING, PAYLOAD) * 200)  # 10 MB of pongs
        socket.sendall(frame(Opcode.BINARY, b"the end"))
        until(lambda: b"the end" in app.received())
        (client,) = app.wires
        assert client.transport.get_write_buffer_size() < 256 * 1024


def test_what_was_sent_to_a_client_that_takes_nothing_does_not_outlive_its_session() -> None:
    with behind() as app, bare(app) as socket:
        socket.sendall(frame(Opcode.TEXT, b"talk and leave"))
        until(lambda: bool(app.wires) and app.wires[0].disconnected)


def test_a_client_that_closed_first_is_closed_no_second_time(tmp_path: Path) -> None:
    """Under TLS its connection lasts until it answers, which this one does not.

    What fails in the server's thread fails the test.
    """
    with behind(tls=put_foreign(tmp_path)) as app, bare(app, tls=True) as leaving, bare(app, tls=True) as staying:
        leaving.sendall(frame(Opcode.CLOSE, struct.pack("!H", 1000)))
        until(app.gone.is_set)
        app.server.should_exit = True
        assert staying.recv(4) == b"\x88\x02" + struct.pack("!H", 1012)


def test_a_client_that_takes_nothing_holds_no_stop_up() -> None:
    with behind() as app, bare(app) as socket:
        socket.sendall(frame(Opcode.TEXT, b"talk"))
        until(lambda: bool(app.wires) and not app.wires[0].writable.is_set())
        app.server.should_exit = True
        until(lambda: app.wires[0].disconnected)


@pytest.mark.parametrize("tls", [False, True])
def test_a_message_and_a_close_at_once_leave_no_fault(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, tls: bool
) -> None:
    with behind(tls=put_foreign(tmp_path) if tls else None) as app, bare(app, tls=tls) as socket:
        socket.sendall(frame(Opcode.BINARY, b"audio") + frame(Opcode.CLOSE, struct.pack("!H", 1000)))
        until(app.gone.is_set)
        assert app.received() == [b"audio"]
    assert not caplog.records


def test_a_message_in_endless_fragments_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "MAX_FRAMES_PER_S", 1_000_000)
    with behind() as app, opened(app) as socket:
        raw = socket.socket
        raw.sendall(frame(Opcode.BINARY, b"", fin=False) + frame(Opcode.CONT, b"", fin=False) * 5000)
        with pytest.raises(ConnectionClosed):
            socket.recv(timeout=20)
        assert socket.close_code == 1009
        until(app.gone.is_set)


@pytest.mark.parametrize("tls", [False, True])
def test_a_client_that_vanished_is_noticed(tmp_path: Path, tls: bool) -> None:
    """Its host says nothing any more: no end of the connection, no acknowledgement, no pong."""
    with behind(PING_S, put_foreign(tmp_path) if tls else None) as app, bare(app, tls=tls) as socket:
        socket.sendall(frame(Opcode.BINARY, b"audio"))
        until(lambda: app.received() == [b"audio"])
        deafen(socket)
        until(app.gone.is_set)


def test_a_client_that_answers_no_ping_but_sends_is_there() -> None:
    with behind(PATIENT_S) as app, bare(app) as socket:
        deadline = time.monotonic() + 3.5 * PATIENT_S
        while time.monotonic() < deadline:
            socket.sendall(frame(Opcode.BINARY, b"audio"))
            time.sleep(0.1)
        assert not app.gone.is_set()
        until(app.gone.is_set)  # now that it says nothing


def test_a_client_that_answers_pings_may_be_silent() -> None:
    with behind(PATIENT_S) as app, opened(app) as socket:
        with pytest.raises(TimeoutError):
            socket.recv(timeout=3.5 * PATIENT_S)
        assert not app.gone.is_set()


def test_a_client_that_is_not_read_is_not_gone() -> None:
    """Its pong waits behind its audio, which the server itself does not take."""
    with behind(PING_S) as app, bare(app) as socket:
        app.open.clear()
        socket.sendall(frame(Opcode.BINARY, bytes(wire.READ_AHEAD_BYTES // 2)) * 3)
        time.sleep(6 * PING_S)
        assert not app.wires[0].transport.is_closing()
        app.open.set()
        until(lambda: len(app.received()) == 3)
        until(app.gone.is_set)


def test_the_system_watches_connections_too() -> None:
    with behind() as app, bare(app):
        until(lambda: bool(app.wires))
        connection = app.wires[0].transport.get_extra_info("socket")
        assert connection.getsockopt(sockets.SOL_SOCKET, sockets.SO_KEEPALIVE) == 1
        assert connection.getsockopt(sockets.IPPROTO_TCP, sockets.TCP_USER_TIMEOUT) == 60_000


@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\nHost: a\r\nX-Endless: "])
def test_a_connection_without_a_request_is_closed(monkeypatch: pytest.MonkeyPatch, sent: bytes) -> None:
    monkeypatch.setattr(wire, "REQUEST_TIMEOUT_S", 0.5)
    with behind() as app, sockets.create_connection(("127.0.0.1", app.port), timeout=20) as connection:
        connection.sendall(sent)
        assert connection.recv(100) == b""


def test_what_follows_an_answer_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """A body that goes on behind its answer, a byte now and then."""
    monkeypatch.setattr(wire, "REQUEST_TIMEOUT_S", 0.5)
    with behind() as app, sockets.create_connection(("127.0.0.1", app.port), timeout=20) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        assert b" 200 " in connection.recv(1000)
        began = time.monotonic()
        with contextlib.suppress(ConnectionError):
            while time.monotonic() - began < 10:
                connection.sendall(b"1\r\nx\r\n")
                time.sleep(0.1)
        assert time.monotonic() - began < 5


def status_of(port: int, path: str) -> int:
    with contextlib.closing(http.client.HTTPConnection("127.0.0.1", port, timeout=20)) as connection:
        connection.request("GET", path)
        return connection.getresponse().status


def test_who_watches_is_answered_however_many_are_connected() -> None:
    """Others are told, up to a bound; beyond that a connection is closed, unless it comes from here."""
    far = ("127.0.0.9", 0)
    with behind(limit_concurrency=20) as app, contextlib.ExitStack() as open_:
        for _ in range(20 + wire.MORE_CONNECTIONS):
            open_.enter_context(sockets.create_connection(("127.0.0.1", app.port), timeout=20, source_address=far))
        assert [status_of(app.port, path) for path in ("/healthz", "/readyz", "/")] == [200, 200, 503]
        one_more = open_.enter_context(sockets.create_connection(("127.0.0.1", app.port), 20, source_address=far))
        with contextlib.suppress(ConnectionResetError):
            assert one_more.recv(100) == b""
        assert status_of(app.port, "/healthz") == 200


def test_connections_that_never_finish_their_handshake_are_bounded(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Nothing but the socket that accepts them knows of these. Who is through with it is in nobody's way."""
    monkeypatch.setattr(listening, "MOST_STRANGERS", 3)
    far = ("127.0.0.9", 0)
    trusting = ssl.create_default_context()
    trusting.check_hostname, trusting.verify_mode = False, ssl.CERT_NONE
    with behind(tls=put_foreign(tmp_path)) as app, contextlib.ExitStack() as open_:

        def silent() -> sockets.socket:
            return open_.enter_context(sockets.create_connection(("127.0.0.1", app.port), 20, source_address=far))

        through = trusting.wrap_socket(silent())
        waiting = [silent() for _ in range(5)]
        for one in waiting[:2]:
            with contextlib.suppress(ConnectionResetError):
                assert one.recv(100) == b""
        through.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert b" 200 " in through.recv(1000)
        through.close()
        last = trusting.wrap_socket(waiting[-1])
        last.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert b" 200 " in last.recv(1000)
        last.close()


def test_a_second_request_has_its_time_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wire, "REQUEST_TIMEOUT_S", 0.5)
    with behind() as app, sockets.create_connection(("127.0.0.1", app.port), timeout=20) as connection:
        connection.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        assert b" 200 " in connection.recv(1000)
        time.sleep(1.0)
        connection.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET / HT")
        with contextlib.suppress(ConnectionResetError):
            while connection.recv(1000):
                pass
