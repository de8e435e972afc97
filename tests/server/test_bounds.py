"""Clients that vanish, take nothing, flood, or are silent, against a real server with the real model."""

import contextlib
import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection

from tests.conftest import Spoken
from tests.server.running import Running, committed, field_client, opened, pcm, pieces, receive, running, updates
from tests.server.running import word_errors as errors_of
from tests.server.test_wire import deafen

pytestmark = pytest.mark.model

MIB = 2**20


@pytest.fixture(scope="module")
def strict(flags: list[str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Running]:
    """Two places, and little patience with clients that are gone."""
    own = ["--no-tls", "--max-sessions", "2", "--client-timeout-s", "3", *flags]
    with running(own, tmp_path_factory.mktemp("strict")) as server:
        server.wait_for("ready: base")
        yield server


def memory(server: Running) -> int:
    """Resident bytes."""
    pages = Path(f"/proc/{server.process.pid}/statm").read_text().split()[1]
    return int(pages) * os.sysconf("SC_PAGE_SIZE")


def until_both_places_are_free(server: Running, timeout_s: float = 60.0) -> None:
    deadline = time.monotonic() + timeout_s
    while True:
        with opened(server) as one, opened(server) as two:
            if receive(one)["type"] == receive(two)["type"] == "config":
                return
        assert time.monotonic() < deadline, "a place was not freed"
        time.sleep(0.2)


def says_nothing(socket: ClientConnection) -> None:
    pass


def streams(socket: ClientConnection) -> None:
    socket.send(bytes(32000))


@pytest.mark.parametrize("before", [says_nothing, streams])
def test_a_client_whose_host_vanished_frees_its_place(
    strict: Running, before: Callable[[ClientConnection], None]
) -> None:
    with opened(strict, ping_interval=None, close_timeout=0.1) as socket:
        assert receive(socket)["type"] == "config"
        before(socket)
        deafen(socket.socket)
        until_both_places_are_free(strict)


def test_a_client_that_takes_nothing_is_let_go_and_costs_little(strict: Running) -> None:
    """It asks for long answers as fast as it may, and reads none."""
    before = memory(strict)
    question = json.dumps({"type": "ping", "id": "x" * 16000})
    with opened(strict, max_queue=1, ping_interval=None, close_timeout=0.1) as socket:
        receive(socket)

        def ask() -> None:
            with contextlib.suppress(ConnectionClosed):
                while True:
                    socket.send(question)

        asking = threading.Thread(target=ask)
        asking.start()
        until_both_places_are_free(strict)
        assert memory(strict) - before < 64 * MIB
    asking.join(30)


def test_a_flood_of_small_frames_leaves_another_client_its_words(strict: Running, librivox: tuple[Spoken, ...]) -> None:
    """One sample each, as fast as the client can: the other's text comes all the same."""
    over = threading.Event()

    def flood() -> None:
        with opened(strict, "?format=s16le", ping_interval=None, close_timeout=0.1) as socket:
            while not over.is_set():
                socket.send(b"\0\0")

    with opened(strict, "?language=en") as socket:
        flooding = threading.Thread(target=flood)
        flooding.start()
        try:
            messages = field_client(socket, pieces(pcm(librivox[0].path)), pace_s=0.1)
        finally:
            over.set()
            flooding.join(30)
    assert errors_of(librivox[0].transcript, committed(updates(messages)[-1])) <= 3


def test_half_an_hour_of_silence_costs_no_memory_and_no_words(strict: Running, librivox: tuple[Spoken, ...]) -> None:
    minute = [bytes(320_000)] * 6
    with opened(strict, "?language=en&format=s16le") as socket:

        def memory_after(minutes: int) -> int:
            for piece in minute * minutes:
                socket.send(piece)
            socket.send('{"type": "ping"}')
            while receive(socket).get("type") != "pong":
                pass
            return memory(strict)

        receive(socket)
        before = memory_after(3)
        assert memory_after(27) - before < 16 * MIB
        messages = field_client(socket, pieces(pcm(librivox[1].path)))
    last = updates(messages)[-1]
    assert errors_of(librivox[1].transcript, committed(last)) <= 2
    assert "0:29:59" <= last["lines"][-1]["start"] < "0:30:05"
