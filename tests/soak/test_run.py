"""A soak of a stand-in for a server, which says the words of its one recording when it was heard."""

import asyncio
import contextlib
import json
import os
import threading
from collections.abc import Iterator
from http import HTTPStatus

import pytest
from websockets.asyncio.server import Request, Response, ServerConnection, serve
from websockets.exceptions import ConnectionClosed

from appliance.bench.clips import Clip, SpokenWord
from appliance.bench.processes import Memory
from appliance.bench.servers import Server, Subject
from appliance.errors import ApplianceError
from appliance.soak import run
from appliance.soak.acts import Act
from appliance.soak.run import Soak, soak
from appliance.soak.session import Performed
from appliance.soak.tally import Tally
from tests.soak.test_session import CONFIG, full, update

PLAY = Clip("a second", "en", bytes(32_000), "hello you there", "", (SpokenWord("hello", 0.3),))


class StandIn:
    """``places``: one more is refused. After ``silent_after`` streams nothing more is heard."""

    def __init__(self, places: int, silent_after: int = 1000) -> None:
        self.port = 0
        self._places = places
        self._silent_after = silent_after
        self._streams = self._present = 0

    @contextlib.contextmanager
    def running(self) -> Iterator[Server]:
        ready, loop = threading.Event(), asyncio.new_event_loop()
        thread = threading.Thread(target=loop.run_until_complete, args=(self._serve(ready),))
        thread.start()
        ready.wait(10)
        try:
            yield Server(Subject("stand-in", "1", ()), os.getpid(), self.port, 0.0)
        finally:
            loop.call_soon_threadsafe(self._over.set)
            thread.join()
            loop.close()

    async def _serve(self, ready: threading.Event) -> None:
        self._over = asyncio.Event()
        async with serve(self._stream, "127.0.0.1", 0, process_request=self._answer) as server:
            self.port = next(iter(server.sockets)).getsockname()[1]
            ready.set()
            await self._over.wait()

    def _answer(self, connection: ServerConnection, request: Request) -> Response | None:
        if request.path == "/readyz":
            return connection.respond(HTTPStatus.OK, json.dumps({"max_sessions": self._places}))
        return None

    async def _stream(self, socket: ServerConnection) -> None:
        if self._present == self._places:
            await full(socket)
            return
        self._streams += 1
        self._present += 1
        try:
            await self._hear(socket, silent=self._streams > self._silent_after)
        finally:
            self._present -= 1

    async def _hear(self, socket: ServerConnection, *, silent: bool) -> None:
        with contextlib.suppress(ConnectionClosed):
            await socket.send(CONFIG)
            while await socket.recv():
                pass
            if not silent:
                await socket.send(update("hello you there"))
            await socket.send('{"type": "ready_to_stop"}')


def soaked(stand_in: StandIn, clients: int) -> tuple[Tally, int]:
    calls = []
    with stand_in.running() as server:
        tally, _ = soak(Soak(clients, 0.05, 1), server, [PLAY], lambda tally, memory: calls.append(memory))
    return tally, len(calls)


def test_clients_come_and_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "FLUSH_S", 1.0)
    tally, written = soaked(StandIn(places=5), clients=4)
    assert tally.places == 5 and tally.ended["done"] >= 3 and not tally.errors and tally.wrong == 0
    assert tally.lost == 0 and tally.words >= 9 and tally.refusals == []
    assert written >= 3  # each second, and at the end


def test_choices_that_are_left_out_leave_the_rest_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    def first_acts(skip: int) -> list[Act]:
        chosen: list[Act] = []

        async def noted(act: Act, clip: Clip, port: int, admitted: object) -> Performed:
            chosen.append(act)
            return Performed(text="hello you there")

        monkeypatch.setattr(run, "perform", noted)
        monkeypatch.setattr("appliance.soak.acts._LONGEST_REST_S", 0.0)
        with StandIn(places=5).running() as server:
            soak(Soak(1, 0.005, 1, skip), server, [PLAY], lambda tally, memory: None)
        return chosen[2:]  # the first two are undisturbed

    assert first_acts(0)[5:10] == first_acts(5)[:5]


def test_who_is_refused_comes_back_later() -> None:
    tally, _ = soaked(StandIn(places=2), clients=6)
    assert tally.ended["done"] >= 1 and tally.refusals
    assert all(one.code == "over_capacity" and one.retry_after_s == 7.0 for one in tally.refusals)


def test_words_that_do_not_come_are_lost() -> None:
    tally, _ = soaked(StandIn(places=5, silent_after=2), clients=2)
    assert tally.lost >= 3 and tally.lost % 3 == 0


def test_a_server_that_hears_nothing_undisturbed_is_no_measure(monkeypatch: pytest.MonkeyPatch) -> None:
    async def hears_nothing(socket: ServerConnection) -> None:
        await socket.close(1011)

    stand_in = StandIn(places=5)
    monkeypatch.setattr(stand_in, "_stream", hears_nothing)
    with pytest.raises(ApplianceError, match="a second was not heard to its end"):
        soaked(stand_in, clients=1)


def test_what_came_of_it_is_told_when_it_is_broken_off(monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[tuple[Tally, Memory]] = []

    async def broken_off(self: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("appliance.soak.run._Client.run", broken_off)
    with StandIn(places=5).running() as server, pytest.raises(KeyboardInterrupt):
        soak(Soak(1, 1.0, 1), server, [PLAY], lambda tally, memory: told.append((tally, memory)))
    assert len(told) == 1
