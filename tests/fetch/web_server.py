"""A real HTTP server on loopback whose files can be served well or badly."""

import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass
class ServedFile:
    """A file and the manner in which it is served."""

    content: bytes
    etag: str = '"v1"'
    content_type: str = "application/octet-stream"
    ranges: bool = True
    """Whether Range requests are answered with a 206."""
    range_shift: int = 0
    """How far the Content-Range of a 206 lies beside the range that was asked for."""
    break_after: list[int] = field(default_factory=list)
    """For each of the first requests: close the connection after so many bytes of the body."""
    statuses: list[int] = field(default_factory=list)
    """For each of the first requests: answer with this status instead."""
    answer: int = 0
    """Answer always with this status, the headers below and no body."""
    surplus: bytes = b""
    """Sent after the content, without a Content-Length that would give it away."""
    bytes_per_second: float = 0
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class Request:
    method: str
    path: str
    headers: dict[str, str]


@dataclass
class WebServer:
    url: str
    files: dict[str, ServedFile] = field(default_factory=dict)
    requests: list[Request] = field(default_factory=list)

    def serve(self, path: str, content: bytes, **manner: object) -> str:
        """Serve a file and return its address."""
        self.files[path] = ServedFile(content, **manner)  # type: ignore[arg-type]
        return self.url + path

    def asked(self, path: str) -> list[Request]:
        return [request for request in self.requests if request.path == path and request.method == "GET"]


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    site: WebServer

    def do_HEAD(self) -> None:
        self._answer(with_body=False)

    def do_GET(self) -> None:
        self._answer(with_body=True)

    def _answer(self, *, with_body: bool) -> None:
        path = self.path.partition("?")[0]
        headers = {name.lower(): value for name, value in self.headers.items()}
        self.site.requests.append(Request(self.command, path, headers))
        file = self.site.files.get(path)
        if file is None:
            self._empty(404)
            return
        if with_body and file.statuses:
            self._empty(file.statuses.pop(0))
            return
        if file.answer:
            self._empty(file.answer, file.headers)
            return
        start = _start_of(headers, file)
        if start >= len(file.content) and start:
            self._empty(416)
            return
        body = file.content[start:]
        self.send_response(206 if start else 200)
        self.send_header("Content-Type", file.content_type)
        if file.etag:
            self.send_header("ETag", file.etag)
        if start:
            first = start + file.range_shift
            self.send_header("Content-Range", f"bytes {first}-{len(file.content) - 1}/{len(file.content)}")
        if file.surplus:
            self.send_header("Connection", "close")
        else:
            self.send_header("Content-Length", str(len(body)))
        for name, value in file.headers.items():
            self.send_header(name, value)
        self.end_headers()
        if with_body:
            self._send(file, body + file.surplus)

    def _send(self, file: ServedFile, body: bytes) -> None:
        if file.break_after:
            body = body[: file.break_after.pop(0)]
            self.close_connection = True
        if file.surplus:
            self.close_connection = True
        piece = 8192
        try:
            for at in range(0, len(body), piece):
                self.wfile.write(body[at : at + piece])
                if file.bytes_per_second:
                    time.sleep(piece / file.bytes_per_second)
        except (BrokenPipeError, ConnectionResetError):
            self.close_connection = True

    def _empty(self, status: int, headers: dict[str, str] | None = None) -> None:
        self.send_response(status)
        for name, value in (headers or {}).items():
            self.send_header(name, value)
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        pass


def _start_of(headers: dict[str, str], file: ServedFile) -> int:
    asked = headers.get("range", "")
    if not file.ranges or not asked.startswith("bytes="):
        return 0
    if "if-range" in headers and headers["if-range"] != file.etag:
        return 0
    return int(asked.removeprefix("bytes=").rstrip("-"))


@contextmanager
def web_server() -> Iterator[WebServer]:
    handler = type("Handler", (_Handler,), {})
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    site = WebServer(f"http://127.0.0.1:{server.server_address[1]}")
    handler.site = site  # type: ignore[attr-defined]
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02})
    thread.start()
    try:
        yield site
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
