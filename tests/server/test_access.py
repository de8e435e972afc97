"""Who may come in: requests as uvicorn hands them on, and the real application on a real port, no model loaded."""

import base64
import json
from pathlib import Path
from typing import Any

import pytest
from starlette.requests import HTTPConnection
from websockets.sync.client import connect

from appliance.errors import ApplianceError
from appliance.pair.locate import Pair
from appliance.server.access import Access, Client
from appliance.server.service import Service
from appliance.server.settings import Settings
from appliance.server.tokens import Token
from tests.server.running import served

TOKENS = (Token("anna", "tick-of-anna"), Token("bert", "tock of bért ☃"))


def asking(
    query: str = "", offered: tuple[str, ...] = (), client: tuple[str, int] | None = ("192.0.2.7", 4711), **headers: str
) -> HTTPConnection:
    scope: dict[str, Any] = {
        "type": "websocket",
        "query_string": query.encode(),
        "subprotocols": list(offered),
        "client": client,
        "headers": [(name.encode(), value.encode()) for name, value in headers.items()],
    }
    return HTTPConnection(scope)


def as_subprotocol(token: str) -> str:
    return "wlk.token." + base64.urlsafe_b64encode(token.encode()).decode().rstrip("=")


@pytest.mark.parametrize(
    ("request_", "who"),
    [
        (asking(authorization="Bearer tick-of-anna"), "anna"),
        (asking(authorization="bearer  tock of bért ☃"), "bert"),
        (asking("token=tick-of-anna&language=de"), "anna"),
        (asking("token=tock+of+b%C3%A9rt+%E2%98%83"), "bert"),
        (asking(offered=("wlk", as_subprotocol("tick-of-anna"))), "anna"),
        (asking(offered=(as_subprotocol("tock of bért ☃"),)), "bert"),
        (asking(authorization="Basic dXNlcjpwYXNz", offered=(as_subprotocol("tick-of-anna"),)), "anna"),
        (asking("token=wrong", authorization="Bearer tick-of-anna"), "anna"),
    ],
)
def test_a_good_token_tells_who_asks(request_: HTTPConnection, who: str) -> None:
    client = Access(Settings(), TOKENS).admit(request_)
    assert client == Client(who, "192.0.2.7", 4711)
    assert client.name == who and str(client) == f"{who}@192.0.2.7:4711"


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        (asking(), "a token is needed"),
        (asking("token="), "a token is needed"),
        (asking(authorization="Bearer "), "a token is needed"),
        (asking(authorization="Basic tick-of-anna"), "a token is needed"),
        (asking(offered=("wlk",)), "a token is needed"),
        (asking("token=tick-of-ann"), "the token is wrong"),
        (asking("token=anna"), "the token is wrong"),
        (asking(authorization="Bearer tick-of-annatick"), "the token is wrong"),
        (asking("token=tick-of-anna", authorization="Bearer wrong"), "the token is wrong"),
        (asking(offered=("wlk.token.tick-of-anna",)), "the token is wrong"),
        (asking(offered=("wlk.token.=\udcff",)), "the token is wrong"),
        (asking("token=%ff%ed%a0%80"), "the token is wrong"),
    ],
)
def test_without_a_good_token_nobody_comes_in(request_: HTTPConnection, said: str) -> None:
    with pytest.raises(ApplianceError, match=said) as caught:
        Access(Settings(), TOKENS).admit(request_)
    assert caught.value.code == "unauthorized"
    assert not any(token.secret in str(caught.value) for token in TOKENS)


def test_where_no_token_is_needed_clients_are_told_apart_by_address() -> None:
    access = Access(Settings(), ())
    assert access.admit(asking("token=whatever")) == Client("", "192.0.2.7", 4711)
    assert access.admit(asking()).name == "192.0.2.7" and str(access.admit(asking())) == "192.0.2.7:4711"
    assert access.admit(asking(client=None)).name == "unknown"


@pytest.mark.parametrize(
    ("allowed", "origin", "welcome"),
    [
        (("*",), "https://any.example", True),
        (("same",), "", True),
        (("same",), "https://box:8000", True),
        (("same",), "http://box:8000", False),
        (("same",), "https://box", False),
        (("same",), "https://[box:8000", False),
        (("same",), "null", False),
        (("https://site.example",), "https://site.example", True),
        (("https://site.example",), "https://box:8000", False),
        ((), "https://box:8000", False),
    ],
)
def test_origins(allowed: tuple[str, ...], origin: str, welcome: bool) -> None:
    access = Access(Settings(allowed_origins=allowed), ())
    request = asking(host="box:8000", **({"origin": origin} if origin else {}))
    if welcome:
        assert access.admit(request).name == "192.0.2.7"
    else:
        with pytest.raises(ApplianceError, match="may not connect here") as caught:
            access.admit(request)
        assert caught.value.code == "origin"


def test_without_tls_a_proxy_may_have_it() -> None:
    access = Access(Settings(allowed_origins=("same",), tls=False), ())
    for origin in ("https://box:8000", "http://box:8000"):
        assert access.admit(asking(host="box:8000", origin=origin)).name == "192.0.2.7"


def test_the_socket_takes_the_token_of_a_subprotocol_and_selects_the_other(pair: Pair, tmp_path: Path) -> None:
    file = tmp_path / "tokens"
    file.write_text("anna: tick-of-anna\n")
    file.chmod(0o600)
    with served(Service(Settings(token_file=file), pair, tmp_path / "none")) as port:
        for offered, selected, code in (
            (["wlk", as_subprotocol("tick-of-anna")], "wlk", "not_ready"),
            (["wlk", as_subprotocol("tick-of-bert")], "wlk", "unauthorized"),
            ([as_subprotocol("tick-of-anna")], None, "not_ready"),
            (None, None, "unauthorized"),
        ):
            url = f"ws://127.0.0.1:{port}/asr"
            with connect(url, subprotocols=offered, proxy=None) as socket:  # type: ignore[arg-type]
                assert socket.subprotocol == selected
                assert json.loads(socket.recv(timeout=60))["code"] == code


def test_a_list_that_can_not_be_used_is_no_service(pair: Pair, tmp_path: Path) -> None:
    with pytest.raises(ApplianceError, match="no/such"):
        Service(Settings(token_file=tmp_path / "no/such"), pair, tmp_path / "none")
