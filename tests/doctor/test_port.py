import json
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from appliance.doctor.finding import Finding
from appliance.doctor.port import check_port
from appliance.server.flags import load_settings


@contextmanager
def answering(status: int, body: str) -> Iterator[int]:
    """A server on this machine that gives everybody the same answer; its port."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(status)
            self.end_headers()
            self.wfile.write(body.encode())

        def log_message(self, format: str, *args: object) -> None: ...

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def checked(port: int, *flags: str) -> Finding:
    return check_port(load_settings(["--port", str(port), "--no-tls", *flags]))


@pytest.mark.parametrize(
    ("status", "body", "severity"),
    [
        (200, json.dumps({"status": "ready", "model": "base"}), "ok"),
        (503, json.dumps({"status": "loading", "model": "base"}), "warning"),
        (503, json.dumps({"status": "failed", "model": "base"}), "error"),
        (200, "<html>somebody else's", "error"),
    ],
)
def test_who_answers(status: int, body: str, severity: str) -> None:
    with answering(status, body) as port:
        found = checked(port)
    assert found.severity == severity
    assert bool(found.remedy) == (severity != "ok")


def test_nobody_and_somebody_who_speaks_no_tls() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    assert checked(port).severity == "ok" and "free" in checked(port).seen
    assert checked(0).severity == "ok"
    with answering(200, "{}") as taken:
        found = check_port(load_settings(["--port", str(taken), "--host", "127.0.0.1"]))
    assert found.severity == "error" and "taken" in found.seen and f":{taken}" in found.remedy
