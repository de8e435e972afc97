"""Which socket a session has, and who may have it back: no server, and sockets of wood."""

import asyncio
import json
from collections.abc import Callable, Coroutine
from typing import Any

import pytest
from starlette.requests import HTTPConnection
from starlette.websockets import WebSocket, WebSocketDisconnect
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import connect

from appliance.errors import ApplianceError
from appliance.pair.locate import Pair
from appliance.server.access import Client
from appliance.server.kept import Kept, wanted_session
from appliance.server.lines import Line, Lines
from appliance.server.protocol import Close
from appliance.server.service import Service
from appliance.server.settings import Settings
from tests.server.running import served

ANNA, BERT, NOBODY = (Client(name, "192.0.2.7", 4711) for name in ("anna", "bert", ""))
BROKEN = WebSocketDisconnect(1005)


class Peer:
    """The other end of a line."""

    def __init__(self) -> None:
        self.inbox: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.got: list[str] = []
        self.gone = False
        self.closed = False
        self.takes = asyncio.Event()
        self.takes.set()
        scope = {"type": "websocket", "headers": [], "query_string": b""}
        socket = WebSocket(scope, self.inbox.get, self._take)
        socket.client_state = socket.application_state = socket.client_state.CONNECTED
        self.line = Line(socket, ANNA, 20.0)

    def say(self, text: str) -> None:
        self.inbox.put_nowait({"type": "websocket.receive", "text": text})

    def close(self, code: int) -> None:
        self.inbox.put_nowait({"type": "websocket.disconnect", "code": code})

    async def _take(self, message: Any) -> None:
        if self.gone:
            raise OSError("gone")
        if self.closed:
            raise RuntimeError("Unexpected ASGI message 'websocket.send', after sending 'websocket.close'.")
        await self.takes.wait()
        self.got.append(message["text"])


def run(test: Callable[[], Coroutine[Any, Any, None]]) -> None:
    asyncio.run(asyncio.wait_for(test(), 30))


def told(line: Line) -> object:
    """How a line is over."""
    return line.over.exception() or line.over.result()


def test_a_line_gives_what_came_and_then_that_it_is_over() -> None:
    async def test() -> None:
        peer = Peer()
        peer.say("one")
        peer.close(1001)
        assert (await peer.line.receive(5))["text"] == "one"
        for _ in range(2):
            with pytest.raises(WebSocketDisconnect):
                await peer.line.receive(5)
        assert isinstance(gone := told(peer.line), WebSocketDisconnect) and gone.code == 1001
        with pytest.raises(TimeoutError):
            await Peer().line.receive(0)

    run(test)


def test_leaving_a_line_wakes_who_waits_for_its_next_message() -> None:
    async def test() -> None:
        peer = Peer()
        waiting = asyncio.create_task(peer.line.receive(60))
        await asyncio.sleep(0)
        peer.line.leave(Close.NORMAL)
        peer.line.leave(ApplianceError("later", code="internal"))
        with pytest.raises(WebSocketDisconnect):
            await waiting
        assert told(peer.line) is Close.NORMAL
        peer.say("unheard")
        with pytest.raises(WebSocketDisconnect):
            await peer.line.receive(60)

    run(test)


def test_leaving_a_line_wakes_who_sends_to_one_that_takes_nothing() -> None:
    async def test() -> None:
        peer = Peer()
        peer.takes.clear()
        sending = [asyncio.create_task(peer.line.send(text)) for text in ("one", "two")]
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        peer.line.leave(BROKEN)
        await asyncio.gather(*sending)
        assert peer.got == [] and told(peer.line) is BROKEN

    run(test)


def test_after_what_can_not_be_sent_nothing_is_and_how_it_was_closed_is_still_read() -> None:
    """A client that closes for good while its server is behind is not waited for."""

    async def test() -> None:
        peer = Peer()
        await peer.line.send("one")
        peer.gone = True
        await peer.line.send("two")
        peer.gone = False
        await peer.line.send("three")
        assert peer.got == ["one"] and not peer.line.over.done()
        peer.close(1000)
        with pytest.raises(WebSocketDisconnect):
            await peer.line.receive(10)
        assert isinstance(gone := told(peer.line), WebSocketDisconnect) and gone.code == 1000

    run(test)


def test_how_a_client_closes_is_told_whatever_it_sends_before() -> None:
    async def test() -> None:
        polite, silent = Peer(), Peer()
        polite.say("late words")
        polite.close(1000)
        assert (await polite.line.closing(30)).code == 1000
        assert (await silent.line.closing(0)).code == 1006 and silent.line.over.done()
        told(polite.line), told(silent.line)

    run(test)


def test_a_session_goes_on_over_the_next_line() -> None:
    async def test() -> None:
        first, second, third = Peer(), Peer(), Peer()
        lines = Lines(first.line)
        lines.allow(60)
        assert len(lines.id) >= 22 and not lines.away
        first.line.leave(BROKEN)
        told(first.line)
        assert lines.away
        waiting = asyncio.create_task(lines.another(BROKEN))
        await asyncio.sleep(0)
        lines.come(second.line)
        assert not lines.away
        lines.come(third.line)  # before anybody has looked
        assert await waiting is third.line is lines.line
        assert isinstance(error := told(second.line), ApplianceError) and error.code == "taken_over"
        assert not third.line.over.done()
        third.line.leave(BROKEN)
        told(third.line)

    run(test)


def test_nobody_is_waited_for_who_closed_or_may_not_come_back() -> None:
    async def test() -> None:
        lines = Lines(Peer().line)
        with pytest.raises(WebSocketDisconnect):
            await lines.another(BROKEN)
        lines.allow(60)
        for code in (1000, 1001):
            with pytest.raises(WebSocketDisconnect):
                await lines.another(WebSocketDisconnect(code))
        lines.allow(0)
        assert lines.id == ""

    run(test)


def test_the_window_goes_on_where_the_waiting_was_cancelled() -> None:
    async def test() -> None:
        lines = Lines(Peer().line)
        lines.allow(0.2)
        waiting = asyncio.create_task(lines.another(BROKEN))
        await asyncio.sleep(0.3)
        assert waiting.done()
        with pytest.raises(WebSocketDisconnect):
            await lines.another(BROKEN)
        late = Peer()
        lines.come(late.line)
        lines.end(BROKEN)
        assert isinstance(error := told(late.line), ApplianceError) and error.code == "unknown_session"
        assert isinstance(waiting.exception(), WebSocketDisconnect)
        assert isinstance(error := told(lines.line), ApplianceError) and error.code == "taken_over"

    run(test)


def test_who_comes_as_the_server_stops_is_told_of_the_restart_and_waited_for() -> None:
    async def test() -> None:
        lines, late = Lines(Peer().line), Peer()
        lines.allow(60)
        lines.line.leave(BROKEN)
        lines.come(late.line)
        lines.end(Close.RESTART)
        assert told(late.line) is Close.RESTART
        told(lines.line)
        waiting = asyncio.create_task(lines.closed())
        for line in (late.line, lines.line):
            await asyncio.sleep(0.01)
            assert not waiting.done()
            line.closed.set()
        await waiting

    run(test)


def test_a_line_that_uvicorn_closed_takes_nothing_and_says_why_when_it_is_read() -> None:
    """After a frame that is none: under TLS the end of the connection comes later."""

    async def test() -> None:
        peer = Peer()
        peer.closed = True
        await peer.line.send("one")
        assert not peer.line.over.done()
        peer.close(1009)
        with pytest.raises(WebSocketDisconnect):
            await peer.line.receive(5)
        assert isinstance(gone := told(peer.line), WebSocketDisconnect) and gone.code == 1009

    run(test)


def test_a_session_is_found_by_its_own_id_and_token_while_it_lasts() -> None:
    async def test() -> None:
        kept = Kept()
        lines, others, unkept = (Lines(Peer().line) for _ in range(3))
        lines.allow(60)
        others.allow(60)
        assert lines.id != others.id
        with kept.keep(lines, ANNA), kept.keep(others, BERT), kept.keep(unkept, ANNA):
            kept.check(lines.id)
            assert kept.find(lines.id, Client("anna", "198.51.100.1", 1)) is lines and kept.away == 0
            lines.line.leave(BROKEN)
            told(lines.line)
            assert kept.away == 1
            for id, client in ((lines.id, BERT), (lines.id, NOBODY), (others.id, ANNA), ("", ANNA), ("\udc80", ANNA)):
                with pytest.raises(ApplianceError) as caught:
                    kept.find(id, client)
                assert caught.value.code == "unknown_session"
        for id in (lines.id, others.id):
            with pytest.raises(ApplianceError):
                kept.check(id)

    run(test)


def test_the_id_comes_as_a_subprotocol() -> None:
    def asking(*offered: str) -> HTTPConnection:
        return HTTPConnection({"type": "websocket", "subprotocols": list(offered), "headers": []})

    assert wanted_session(asking("wlk", "wlk.token.eHg", "wlk.resume.a-b_c")) == "a-b_c"
    assert wanted_session(asking("wlk", "wlk.token.eHg")) == wanted_session(asking()) == ""


def test_a_proxy_is_told_before_the_handshake_that_the_session_is_not_here(pair: Pair) -> None:
    with served(Service(Settings(), pair, pair.encoder_dir)) as port:
        address = f"ws://127.0.0.1:{port}/asr"
        asked = {"subprotocols": ["wlk", f"wlk.resume.{'A' * 22}"], "proxy": None}
        with pytest.raises(InvalidStatus) as refused:
            connect(address, additional_headers={"WLK-Refuse": "handshake"}, **asked)  # type: ignore[arg-type]
        assert refused.value.response.status_code == 503
        assert json.loads(refused.value.response.body or b"")["code"] == "unknown_session"
        with connect(address, **asked) as socket:  # type: ignore[arg-type]
            assert json.loads(socket.recv(timeout=60))["code"] == "unknown_session"
            with pytest.raises(ConnectionClosed):
                socket.recv(timeout=60)
            assert (socket.close_code, socket.subprotocol) == (1008, "wlk")


class Failing:
    """A connection with a fault of ours."""

    def __init__(self, *given: object) -> None: ...
    def stop(self) -> None: ...
    async def run(self) -> Close:
        raise RuntimeError("nobody expected this")


def test_a_fault_in_a_session_is_told_to_its_client_and_ends_that_session(
    pair: Pair, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr("appliance.server.asr.Connection", Failing)
    monkeypatch.setattr(Service, "check_place", lambda service: None)
    service = Service(Settings(), pair, pair.encoder_dir)
    with served(service) as port:
        for _ in range(2):
            with connect(f"ws://127.0.0.1:{port}/asr", proxy=None) as socket:
                told = json.loads(socket.recv(timeout=60))
                assert told["code"] == "internal" and told["hint"] and "expected" not in json.dumps(told)
                with pytest.raises(ConnectionClosed):
                    socket.recv(timeout=60)
                assert socket.close_code == 1011
        assert service.report()["sessions"] == 0
    assert caplog.text.count("RuntimeError: nobody expected this") == 2, "where it was is in the log"


def test_nothing_is_made_for_a_client_that_gets_no_place(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[object] = []
    monkeypatch.setattr("appliance.server.asr.Connection", lambda *given: made.append(given))
    service = Service(Settings(), pair, pair.encoder_dir)
    with served(service) as port, connect(f"ws://127.0.0.1:{port}/asr", proxy=None) as socket:
        assert json.loads(socket.recv(timeout=60))["code"] == "not_ready"
    assert made == []
