"""The CA's routes, asked over a real socket."""

import contextlib
import json
import socket
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
import uvicorn
from cryptography import x509
from starlette.applications import Starlette
from starlette.exceptions import HTTPException

from appliance.server.app import refused
from appliance.server.authority import fingerprint
from appliance.server.tls import keep
from appliance.server.trust import trust_routes
from tests.server.certificates import loaded, put_ours


@contextlib.contextmanager
def served(authority: Path | None) -> Iterator[str]:
    app = Starlette(routes=trust_routes(authority), exception_handlers={HTTPException: refused})
    server = uvicorn.Server(uvicorn.Config(app, http="h11", ws="none", lifespan="off", log_config=None))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        try:
            while not server.started:
                time.sleep(0.01)
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            server.should_exit = True
            thread.join(10)


def get(url: str, **headers: str) -> tuple[str, str, dict[str, str]]:
    request = urllib.request.Request(url, headers=headers)
    with urllib.request.urlopen(request, timeout=10) as answer:
        return answer.read().decode(), answer.headers["content-type"], dict(answer.headers)


@pytest.fixture
def authority(tmp_path: Path) -> Path:
    found = keep(tmp_path).files.authority
    assert found is not None
    return found


def test_the_ca_is_downloaded_as_a_file_that_systems_know(authority: Path) -> None:
    with served(authority) as url:
        body, kind, headers = get(f"{url}/ca.pem")
    assert kind == "application/x-x509-ca-cert"
    assert headers["content-disposition"] == 'attachment; filename="wlk-appliance-ca.crt"'
    assert x509.load_pem_x509_certificate(body.encode()) == loaded(authority)
    assert "PRIVATE KEY" not in body and body.count("BEGIN CERTIFICATE") == 1


def test_the_page_shows_the_fingerprint_and_every_browser(authority: Path) -> None:
    with served(authority) as url:
        page, kind, _ = get(f"{url}/ca")
        assert kind.startswith("text/html") and 'data-ca="ours"' in page and "{{" not in page
        assert fingerprint(loaded(authority)) in page
        for word in ("Windows", "macOS", "Linux", "Android", "iPhone", "Firefox", "Chrome", "Edge", "Safari"):
            assert word in page
        put_ours(authority.parent.parent)
        assert fingerprint(loaded(authority)) in get(f"{url}/ca")[0], "the CA of now, not of the start"


@pytest.mark.parametrize(
    ("header", "query", "language"),
    [
        ("zh-CN,zh;q=0.9,en;q=0.8", "", "zh-Hans"),
        ("en-US,zh;q=0.5", "", "en"),
        ("de", "", "en"),
        ("de", "?lang=zh", "zh-Hans"),
        ("zh", "?lang=en", "en"),
    ],
)
def test_the_page_is_in_the_browsers_language(authority: Path, header: str, query: str, language: str) -> None:
    with served(authority) as url:
        page, _, headers = get(f"{url}/ca{query}", **{"Accept-Language": header})
    assert f'<html lang="{language}">' in page and headers["vary"] == "accept-language"


def test_without_a_ca_of_ours_it_is_said() -> None:
    with served(None) as url:
        assert 'data-ca="none"' in get(f"{url}/ca")[0]
        with pytest.raises(urllib.error.HTTPError) as caught:
            get(f"{url}/ca.pem")
        with caught.value as error:
            assert error.code == 404 and "certificate of the site's own" in json.loads(error.read())["message"]
