"""A form with one file, read as it arrives: the file goes to disk, and nothing of it is held in memory."""

import asyncio
import contextlib
import errno
import os
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.requests import Request

from appliance.errors import ApplianceError

MAX_FIELDS = 32
MAX_FIELD_BYTES = 16 * 1024
_MAX_AROUND_BYTES = MAX_FIELDS * (MAX_FIELD_BYTES + 1024)
"""What a form may hold beside its file."""

LEAST_BYTES_PER_S = 4000
"""How fast a file comes at least, on average: as speech, well compressed, is spoken."""

_NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
_FORM_HINT = "send multipart/form-data with the audio as {}, for example: curl -F {}=@talk.mp3 ..."


@dataclass
class Form:
    """What was sent: fields in order, and the file, which has no name on disk and is gone when ``file`` is closed."""

    file: IO[bytes]
    fields: dict[str, list[str]] = field(default_factory=dict)
    size: int = 0

    @property
    def path(self) -> str:
        """Where a process of the same user can open the file."""
        return f"/proc/{os.getpid()}/fd/{self.file.fileno()}"


@contextlib.asynccontextmanager
async def received(
    request: Request, file_field: str, folder: Path, *, limit_bytes: int, silence_s: float
) -> AsyncIterator[Form]:
    """The form of a request; its file lies in ``folder`` for as long as the context lasts.

    Raises:
        ApplianceError: codes ``bad_request``, ``bad_content_type``, ``too_large``, ``idle_timeout``, ``no_room``.
        ClientDisconnect: the client went away.
    """
    boundary = _boundary(request, file_field)
    length = request.headers.get("content-length", "")
    if length.isdigit() and int(length) > limit_bytes + _MAX_AROUND_BYTES:
        raise _too_large(limit_bytes)
    with told(folder):
        file = await asyncio.to_thread(_nameless, folder)
    try:
        with told(folder):
            reader = Reader(boundary, Form(file), file_field, limit_bytes)
            async for piece in _pieces(request, limit_bytes, silence_s):
                await asyncio.to_thread(reader.write, piece)
            form = await asyncio.to_thread(reader.finish)
        yield form
    finally:
        await asyncio.to_thread(_close, file)  # which frees its blocks: of a large file that takes a while


async def _pieces(request: Request, limit_bytes: int, silence_s: float) -> AsyncIterator[bytes]:
    """The body as it comes, unless it is too much, nothing comes for too long, or little for longer."""
    pieces = aiter(request.stream())
    begun, size = time.monotonic(), 0
    while True:
        try:
            async with asyncio.timeout(silence_s):
                piece = await anext(pieces, None)
        except TimeoutError as error:
            raise ApplianceError(
                f"nothing came for {silence_s:g} s", "send the file again", code="idle_timeout"
            ) from error
        if piece is None:
            return
        size += len(piece)
        if size > limit_bytes + _MAX_AROUND_BYTES:
            raise _too_large(limit_bytes)
        passed_s = time.monotonic() - begun
        if passed_s > silence_s and size < passed_s * LEAST_BYTES_PER_S:
            raise ApplianceError(
                f"only {size} bytes came in {passed_s:.0f} s",
                f"send the file faster, {LEAST_BYTES_PER_S} bytes a second at least, or compressed (MP3, M4A, Opus)",
                code="idle_timeout",
            )
        yield piece


def _boundary(request: Request, file_field: str) -> bytes:
    kind, options = parse_options_header(request.headers.get("content-type"))
    if kind != b"multipart/form-data" or not options.get(b"boundary"):
        raise ApplianceError(
            f"the request is no form with a file, but {kind.decode('latin-1')[:60] or 'of no type'}",
            _FORM_HINT.format(file_field, file_field),
            code="bad_content_type",
        )
    return options[b"boundary"]


def _nameless(folder: Path) -> IO[bytes]:
    folder.mkdir(parents=True, exist_ok=True, mode=0o700)
    return tempfile.TemporaryFile(dir=folder)


def _close(file: IO[bytes]) -> None:
    with contextlib.suppress(OSError):  # what found no room is not wanted any more
        file.close()


def _too_large(limit_bytes: int) -> ApplianceError:
    return ApplianceError(
        f"the file is larger than {limit_bytes / 1e6:g} MB",
        "send it compressed (MP3, M4A, Opus), cut it, or raise --max-upload-mb (WLK_MAX_UPLOAD_MB)",
        code="too_large",
    )


@contextlib.contextmanager
def told(folder: Path) -> Iterator[None]:
    """Say of a file system that can't take a file what is wrong with it."""
    try:
        yield
    except OSError as error:
        full = error.errno in _NO_ROOM
        raise ApplianceError(
            "there is no room for the file here" if full else f"uploads can't be kept here: {error.strerror}",
            "try again later; the server needs room in its state folder (--state-dir, WLK_STATE_DIR)",
            code="no_room",
        ) from error


class Reader:
    """Takes a form apart, for one thread at a time. Errors are raised by `write` and `finish`."""

    def __init__(self, boundary: bytes, form: Form, file_field: str, limit_bytes: int) -> None:
        self._form = form
        self._file_field = file_field
        self._limit_bytes = limit_bytes
        self._name = self._header = self._disposition = b""
        self._value: bytearray | None = None
        self._files = self._parts = 0
        self._ended = False
        with self._understood():
            self._parser = MultipartParser(
                boundary,
                {
                    "on_part_begin": self._on_part,
                    "on_header_field": self._on_header_name,
                    "on_header_value": self._on_header_value,
                    "on_header_end": self._on_header_end,
                    "on_headers_finished": self._on_headers,
                    "on_part_data": self._on_data,
                    "on_part_end": self._on_part_end,
                    "on_end": self._on_end,
                },
            )

    def write(self, data: bytes) -> None:
        with self._understood():
            self._parser.write(data)

    def finish(self) -> Form:
        with self._understood():
            self._parser.finalize()
        wanted = self._file_field
        if not self._ended:
            raise _bad("the form ends before its last boundary", "send it whole")
        if not self._files:
            raise _bad(f"no file: the form has no file field {wanted!r}", _FORM_HINT.format(wanted, wanted))
        if not self._form.size:
            raise _bad("the file is empty", "send a file with audio in it")
        self._form.file.flush()
        return self._form

    @contextlib.contextmanager
    def _understood(self) -> Iterator[None]:
        try:
            yield
        except FormParserError as error:
            raise _bad(f"the form can't be read: {error}", "send well-formed multipart/form-data") from error

    def _on_part(self) -> None:
        self._parts += 1
        if self._parts > MAX_FIELDS:
            raise _bad(f"the form has more than {MAX_FIELDS} fields", "leave out what is not needed")
        self._header = self._disposition = b""

    def _on_header_name(self, data: bytes, start: int, end: int) -> None:
        self._header += data[start:end]

    def _on_header_value(self, data: bytes, start: int, end: int) -> None:
        if self._header.lower() == b"content-disposition":
            self._disposition += data[start:end]

    def _on_header_end(self) -> None:
        self._header = b""

    def _on_headers(self) -> None:
        _, options = parse_options_header(self._disposition)
        self._name = options.get(b"name", b"")
        if b"filename" not in options:
            self._value = bytearray()
            return
        self._value = None
        if self._name != self._file_field.encode():
            shown = self._name.decode(errors="replace")[:40]
            raise _bad(f"the file is in the field {shown!r}", f"send it as {self._file_field!r}")
        self._files += 1
        if self._files > 1:
            raise _bad("the form has more than one file", "send one file with each request")

    def _on_data(self, data: bytes, start: int, end: int) -> None:
        if self._value is None:
            self._form.size += end - start
            if self._form.size > self._limit_bytes:
                raise _too_large(self._limit_bytes)
            self._form.file.write(memoryview(data)[start:end])
        else:
            self._value += data[start:end]
            if len(self._value) > MAX_FIELD_BYTES:
                raise _bad(f"a field is longer than {MAX_FIELD_BYTES} bytes", "shorten it")

    def _on_part_end(self) -> None:
        if self._value is not None:
            name = self._name.decode(errors="replace")
            self._form.fields.setdefault(name, []).append(self._value.decode(errors="replace"))

    def _on_end(self) -> None:
        self._ended = True


def _bad(message: str, hint: str) -> ApplianceError:
    return ApplianceError(message, hint, code="bad_request")
