"""Audio on its way: kept until the server is known to have it, so that it can be sent again over another connection."""

import asyncio
from collections import deque

MESSAGE_BYTES = 4096
"""Of one message, at most: no server of ours can be set to a lower limit."""
KEPT_BYTES = 4 * 1024 * 1024
"""131 s of 16-bit audio at 16 kHz. Whoever feeds more waits until the server has taken some."""


class Unheard:
    """Bytes of a stream from the first that may be needed again to the last that was fed. For one event loop."""

    def __init__(self) -> None:
        self.fed = 0
        """Bytes fed since the stream began."""
        self._pieces: deque[bytes] = deque()
        self._first = 0
        self._ended = False
        self._changed = asyncio.Condition()

    async def add(self, data: bytes) -> None:
        """More audio; waits while too much of it is kept. After the end it is ignored."""
        for start in range(0, len(data), MESSAGE_BYTES):
            async with self._changed:
                await self._changed.wait_for(lambda: self.fed - self._first < KEPT_BYTES or self._ended)
                if self._ended:
                    return
                piece = data[start : start + MESSAGE_BYTES]
                self._pieces.append(piece)
                self.fed += len(piece)
                self._changed.notify_all()

    async def end(self) -> None:
        """No more comes; also wakes whoever waits to add some."""
        async with self._changed:
            self._ended = True
            self._changed.notify_all()

    async def taken(self, to: int) -> None:
        """The server has all before byte ``to``."""
        async with self._changed:
            while self._pieces and self._first + len(self._pieces[0]) <= to:
                self._first += len(self._pieces.popleft())
            self._changed.notify_all()

    def has(self, at: int) -> bool:
        """Whether the stream can be sent from this byte on."""
        return self._first <= at <= self.fed

    async def after(self, at: int) -> bytes:
        """What follows byte ``at``, one message of it, as soon as there is something; b"" at the end."""
        async with self._changed:
            await self._changed.wait_for(lambda: at < self.fed or self._ended)
            start = self._first
            for piece in self._pieces:
                if at < start + len(piece):
                    return piece[at - start :]
                start += len(piece)
            return b""
