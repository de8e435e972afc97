"""A real server process, and a client that speaks the field's protocol and nothing newer."""

import contextlib
import json
import os
import re
import signal
import ssl
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import av
import numpy as np
import uvicorn
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from appliance.pair.locate import Pair
from appliance.server.app import create_app
from appliance.server.certificate import Certificate
from appliance.server.headers import HEADERS
from appliance.server.listening import bind
from appliance.server.service import Service
from appliance.server.tls import harden
from appliance.server.wire import Wire, requests_at
from appliance.speech.audio.file import decode_file
from appliance.speech.audio.pcm import s16le
from appliance.words import word_errors as count_errors

Message = dict[str, Any]


def environment(**extra: str) -> dict[str, str]:
    """This process's variables without any setting of the server's."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("WLK_")}
    for older in ("MODEL", "PORT", "DIAR", "STATE_DIRECTORY"):
        kept.pop(older, None)
    return kept | extra


def model_flags(pair: Pair, vad_file: Path) -> list[str]:
    folders = ["--encoder-dir", str(pair.encoder_dir), "--decoder-dir", str(pair.decoder_file.parent)]
    return [*folders, "--vad-file", str(vad_file)]


@dataclass
class Running:
    """A server under test: its address, and its stderr so far."""

    process: subprocess.Popen[str]
    state_dir: Path
    lines: list[str] = field(default_factory=list)
    url: str = ""

    @property
    def port(self) -> int:
        return int(self.url.rstrip("/").rsplit(":", 1)[1])

    @property
    def asr(self) -> str:
        return self.url.replace("http", "ws", 1) + "asr"

    def wait_for(self, pattern: str, timeout_s: float = 300.0) -> re.Match[str]:
        deadline = time.monotonic() + timeout_s
        while time.monotonic() < deadline:
            for line in list(self.lines):
                if found := re.search(pattern, line):
                    return found
            if self.process.poll() is not None:
                break
            time.sleep(0.02)
        raise AssertionError(f"{pattern!r} not in:\n{''.join(self.lines)}\nstatus {self.process.poll()}")

    def stop(self, timeout_s: float = 60.0) -> int:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout_s)


def serving(flags: Sequence[str], state_dir: Path) -> list[str]:
    """The command of a server on a free loopback port."""
    command = [sys.executable, "-m", "appliance", "serve", "--host", "127.0.0.1", "--port", "0"]
    return [*command, "--state-dir", str(state_dir), *flags]


@contextlib.contextmanager
def running(
    flags: Sequence[str], state_dir: Path, *, env: dict[str, str] | None = None, wrapper: Sequence[str] = ()
) -> Iterator[Running]:
    """Start ``serve`` on a free loopback port; stopped, or killed, at the end.

    In a session of its own, as in a container: its threads of low priority give way to its others, not to other tests.
    """
    command = [*wrapper, *serving(flags, state_dir)]
    process = subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, env=env or environment(), start_new_session=True
    )
    server = Running(process, state_dir)
    assert process.stderr is not None
    reader = threading.Thread(target=server.lines.extend, args=(process.stderr,), daemon=True)
    reader.start()
    try:
        server.url = server.wait_for(r"listening on ([^\s\"]+)", 120.0)[1]
        yield server
    finally:
        try:
            server.stop()
        finally:
            process.kill()
            process.wait()
            reader.join(5)
            process.stderr.close()


@contextlib.contextmanager
def served(service: Service, files: Certificate | None = None, **more: Any) -> Iterator[int]:
    """The application on a port of loopback, under TLS with ``files``; its models are never loaded."""
    listener = bind("127.0.0.1", 0, shakes_hands=files is not None)
    under_tls: dict[str, Any] = {}
    if files:
        under_tls = {"ssl_certfile": files.certificate, "ssl_keyfile": files.key}
        under_tls["ssl_context_factory"] = lambda config, make: harden(make())
    options: dict[str, Any] = {"ws": Wire, "lifespan": "off", "log_config": None, "access_log": False}
    options |= {"http": requests_at(listener), "headers": list(HEADERS.items()), "server_header": False}
    options |= {**under_tls, **more}
    config = uvicorn.Config(create_app(service, lambda: None), **options)
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        deadline = time.monotonic() + 60
        while not server.started and time.monotonic() < deadline:
            time.sleep(0.01)
        yield listener.getsockname()[1]
    finally:
        server.should_exit = True
        thread.join()
        service.close()


def refused_start(flags: Sequence[str], env: dict[str, str] | None = None) -> tuple[int, str]:
    """Status and stderr of a ``serve`` that must not come up."""
    command = [sys.executable, "-m", "appliance", "serve", *flags]
    done = subprocess.run(command, capture_output=True, text=True, env=env or environment(), timeout=300, check=False)
    assert "Traceback" not in done.stderr
    return done.returncode, done.stderr


def children(pid: int) -> list[int]:
    """The processes that any of its threads has started."""
    found: list[int] = []
    for file in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):  # a thread that has ended
            found += map(int, file.read_text().split())
    return found


def child(server: Running, module: str) -> int:
    """The process of a server that runs this module; 0 where there is none."""
    for pid in children(server.process.pid):
        with contextlib.suppress(OSError):
            if module.encode() in Path(f"/proc/{pid}/cmdline").read_bytes():
                return pid
    return 0


def decoding(server: Running) -> int:
    """How many processes decode containers for it now."""
    forker = child(server, "audio.forkserver")
    return len(children(forker)) if forker else 0


def wait_decoding(server: Running, count: int, timeout_s: float = 60.0) -> None:
    deadline = time.monotonic() + timeout_s
    while decoding(server) != count:
        assert time.monotonic() < deadline, f"{decoding(server)} processes decode, not {count}"
        time.sleep(0.02)


def trusting(server: Running) -> ssl.SSLContext:
    """A context that trusts this server's certificate only, and checks its names.

    The client reads in one thread and writes in another, which OpenSSL does not allow at once. The tickets of TLS 1.3
    come after the handshake and make the reader wait inside OpenSSL while the request is written: now and then the
    connection hung.
    """
    context = ssl.create_default_context()
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.load_verify_locations(server.state_dir / "tls" / "certificate.pem")
    return context


def opened(server: Running, query: str = "", path: str = "asr", **options: Any) -> ClientConnection:
    secure = trusting(server) if server.url.startswith("https") else None
    url = server.url.replace("http", "ws", 1) + path + query
    return connect(url, ssl=secure, max_size=None, compression=None, proxy=None, open_timeout=60, **options)


def pcm(path: Path) -> bytes:
    """A recording as 16 kHz s16le."""
    return s16le(np.concatenate(list(decode_file(path))))


def webm(path: Path) -> bytes:
    """A recording as a browser's MediaRecorder sends it: WebM with Opus, made for live streaming."""
    import tempfile

    samples = np.concatenate(list(decode_file(path)))
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "a.webm"
        with av.open(str(file), "w", format="webm", options={"live": "1", "cluster_time_limit": "100"}) as out:
            stream = out.add_stream("libopus", rate=48000, layout="mono")
            frame = av.AudioFrame.from_ndarray(samples[None, :], format="flt", layout="mono")
            frame.sample_rate = 16000
            for ready in av.AudioResampler(format="flt", layout="mono", rate=48000, frame_size=960).resample(frame):
                out.mux(stream.encode(ready))
            out.mux(stream.encode(None))
        return file.read_bytes()


def pieces(data: bytes, size: int = 3200) -> list[bytes]:
    return [data[at : at + size] for at in range(0, len(data), size)]


def field_client(socket: ClientConnection, chunks: Sequence[bytes], *, pace_s: float = 0.0) -> list[Message]:
    """Send binary frames and the empty frame, and collect messages up to ready_to_stop or the close."""
    messages: list[Message] = []

    def send() -> None:
        with contextlib.suppress(ConnectionClosed):
            for chunk in chunks:
                socket.send(chunk)
                time.sleep(pace_s)
            socket.send(b"")

    sender = threading.Thread(target=send)
    sender.start()
    with contextlib.suppress(ConnectionClosed):
        while True:
            messages.append(json.loads(socket.recv(timeout=300)))
            if messages[-1].get("type") == "ready_to_stop":
                break
    if messages[-1].get("type") != "ready_to_stop":
        socket.close()
    sender.join(30)
    return messages


def committed(message: Message) -> str:
    return " ".join(line["text"] for line in message["lines"] if line["text"])


def updates(messages: Sequence[Message]) -> list[Message]:
    return [message for message in messages if "lines" in message and "type" not in message]


def word_errors(said: str, heard: str) -> int:
    return count_errors(said, heard).errors


def word_errors_so_far(said: Sequence[str], heard: str) -> int:
    """Where the first of these texts was to be heard, and whoever ended it late may have heard some more of them."""
    words = " ".join(said).split()
    count = max(len(said[0].split()), len(heard.split()))
    return word_errors(" ".join(words[:count]), heard)


def receive(socket: ClientConnection, timeout_s: float = 120.0) -> Message:
    message: Message = json.loads(socket.recv(timeout=timeout_s))
    return message
