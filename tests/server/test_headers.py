"""The head of every answer, whoever gives it: routes, errors, uvicorn by itself. Browser tests hold the page to it."""

import http.client
import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import NoReturn

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from appliance.pair.locate import Pair
from appliance.server.app import web_assets
from appliance.server.headers import HEADERS
from appliance.server.service import Service
from appliance.server.settings import Settings
from tests.server.running import served


@pytest.fixture
def service(pair: Pair, tmp_path: Path) -> Service:
    return Service(Settings(), pair, tmp_path / "none")


@pytest.fixture
def port(service: Service) -> Iterator[int]:
    with served(service) as found:
        yield found


def asked(port: int, path: str, method: str = "GET", **headers: str) -> http.client.HTTPResponse:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=20)
    connection.request(method, path, headers={"Connection": "close", **headers})
    return connection.getresponse()


def check(answer: http.client.HTTPResponse, status: int) -> bytes:
    body = answer.read()
    assert answer.status == status, body
    for name, value in HEADERS.items():
        assert answer.headers.get_all(name) == [value], name
    assert "server" not in answer.headers and "strict-transport-security" not in answer.headers
    return body


def test_the_policies_leave_nothing_open() -> None:
    policy = dict(rule.strip().split(" ", 1) for rule in HEADERS["content-security-policy"].split(";"))
    assert policy["default-src"] == policy["frame-ancestors"] == policy["base-uri"] == policy["form-action"] == "'none'"
    assert {value for name, value in policy.items() if value != "'none'"} == {"'self'"}
    rights = dict(rule.strip().split("=") for rule in HEADERS["permissions-policy"].split(","))
    assert rights == {"microphone": "(self)", "display-capture": "(self)", "camera": "()", "geolocation": "()"}


def test_every_answer_has_them(port: int) -> None:
    for path in ("/", "/ca", "/healthz", "/metrics", "/openapi.json", *(f"/{name}" for name in web_assets())):
        check(asked(port, path), 200)
    for path, method, status, code in (
        ("/readyz", "GET", 503, None),
        ("/nowhere", "GET", 404, "not_found"),
        ("/ca.pem", "GET", 404, "not_found"),
        ("/", "POST", 405, "method_not_allowed"),
        ("/asr", "GET", 426, "upgrade_required"),
        ("/transcribe", "POST", 503, "not_ready"),
    ):
        body = json.loads(check(asked(port, path, method), status))
        assert code is None or body["code"] == code
    assert json.loads(check(asked(port, "/v1/models/none"), 404))["error"]["code"] == "model_not_found"


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_what_nobody_expected_is_answered_in_our_shape(service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    def fall() -> NoReturn:
        raise RuntimeError("a secret of the program")

    monkeypatch.setattr(service, "report", fall)
    with served(service) as port:
        body = check(asked(port, "/readyz"), 500)
        assert json.loads(body)["code"] == "internal" and b"secret" not in body


def test_what_is_no_http_is_answered_in_our_shape(port: int) -> None:
    with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
        client.sendall(b"\x16\x03\x01 this is no HTTP\r\n\r\n")
        answer = http.client.HTTPResponse(client)
        answer.begin()
        assert json.loads(check(answer, 400))["code"] == "bad_request"


def test_what_is_no_http_any_more_after_its_answer_ends_the_connection_and_nothing_else(
    port: int, caplog: pytest.LogCaptureFixture
) -> None:
    """A body goes on behind the answer, and is no body."""
    with socket.create_connection(("127.0.0.1", port), timeout=20) as client:
        client.sendall(b"GET /healthz HTTP/1.1\r\nHost: box\r\nTransfer-Encoding: chunked\r\n\r\n")
        answer = client.recv(65536)
        assert answer.startswith(b"HTTP/1.1 200")
        client.sendall(b"no size of a chunk\r\n")
        client.settimeout(5)
        while answer := client.recv(65536):
            assert b"HTTP/1.1" not in answer, "a second answer"
    assert [record for record in caplog.records if record.exc_info] == []


def test_too_many_connections_are_answered_with_them(service: Service) -> None:
    with served(service, limit_concurrency=1) as port:
        check(asked(port, "/"), 503)


def test_a_refused_handshake_has_them(port: int) -> None:
    with pytest.raises(InvalidStatus) as raised:
        connect(f"ws://127.0.0.1:{port}/asr", proxy=None, additional_headers={"WLK-Refuse": "handshake"})
    answer = raised.value.response
    assert answer.status_code == 503 and json.loads(answer.body or b"")["code"] == "not_ready"
    assert {name: answer.headers.get_all(name) for name in HEADERS} == {name: [HEADERS[name]] for name in HEADERS}
