"""WebM as it arrives: where a second recording begins in the same stream of bytes.

A browser's recorder that is started anew on an open connection sends its header again. FFmpeg's demuxer finds its way
there by looking for the next cluster, and may lose one: seconds of speech, with some browsers.
"""

from collections.abc import Iterator

_MAGIC = b"\x1aE\xdf\xa3"
_DOC_TYPE = b"\x42\x82"
_HEADER_BYTES = 64
"""The header names its kind within so many bytes; those of browsers have some 36."""


class HeaderWatch:
    """Lets all bytes through, in order, and says where a new header begins."""

    def __init__(self) -> None:
        self._held = b""
        self._any = False

    def push(self, data: bytes, *, ended: bool = False) -> Iterator[tuple[bytes, bool]]:
        """Bytes that may go on now, each with whether a new recording begins with them.

        Up to 64 bytes that may be a header are held back; none with ``ended``.
        """
        data, self._held = self._held + data, b""
        start, fresh = 0, False
        search = 0 if self._any else 1  # the stream's own header is no second one
        while (at := data.find(_MAGIC, search)) >= 0:
            header = data[at : at + _HEADER_BYTES]
            if len(header) < _HEADER_BYTES and not ended:
                break
            search = at + 1
            if _names_its_kind(header):
                if at > start:
                    yield data[start:at], fresh
                start, fresh = at, True
        if at < 0:
            at = len(data) if ended else len(data) - _begun(data)
        self._any = self._any or at > 0
        self._held = data[at:]
        if at > start:
            yield data[start:at], fresh


def _names_its_kind(header: bytes) -> bool:
    at = header.find(_DOC_TYPE)
    return at > 0 and header[at + 3 :].startswith((b"webm", b"matroska"))


def _begun(data: bytes) -> int:
    """How many bytes at the end may be the beginning of a header's magic."""
    return next((length for length in (3, 2, 1) if data.endswith(_MAGIC[:length])), 0)
