"""A web server on loopback, an empty store, and quick retries."""

import hashlib
import random
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from appliance.fetch.http import HttpClient
from appliance.store import Store
from tests.fetch.web_server import WebServer, web_server


@pytest.fixture
def site() -> Iterator[WebServer]:
    with web_server() as site:
        yield site


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store")


@pytest.fixture
def client() -> Iterator[HttpClient]:
    client = HttpClient(timeout_s=(2.0, 2.0), backoff_s=0.001)
    yield client
    client.session.close()


@pytest.fixture
def content() -> bytes:
    """3 MB that no compression or repetition can stand in for."""
    return random.Random(7).randbytes(3_000_000)


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


@pytest.fixture
def unused_port() -> int:
    """A port on loopback where nothing listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])
