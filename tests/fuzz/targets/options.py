"""What stands in the address of `/asr`, and the headers that say who asks. Lines: the query, the origin, the token."""

from collections.abc import Iterator
from functools import cache

from hypothesis import strategies
from hypothesis.strategies import SearchStrategy
from starlette.requests import HTTPConnection

from appliance.errors import ApplianceError
from appliance.server.access import Access
from appliance.server.protocol import config_event, dump, parse_options
from appliance.server.settings import Settings
from appliance.server.tokens import Token
from tests.fuzz.watch import documented

_SECRET = "correct horse"
_NAMES = ("language", "mode", "words", "format", "rate", "task", "diarization", "target_language", "token", "session")


def seeds() -> Iterator[bytes]:
    yield b"language=de&mode=diff&words=true&format=s16le&rate=48000\nhttps://box:8000\nBearer correct horse"
    yield b"token=correct%20horse&task=translate\n\n"
    yield b"format=auto&mode=full\n\nwlk.token.Y29ycmVjdCBob3JzZQ"


def words() -> Iterator[bytes]:
    yield from (f"{name}=".encode() for name in _NAMES)
    yield from (b"http://[", b"https://[::1]", b"%00", b"%ED%A0%80", b"\xb2", b"%C2%B2", b"Bearer ", b"wlk.token.")


def strategy() -> SearchStrategy[bytes]:
    values = strategies.binary(max_size=20).map(lambda value: "".join(f"%{byte:02x}" for byte in value))
    pairs = strategies.lists(strategies.builds("{}={}".format, strategies.sampled_from(_NAMES), values), max_size=6)
    given = strategies.binary(max_size=40)
    return strategies.builds(
        lambda query, origin, token: b"\n".join([query.encode(), b"https://" + origin, token]),
        pairs.map("&".join),
        given,
        given,
    )


def one(data: bytes) -> bool:
    query, origin, given = (*data.split(b"\n"), b"", b"")[:3]
    headers = [(b"host", b"box:8000")]
    subprotocols = []
    if origin:
        headers.append((b"origin", origin))
    if given.startswith(b"wlk.token."):
        subprotocols = [given.decode("latin-1")]
    elif given:
        headers.append((b"authorization", given))
    scope = {
        "type": "websocket", "path": "/asr", "query_string": query, "headers": headers, "subprotocols": subprotocols,
        "client": ("192.0.2.1", 50000),
    }  # fmt: skip
    asking = HTTPConnection(scope)
    settings = _settings()
    try:
        options = parse_options(asking.query_params, settings)
        dump(config_event(settings, options, "0")).encode()
        Access(settings, (Token("client", _SECRET),)).admit(asking)
    except ApplianceError as error:
        documented(error, ("bad_request", "origin", "unauthorized"))
        return False
    return True


@cache
def _settings() -> Settings:
    return Settings(allowed_origins=("same", "https://other.example"))
