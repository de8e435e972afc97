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
    committed,
    environment,
    opened,
    pcm,
    pieces,
    receive,
    running,
    updates,
    word_errors,
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

HANGS_BY_ITSELF = """
import time
import uvicorn
from appliance.server import main
from appliance.server.main import Server

class Gone:
    async def stop(self):
        print("up", flush=True)
        time.sleep(600)

async def app(scope, receive, send):
    await receive()
    server.should_exit = True
    await send({"type": "lifespan.startup.complete"})
    await receive()

main.STOP_S = 0.5
server = Server(uvicorn.Config(app, port=0, lifespan="on", log_config=None), Gone(), None)
server.run()
"""

STOPPED_BEFORE = """
import signal, sys
from appliance.commands import serve

def load_settings(argv):
    signal.raise_signal(signal.SIGTERM)

serve.load_settings = load_settings
serve.main([])
"""

STOPPED_BETWEEN = """
import signal, sys
from appliance.commands import serve
from appliance.server.main import Server

run = Server.run

def stopped_before_it_runs(self, sockets):
    signal.raise_signal(signal.SIGTERM)
    run(self, sockets)

Server.run = stopped_before_it_runs
sys.exit(serve.main(sys.argv[1:]))
"""


SLOW_TRANSLATION = """
import sys, time
from appliance.commands import serve
from appliance.translation.translator import Translator

Translator.translate = lambda self, jobs: time.sleep(60)
sys.exit(serve.main(sys.argv[sys.argv.index("serve") + 1:]))
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
        assert server.process.wait(60) == 0, "after STOP_S it would be 1"


@pytest.mark.model
def test_who_loses_its_stream_during_a_stop_is_told_why(flags: list[str], tmp_path: Path) -> None:
    """That what came is no sound is seen at the end of it, which the stop makes."""
    with running(["--no-tls", *flags], tmp_path) as server:
        server.wait_for("ready: base")
        with opened(server, "?format=auto") as socket:
            socket.send(b"OggS" + 200 * b"x")
            socket.send('{"type": "ping", "id": "heard"}')
            while receive(socket).get("type") != "pong":
                pass
            server.process.terminate()
            last = all_of(socket)[-1]
            assert last["type"] == "error" and last["code"] == "unsupported_audio" and last["hint"]
            assert socket.close_code == 1003
        assert server.process.wait(60) == 0


@pytest.mark.model
def test_who_has_all_its_words_and_does_not_close_is_not_waited_for(flags: list[str], tmp_path: Path) -> None:
    with running(["--no-tls", *flags], tmp_path) as server:
        server.wait_for("ready: base")
        with opened(server) as socket:
            socket.send(b"")
            while receive(socket).get("type") != "ready_to_stop":
                pass
            server.process.terminate()
            assert all_of(socket) == []
            assert socket.close_code == 1012, "1000 after the time that it has"
        assert server.process.wait(60) == 0


@pytest.mark.model
def test_a_translation_that_takes_long_holds_no_stop_up(
    flags: list[str], tmp_path: Path, librivox: tuple[Spoken, ...], nllb_dir: Path
) -> None:
    """All words are there, and only what they are in another language is not."""
    said = librivox[0].transcript
    own = ["--no-tls", "--translation-dir", str(nllb_dir), "--target-language", "de"]
    with running([*own, *flags], tmp_path, wrapper=[sys.executable, "-c", SLOW_TRANSLATION]) as server:
        server.wait_for("ready: base")
        with opened(server) as socket:
            for chunk in pieces(pcm(librivox[0].path) + bytes(96_000)):  # three seconds in which nothing is said
                socket.send(chunk)
            messages = [receive(socket)]
            while not updates(messages) or word_errors(said, committed(updates(messages)[-1])) > 2:
                messages.append(receive(socket))
            server.process.terminate()
            messages += all_of(socket)
            assert (socket.close_code, socket.close_reason) == (1012, "restarting")
        assert [message.get("type") for message in messages[-2:]] == ["ready_to_stop", "error"]
        assert word_errors(said, committed(updates(messages)[-1])) <= 2
        assert server.process.wait(60) == 0, "after STOP_S it would be 1"


@pytest.mark.parametrize(("program", "where"), [(HANGS, "in app"), (HANGS_BY_ITSELF, "in stop")])
def test_a_server_that_hangs_is_ended_and_tells_where_it_hung(program: str, where: str) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", program], env=environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "up\n"
        if program is HANGS:
            process.terminate()
        _, said = process.communicate(timeout=120)
    assert process.returncode == 1 and "Timeout" in said and where in said


def test_a_stop_before_anything_is_read_ends_the_first_process_of_a_container_too() -> None:
    """The kernel ends such a process by no signal that it has no handler for."""
    ended = subprocess.run([sys.executable, "-c", STOPPED_BEFORE], env=environment(), timeout=120)
    assert ended.returncode == 0


@pytest.mark.model
def test_a_stop_just_before_the_server_runs_is_not_lost(flags: list[str], tmp_path: Path) -> None:
    own = ["--host", "127.0.0.1", "--port", "0", "--state-dir", str(tmp_path), "--no-tls"]
    ended = subprocess.run([sys.executable, "-c", STOPPED_BETWEEN, *own, *flags], env=environment(), timeout=120)
    assert ended.returncode == 0
