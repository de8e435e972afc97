"""Messages between the engine and its process: they come as they went, and nothing else is taken for one."""

import io
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from appliance.errors import ApplianceError
from appliance.pair.dimensions import Dimensions
from appliance.pair.locate import Pair
from appliance.speech.children import pack_error, unpack_error
from appliance.speech.config import EngineConfig
from appliance.speech.hypothesis import End, Hypothesis, Request, Token
from appliance.speech.inference import wire
from appliance.speech.types import Samples

CONFIG = EngineConfig(
    Pair("a", Path("/m/e"), Path("/m/d/a.pt"), Dimensions(80, 2, 3, 4, 5, 6, 7, 8, 9, 10), ((1, 2), (3, 4))),
    Path("/m/v.onnx"),
    device="cuda",
    policy="localagreement",
)


def noise(samples: int) -> Samples:
    return np.random.default_rng(samples).normal(0, 0.1, samples).astype(np.float32)


def message(header: wire.Header, windows: list[Samples] | None = None) -> io.BytesIO:
    file = io.BytesIO()
    wire.send(file, header, windows or [])  # type: ignore[arg-type]
    file.seek(0)
    return file


def received(file: io.BytesIO) -> tuple[wire.Header, bytearray] | None:
    return wire.receive(file)  # type: ignore[arg-type]


def test_requests_come_as_they_went() -> None:
    whole = Request(
        noise(5000)[::2],
        9000,
        prefix=(1, 2),
        draft=(3,),
        firm=1,
        margin=math.inf,
        context=(4, 5),
        languages=("de", "en"),
        previous_language="de",
        task="translate",
        is_final=True,
        beam=5,
    )
    sent = [whole, Request(noise(0), 0), Request(noise(7), 8000, language="en")]
    came = received(message({"requests": wire.pack_requests(sent)}, [one.window for one in sent]))
    assert came
    header, samples = came
    found = wire.unpack_requests(header["requests"], samples)
    for one, other in zip(sent, found, strict=True):
        assert np.array_equal(one.window, other.window)
        for name in set(Request.__slots__) - {"window"}:
            assert getattr(one, name) == getattr(other, name)


def test_hypotheses_come_as_they_went() -> None:
    sent = [
        Hypothesis((Token(5, 1 / 3, 7), Token(50_000, 1e-9, 1499)), End.REWIND, "yue", 0.1, 0.7, ends_word=True),
        Hypothesis((), End.TEXT, "en", 1.0, float(np.float32(0.3))),
    ]
    came = received(message({"found": wire.pack_hypotheses(sent)}))
    assert came and wire.unpack_hypotheses(came[0]["found"]) == sent


def test_what_to_load_and_errors_come_as_they_went() -> None:
    assert wire.unpack_config(json.loads(json.dumps(wire.pack_config(CONFIG)))) == CONFIG
    error = unpack_error(pack_error(ApplianceError("no", "do", code="no_gpu")))
    assert (error.message, error.hint, error.code) == ("no", "do", "no_gpu")


def test_the_end_is_the_end_wherever_it_comes() -> None:
    whole = message({"a": 1}, [noise(3)]).getvalue()
    for length in range(len(whole)):
        assert received(io.BytesIO(whole[:length])) is None


@pytest.mark.parametrize(
    "start",
    [b"x" * 12, wire._START.pack(b"wlk1", wire.MAX_HEADER_BYTES + 1, 0), wire._START.pack(b"wlk1", 2, 2**32 - 1)],
)
def test_nothing_is_read_after_a_start_that_is_none(start: bytes) -> None:
    file = io.BytesIO(start + bytes(100))
    with pytest.raises(wire.GarbledError):
        received(file)
    assert file.tell() == len(start)


@pytest.mark.parametrize("text", [b"[1]", b"{", b"\xff\xff", b"[" * 100_000])
def test_a_header_that_is_no_object_is_refused(text: bytes) -> None:
    with pytest.raises(wire.GarbledError):
        received(io.BytesIO(wire._START.pack(b"wlk1", len(text), 0) + text))


@pytest.mark.parametrize("wrong", [{"samples": 11}, {"samples": 9}, {"samples": -1}, {"prefix": 5}, {"samples": "x"}])
def test_requests_that_do_not_fit_their_samples_are_refused(wrong: dict[str, Any]) -> None:
    [row] = wire.pack_requests([Request(noise(10), 10)])
    assert wire.unpack_requests([row], bytearray(40))
    with pytest.raises(wire.GarbledError):
        wire.unpack_requests([row | wrong], bytearray(40))
    with pytest.raises(wire.GarbledError):
        wire.unpack_requests([{}], bytearray(40))


@pytest.mark.parametrize(
    "wrong", [{"tokens": [[1, 2]]}, {"tokens": 5}, {"end": "NEVER"}, {"language_probability": "x"}]
)
def test_hypotheses_that_are_none_are_refused(wrong: dict[str, Any]) -> None:
    [row] = wire.pack_hypotheses([Hypothesis((), End.TEXT, "en", 1.0, 0.0)])
    with pytest.raises(wire.GarbledError):
        wire.unpack_hypotheses([row | wrong])
    with pytest.raises(wire.GarbledError):
        wire.unpack_hypotheses([{}])
