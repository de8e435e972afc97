"""MP4 as it arrives: which box comes next, and whole header boxes for a demuxer that steps back inside them."""

MAX_BOX_BYTES = 8 << 20
_HEADER_BYTES = 8
_WIDE_HEADER_BYTES = 16


class BoxGate:
    """Lets media bytes (``mdat``) through as they come, and every other top-level box only when it is whole.

    FFmpeg reads a few bytes of a header box and then goes back, which it can only do inside one read.
    A box over `MAX_BOX_BYTES`, or one without an end, is let through as it comes.
    """

    def __init__(self) -> None:
        self._held = bytearray()
        self._through = 0

    def push(self, data: bytes) -> bytes:
        """The bytes that may go on now."""
        self._held += data
        out = bytearray()
        while self._held:
            if not self._through:
                size = self._whole_box()
                if size is None:
                    break
                self._through = size
            piece = self._held[: self._through]
            out += piece
            del self._held[: len(piece)]
            self._through -= len(piece)
        return bytes(out)

    def rest(self) -> bytes:
        """What is still held, at the end of the stream."""
        held = bytes(self._held)
        self._held.clear()
        return held

    def _whole_box(self) -> int | None:
        """Size of the box at the front if it may begin to go through, else None."""
        box = box_at(self._held, 0)
        if box is None:
            return None
        name, size = box
        if name == b"mdat" or size > MAX_BOX_BYTES:
            return size
        return size if size <= len(self._held) else None


def box_at(data: bytes | bytearray, at: int) -> tuple[bytes, int] | None:
    """Name and size in bytes of the box at ``at``, or None while its header isn't complete.

    A box that runs to the end of the stream (size 0), or a nonsensical one, counts as endless.
    """
    if len(data) < at + _HEADER_BYTES:
        return None
    size, name = int.from_bytes(data[at : at + 4], "big"), bytes(data[at + 4 : at + 8])
    if size == 1:
        if len(data) < at + _WIDE_HEADER_BYTES:
            return None
        size = int.from_bytes(data[at + 8 : at + 16], "big")
    return name, size if size >= _HEADER_BYTES else 1 << 62
