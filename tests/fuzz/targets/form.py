"""An upload: a form as it arrives, and what it asks for. The first line is its content type."""

import asyncio
from collections.abc import Iterator

from starlette.requests import Request
from starlette.types import Message

from appliance.errors import ApplianceError
from appliance.server.files import openai, whisperx
from appliance.server.files.form import received
from appliance.server.refusals import openai_error, refusal
from tests.fuzz.material import recordings, scratch
from tests.fuzz.watch import documented

_TYPE = b"multipart/form-data; boundary=x\n"
_LIMIT_BYTES = 1 << 16
_PIECE = 700


def seeds() -> Iterator[bytes]:
    sound = recordings()["ogg-opus"]
    file = (
        b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.ogg"\r\nContent-Type: audio/ogg\r\n\r\n'
        + sound
    )
    yield _TYPE + file + b"\r\n--x--\r\n"
    fields = {b"model": b"whisper-1", b"language": b"de", b"response_format": b"verbose_json", b"temperature": b"0.2"}
    fields[b"timestamp_granularities[]"] = b"word"
    rows = [
        b'--x\r\nContent-Disposition: form-data; name="' + k + b'"\r\n\r\n' + v + b"\r\n" for k, v in fields.items()
    ]
    yield _TYPE + b"".join(rows) + file + b"\r\n--x--\r\n"


def words() -> Iterator[bytes]:
    yield from (
        b"\r\n--x\r\n",
        b"\r\n--x--\r\n",
        b"--x",
        b'name="file"',
        b'; filename="a"',
        b"; filename*=utf-8''%ff",
        b"boundary=",
        b"; ",
    )
    yield from (
        b'name="temperature"\r\n\r\n',
        b"1e999",
        b"nan",
        b'name="stream"',
        b'name="min_speakers"',
        b"content-disposition:",
    )


def one(data: bytes) -> bool:
    kind, _, body = data.partition(b"\n")
    try:
        asyncio.run(_read(kind, body))
    except ApplianceError as error:
        documented(error)
        if refusal("/transcribe", error).status_code >= 500:
            raise
        openai_error(error)
        return False
    return True


async def _read(kind: bytes, body: bytes) -> None:
    pieces = [body[at : at + _PIECE * 8] for at in range(0, len(body), _PIECE * 8)]

    async def receive() -> Message:
        piece = pieces.pop(0) if pieces else b""
        return {"type": "http.request", "body": piece, "more_body": bool(pieces)}

    request = Request({"type": "http", "method": "POST", "path": "/", "headers": [(b"content-type", kind)]}, receive)
    async with received(request, "file", scratch(), limit_bytes=_LIMIT_BYTES, silence_s=60) as form:
        openai.parse(form.fields, "base")
        whisperx.parse(form.fields)
