"""Forms as they arrive, in pieces of any size; the file goes to disk."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
from starlette.requests import ClientDisconnect, Request
from starlette.types import Message

from appliance.errors import ApplianceError
from appliance.server.files.form import MAX_FIELD_BYTES, MAX_FIELDS, Form, Reader, received, told

BOUNDARY = "----boundary7"
FORM = f"multipart/form-data; boundary={BOUNDARY}"
Part = tuple[str, bytes]


def part(name: str, content: bytes, filename: str | None = None) -> bytes:
    shown = f'; filename="{filename}"' if filename is not None else ""
    head = f'--{BOUNDARY}\r\nContent-Disposition: form-data; name="{name}"{shown}\r\n\r\n'
    return head.encode() + content + b"\r\n"


END = f"--{BOUNDARY}--\r\n".encode()
FILE = part("file", b"RIFF\r\n--almost" * 100, "a b.wav")


class Asked:
    """A request whose body comes in pieces, and then nothing, or the client's going away."""

    def __init__(
        self, pieces: Sequence[bytes], *, content_type: str = FORM, length: int | None = None, pause_s: float = 0.0
    ) -> None:
        self._pause_s = pause_s
        self._pieces: AsyncIterator[Message] = self._messages(pieces)
        headers = [(b"content-type", content_type.encode())]
        headers += [(b"content-length", str(length).encode())] if length is not None else []
        self.request = Request({"type": "http", "method": "POST", "headers": headers}, self._receive)
        self.reads = 0

    async def _receive(self) -> Message:
        self.reads += 1
        return await anext(self._pieces)

    async def _messages(self, pieces: Sequence[bytes]) -> AsyncIterator[Message]:
        for piece in pieces[:-1]:
            await asyncio.sleep(self._pause_s)
            yield {"type": "http.request", "body": piece, "more_body": True}
        if pieces[-1] == b"gone":
            yield {"type": "http.disconnect"}
        if pieces[-1] == b"still":
            await asyncio.sleep(60)
        yield {"type": "http.request", "body": pieces[-1], "more_body": False}


def found(form: Form, folder: Path) -> bytes:
    assert list(folder.iterdir()) == []  # it has no name
    return Path(form.path).read_bytes()


def read(asked: Asked, folder: Path, *, limit_bytes: int = 10_000, silence_s: float = 5.0) -> tuple[Form, bytes]:
    async def run() -> tuple[Form, bytes]:
        context = received(asked.request, "file", folder, limit_bytes=limit_bytes, silence_s=silence_s)
        async with context as form:
            return form, found(form, folder)

    return asyncio.run(run())


def refused(asked: Asked, folder: Path, **limits: float) -> ApplianceError:
    with pytest.raises(ApplianceError) as caught:
        read(asked, folder, **limits)  # type: ignore[arg-type]
    return caught.value


@pytest.mark.parametrize("size", [1, 7, 100_000])
def test_pieces_of_any_size(size: int, tmp_path: Path) -> None:
    body = part("model", b"base") + FILE + part("n[]", b"x") + part("n[]", "ü".encode()) + END
    form, content = read(Asked([body[at : at + size] for at in range(0, len(body), size)]), tmp_path / "made")
    assert content == b"RIFF\r\n--almost" * 100 and form.size == len(content)
    assert form.fields == {"model": ["base"], "n[]": ["x", "ü"]}
    assert form.file.closed


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (part("model", b"base") + END, "no file field 'file'"),
        (part("file", b"text") + END, "no file field 'file'"),
        (part("file", b"", "a.wav") + END, "the file is empty"),
        (part("audio", b"x", "a.wav") + END, "the file is in the field 'audio'"),
        (FILE + FILE + END, "more than one file"),
        (FILE, "ends before its last boundary"),
        (FILE[:-600], "ends before its last boundary"),
        (b"no form at all", "can't be read"),
        (b"", "ends before its last boundary"),
        (part("a", b"x" * (MAX_FIELD_BYTES + 1)) + FILE + END, "a field is longer"),
        (part("a", b"x") * MAX_FIELDS + FILE + END, f"more than {MAX_FIELDS} fields"),
        (part("a" * 100_000, b"x") + FILE + END, "can't be read: Maximum header size"),
    ],
)
def test_what_is_no_good_form(body: bytes, said: str, tmp_path: Path) -> None:
    error = refused(Asked([body]), tmp_path)
    assert error.code == "bad_request" and said in error.message and error.hint


@pytest.mark.parametrize(
    "kind", ["", "application/json", "audio/wav", "multipart/form-data", "multipart/mixed; boundary=x"]
)
def test_what_is_no_form(kind: str, tmp_path: Path) -> None:
    asked = Asked([FILE + END], content_type=kind)
    assert refused(asked, tmp_path).code == "bad_content_type" and asked.reads == 0


def test_too_large_by_what_is_said_and_by_what_comes(tmp_path: Path) -> None:
    said = Asked([FILE], length=1_000_000_000)
    assert refused(said, tmp_path).code == "too_large" and said.reads == 0
    piece = bytes(1000)
    comes = Asked([part("file", b"", "a")[:-2], *[piece] * 1000])
    assert refused(comes, tmp_path).code == "too_large" and comes.reads < 20


def test_what_comes_after_the_last_boundary_counts_too(tmp_path: Path) -> None:
    comes = Asked([FILE + END, *[bytes(100_000)] * 100])
    assert refused(comes, tmp_path).code == "too_large" and comes.reads < 10


def test_an_upload_that_trickles(tmp_path: Path) -> None:
    """It never stands still for as long as it may: let go of at 1000 bytes a second, and not at a million."""
    slow = Asked([FILE[at : at + 10] for at in range(0, 1000, 10)], pause_s=0.01)
    error = refused(slow, tmp_path, silence_s=0.2)
    assert error.code == "idle_timeout" and "bytes came in" in error.message and slow.reads < 50
    body = part("file", bytes(100_000), "a") + END
    steady = Asked([body[at : at + 10_000] for at in range(0, len(body), 10_000)], pause_s=0.01)
    assert read(steady, tmp_path, limit_bytes=100_000, silence_s=0.05)[0].size == 100_000


def test_an_upload_that_stands_still_and_one_that_breaks_off(tmp_path: Path) -> None:
    assert refused(Asked([FILE, b"still"]), tmp_path, silence_s=0.05).code == "idle_timeout"
    with pytest.raises(ClientDisconnect):
        read(Asked([FILE, b"gone"]), tmp_path)


def test_no_place_to_keep_it(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("a file")
    error = refused(Asked([FILE + END]), tmp_path / "a" / "uploads")
    assert error.code == "no_room" and "--state-dir" in error.hint and str(tmp_path) not in error.message


def test_a_full_disk() -> None:
    """``/dev/full`` can't hold what is written: the error is that of a full disk."""
    with Path("/dev/full").open("wb", buffering=0) as full, pytest.raises(ApplianceError) as caught, told(Path("/")):
        Reader(BOUNDARY.encode(), Form(full), "file", 10_000).write(FILE + END)
    assert caught.value.code == "no_room" and "no room" in caught.value.message
