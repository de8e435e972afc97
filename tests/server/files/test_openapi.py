"""The description of the HTTP part, and the server held against it."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.routing import Route

from appliance.pair.dimensions import Dimensions
from appliance.pair.locate import Pair
from appliance.server.app import DESCRIPTION, create_app, web_assets
from appliance.server.files.form import MAX_FIELD_BYTES
from appliance.server.files.openai import FORMATS, GRANULARITIES
from appliance.server.files.whisperx import MAX_SPEAKERS
from appliance.server.protocol import PROTOCOL_VERSION
from appliance.server.refusals import STATUS_BY_CODE
from appliance.server.service import Service
from appliance.server.settings import Settings
from tests.fuzz.http import ask, fault
from tests.server.running import Running
from tests.server.test_process import get

DOCUMENT: dict[str, Any] = json.loads(DESCRIPTION.read_text())
UPLOADS = ("/v1/audio/transcriptions", "/v1/audio/translations", "/transcribe")


def inside(value: object) -> Iterator[tuple[str, object]]:
    if isinstance(value, dict):
        yield from value.items()
    if isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from inside(item)


def form(path: str) -> dict[str, Any]:
    content = DOCUMENT["paths"][path]["post"]["requestBody"]["content"]
    properties: dict[str, Any] = content["multipart/form-data"]["schema"]["properties"]
    return properties


@pytest.fixture
def unloaded(tmp_path: Path) -> Service:
    """A service before it loads anything."""
    (tmp_path / "model.bin").touch()
    sizes = Dimensions(80, 1500, 512, 8, 6, 51865, 448, 512, 8, 6)
    return Service(Settings(), Pair("base", tmp_path, tmp_path / "base.pt", sizes, ((0, 0),)), tmp_path / "vad.onnx")


def test_every_address_is_described_and_no_other(unloaded: Service) -> None:
    app = create_app(unloaded, lambda: None)
    others = {"/", "/asr", *(f"/{name}" for name in web_assets())}
    routes = [route for route in app.routes if isinstance(route, Route) and route.path not in others]
    served = {(re.sub(":path", "", route.path), method) for route in routes for method in route.methods or ()}
    described = {(path, method.upper()) for path, item in DOCUMENT["paths"].items() for method in item}
    assert described == {(path, method) for path, method in served if method != "HEAD"}


def test_what_it_points_at_is_there() -> None:
    pointers = {str(value) for name, value in inside(DOCUMENT) if name == "$ref"}
    for pointer in pointers:
        found: Any = DOCUMENT
        for step in pointer.removeprefix("#/").split("/"):
            found = found[step]
    components = {
        f"#/components/{kind}/{name}" for kind in ("schemas", "responses") for name in DOCUMENT["components"][kind]
    }
    assert components == pointers


def test_it_says_what_the_code_does() -> None:
    for path in UPLOADS[:2]:
        assert form(path)["response_format"]["enum"] == list(FORMATS)
        assert set(form(path)["timestamp_granularities[]"]["items"]["enum"]) == set(GRANULARITIES)
        assert form(path)["prompt"]["maxLength"] == MAX_FIELD_BYTES
    assert form("/transcribe")["min_speakers"]["maximum"] == MAX_SPEAKERS
    statuses = {int(status) for path in UPLOADS for status in DOCUMENT["paths"][path]["post"]["responses"]}
    assert statuses == {200, 400, *STATUS_BY_CODE.values()} - {426}
    assert DOCUMENT["components"]["schemas"]["Readiness"]["properties"]["protocol"]["const"] == PROTOCOL_VERSION


@pytest.mark.model
def test_the_server_does_as_it_is_described(server: Running, tmp_path: Path) -> None:
    """`make fuzz` asks more of it."""
    assert get(server, "/openapi.json")[1] == DOCUMENT
    asked = ask(server, tmp_path, examples=8)
    assert asked.status == 0, asked.said[-7000:]
    assert asked.operations == sum(len(item) for item in DOCUMENT["paths"].values())
    assert asked.requests > 8 * asked.operations and not fault(server)
