"""What goes between the engine and the process that makes its passes: a header in JSON, and samples as they are.

A message is twelve bytes (a mark, the header's length, the samples' length), the header, and float32 samples in the
machine's own order: both ends are on one machine, of one version. Nothing that is read is run, and all has a limit.
"""

import json
import struct
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, fields
from io import RawIOBase
from pathlib import Path
from typing import Any

import numpy as np

from appliance.pair.dimensions import Dimensions
from appliance.pair.locate import Pair
from appliance.speech.config import EngineConfig
from appliance.speech.hypothesis import FULL_WINDOW_SAMPLES, End, Hypothesis, Request, Token
from appliance.speech.types import Samples

MAX_HEADER_BYTES = 4 * 1024 * 1024
MAX_WINDOWS = 64
MAX_SAMPLES_BYTES = MAX_WINDOWS * FULL_WINDOW_SAMPLES * 4

_START = struct.Struct("=4sII")
_MARK = b"wlk1"
_PLAIN = tuple(field.name for field in fields(Request) if field.name != "window")
_TUPLES = ("prefix", "draft", "context", "languages")

Header = Mapping[str, Any]


class GarbledError(Exception):
    """What came is no message of ours: whoever sent it is not to be trusted with anything."""


def send(file: RawIOBase, header: Header, windows: Sequence[Samples] = ()) -> None:
    """Write a message; waits while the other end does not read.

    Raises:
        OSError: the other end is gone.
    """
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    blocks = [np.ascontiguousarray(window, dtype=np.float32) for window in windows]
    start = _START.pack(_MARK, len(text), sum(block.nbytes for block in blocks))
    for rest in (memoryview(start + text), *(block.view(np.uint8).data for block in blocks)):
        while rest:
            rest = rest[file.write(rest) or 0 :]


def receive(file: RawIOBase) -> tuple[Header, bytearray] | None:
    """The next message: its header and its samples' bytes; None where the other end is gone.

    Raises:
        GarbledError: it is no message, or larger than any may be.
    """
    start = _filled(file, _START.size)
    if start is None:
        return None
    mark, header_bytes, samples_bytes = _START.unpack(start)
    if mark != _MARK or header_bytes > MAX_HEADER_BYTES or samples_bytes > MAX_SAMPLES_BYTES:
        raise GarbledError("no message, or one that is too large")
    text, samples = _filled(file, header_bytes), _filled(file, samples_bytes)
    if text is None or samples is None:
        return None
    try:
        header = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise GarbledError("its header is not JSON") from error
    if not isinstance(header, dict):
        raise GarbledError("its header is no object")
    return header, samples


def _filled(file: RawIOBase, size: int) -> bytearray | None:
    """So many bytes; None where there are fewer."""
    block = bytearray(size)
    rest = memoryview(block)
    while rest:
        count = file.readinto(rest)
        if not count:
            return None
        rest = rest[count:]
    return block


def pack_requests(requests: Sequence[Request]) -> list[dict[str, Any]]:
    """Their part of a header; the windows go behind it, in the same order."""
    return [{name: getattr(one, name) for name in _PLAIN} | {"samples": len(one.window)} for one in requests]


def unpack_requests(rows: Iterable[Mapping[str, Any]], samples: bytearray) -> list[Request]:
    """Requests from a header and the samples behind it.

    Raises:
        GarbledError: they don't fit each other, or something is missing.
    """
    heard = np.frombuffer(samples, dtype=np.float32)
    requests = []
    try:
        for row in rows:
            given: dict[str, Any] = {name: tuple(row[name]) if name in _TUPLES else row[name] for name in _PLAIN}
            count = int(row["samples"])
            window, heard = heard[:count], heard[count:]
            if not 0 <= count == len(window):
                raise ValueError(f"{count} samples, {len(window)} of them here")
            requests.append(Request(window=window, **given))
        if heard.size:
            raise ValueError(f"{heard.size} samples of nobody")
    except (KeyError, TypeError, ValueError) as error:
        raise GarbledError(f"no requests: {error}") from error
    return requests


def pack_hypotheses(found: Sequence[Hypothesis]) -> list[dict[str, Any]]:
    return [
        {
            "tokens": [(int(token.id), float(token.probability), int(token.frame)) for token in one.tokens],
            "end": one.end.name,
            "language": one.language,
            "language_probability": float(one.language_probability),
            "no_speech_probability": float(one.no_speech_probability),
            "ends_word": bool(one.ends_word),
        }
        for one in found
    ]


def unpack_hypotheses(rows: Iterable[Mapping[str, Any]]) -> list[Hypothesis]:
    """Raises `GarbledError` where something is missing, or of another kind."""
    try:
        return [
            Hypothesis(
                tuple(Token(int(id_), float(probability), int(frame)) for id_, probability, frame in row["tokens"]),
                End[row["end"]],
                str(row["language"]),
                float(row["language_probability"]),
                float(row["no_speech_probability"]),
                bool(row["ends_word"]),
            )
            for row in rows
        ]
    except (KeyError, TypeError, ValueError) as error:
        raise GarbledError(f"no hypotheses: {error}") from error


def pack_config(config: EngineConfig) -> dict[str, Any]:
    row = asdict(config)
    pair = row["pair"]
    pair["encoder_dir"], pair["decoder_file"] = str(pair["encoder_dir"]), str(pair["decoder_file"])
    return row | {"vad_file": str(config.vad_file)}


def unpack_config(row: Mapping[str, Any]) -> EngineConfig:
    pair = row["pair"]
    found = Pair(
        name=pair["name"],
        encoder_dir=Path(pair["encoder_dir"]),
        decoder_file=Path(pair["decoder_file"]),
        dimensions=Dimensions(**pair["dimensions"]),
        alignment_heads=tuple((layer, head) for layer, head in pair["alignment_heads"]),
    )
    return EngineConfig(**{**row, "pair": found, "vad_file": Path(row["vad_file"])})
