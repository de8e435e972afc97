"""What a stop signal does to those who come meanwhile, to streams that are far behind, and to a server that hangs."""

import contextlib
import subprocess
import sys
import time
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection

from appliance.server.service import STOP_S
from tests.conftest import Spoken
from tests.server.running import (
    Message,
    Running,
    environment,
    opened,
    pcm,
    pieces,
    receive,
    running,
    updates,
)
from tests.server.test_process import get

HANGS = """
import signal, time
import uvicorn
from appliance.server import main
from appliance.server.main import Server

async def app(scope, receive, send):
    await receive()
    await send({"type": "lifespan.startup.complete"})
    print("up", flush=True)
    time.sleep(600)

main.STOP_S = 0.5
signal.signal(signal.SIGTERM, lambda number, frame: None)
Server(uvicorn.Config(app, port=0, lifespan="on", log_config=None), None, None).run()
"""


def all_of(socket: ClientConnection) -> list[Message]:
    """Every message up to the server's close."""
    messages: list[Message] = []
    with pytest.raises(ConnectionClosed):
        while True:
            messages.append(receive(socket))
    return messages


def refused(server: Running) -> Message:
    """How a client is refused that comes while the server stops; before the signal arrives it is welcome."""
    give_up = time.monotonic() + STOP_S
    while time.monotonic() < give_up:
        with opened(server) as socket:
            first = receive(socket)
            if first["type"] == "error":
                assert all_of(socket) == [] and socket.close_code == 1012
                return first
    raise AssertionError("the server did not stop")


@pytest.mark.model
def test_who_comes_during_a_stop_is_told_and_who_is_far_behind_gets_what_there_is(
    flags: list[str], tmp_path: Path, librivox: tuple[Spoken, ...]
) -> None:
    """As much as these have sent takes one worker longer than it has."""
    speech = b"".join(pcm(spoken.path) for spoken in librivox)
    slow = ["--no-tls", "--workers", "1", "--max-sessions", "8", "--max-backlog-s", "600"]
    with running([*slow, *flags], tmp_path) as server, contextlib.ExitStack() as stack:
        server.wait_for("ready: base")
        sockets = [stack.enter_context(opened(server, "?format=s16le&words=true")) for _ in range(4)]
        for socket in sockets:
            for chunk in pieces(speech * 4, 64000):
                socket.send(chunk)
            socket.send('{"type": "ping", "id": "all"}')
        for socket in sockets:
            while receive(socket).get("type") != "pong":
                pass
        began = time.monotonic()
        server.process.terminate()
        assert refused(server)["code"] == "restarting"
        status, report, headers = get(server, "/readyz")
        assert (status, report["status"]) == (503, "stopping") and headers["retry-after"]
        for socket in sockets:
            messages = all_of(socket)
            assert (socket.close_code, socket.close_reason) == (1012, "restarting")
            assert messages[-1]["code"] == "restarting"
            assert "ready_to_stop" not in [message.get("type") for message in messages]
            assert updates(messages)[-1] == messages[-2]
        assert server.process.wait(STOP_S) == 0
        assert time.monotonic() - began < STOP_S


def test_a_server_that_hangs_is_ended_and_tells_where_it_hung() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HANGS], env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        process.terminate()
        _, said = process.communicate(timeout=30)
    assert process.returncode == 1 and "Timeout" in said and "in app" in said
