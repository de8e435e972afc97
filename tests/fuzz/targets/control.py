"""A text frame on `/asr`, as a control message; what is answered with its contents must be sayable."""

import json
from collections.abc import Iterator

from hypothesis import strategies
from hypothesis.strategies import SearchStrategy

from appliance.errors import ApplianceError
from appliance.server.protocol import dump, parse_control, pong
from tests.fuzz.watch import documented

_TYPES = ("stop", "ping", "config", "resume")


def seeds() -> Iterator[bytes]:
    yield from (b'{"type": "stop"}', b'{"type": "ping"}', b'{"type": "ping", "id": 7}', b'{"type": "ping", "id": "a1"}')
    yield b'{"type": "config", "language": "de"}'


def words() -> Iterator[bytes]:
    yield from (b'"type"', b'"id":', b'"language":', b'"ping"', b"NaN", b"Infinity", b"1e999", b'"\\ud800"', b"[" * 900)


def strategy() -> SearchStrategy[bytes]:
    scalars = (
        strategies.none() | strategies.booleans() | strategies.integers() | strategies.floats() | strategies.text()
    )
    values = strategies.recursive(
        scalars, lambda inner: strategies.lists(inner) | strategies.dictionaries(strategies.text(), inner), max_leaves=8
    )
    message = strategies.fixed_dictionaries(
        {"type": strategies.sampled_from(_TYPES) | values}, optional={"id": values, "language": values}
    )
    return message.map(lambda given: json.dumps(given).encode())


def one(data: bytes) -> bool:
    try:
        message = parse_control(data.decode("utf-8", "replace"))
        if message["type"] == "ping":
            said = json.loads(dump(pong(message)).encode(), parse_constant=_refuse)
            assert said == {"type": "pong"} | ({"id": message["id"]} if "id" in message else {})
    except ApplianceError as error:
        documented(error, ("bad_message",))
        return False
    return True


def _refuse(name: str) -> float:
    raise ValueError(f"{name} is no JSON")
