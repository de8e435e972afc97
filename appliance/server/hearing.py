"""From the bytes that a client sends to the samples that its stream is fed, in a thread, and never too far ahead."""

import asyncio
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context

from appliance.server.news import News
from appliance.speech.audio.decoder import AudioDecoder
from appliance.speech.types import SAMPLE_RATE_HZ, Samples

_TURN_SAMPLES = 4 * SAMPLE_RATE_HZ


class Hearing:
    """Of one stream. What is fed is heard in its order, whoever feeds it."""

    def __init__(
        self,
        news: News,
        decoder: AudioDecoder,
        pool: ThreadPoolExecutor,
        max_backlog_s: float,
        on_heard: Callable[[float], None] = lambda seconds: None,
    ) -> None:
        """Args:
        news: of the stream to feed.
        pool: threads that decode.
        max_backlog_s: seconds of audio that may be unheard; who feeds more waits.
        on_heard: called with the seconds of each piece.
        """
        self._news = news
        self._stream = news.stream
        self._decoder = decoder
        self._pool = pool
        self._max_backlog_s = max_backlog_s
        self._on_heard = on_heard
        self._order = asyncio.Lock()
        self._samples = 0
        self.received_bytes = 0
        """All that was fed, also what is still to be heard."""
        self.ended = False

    @property
    def received_s(self) -> float:
        """Seconds of audio decoded so far."""
        return self._samples / SAMPLE_RATE_HZ

    async def feed(self, data: bytes) -> None:
        """Add bytes of a container, cut anywhere, or of raw PCM; after the end they are not heard.

        Raises:
            ApplianceError: code ``unsupported_audio``.
        """
        if not self.ended:
            self.received_bytes += len(data)
            await self._hear(self._decoder.feed(data))

    async def finish(self) -> None:
        """No more will come: hear what the decoder still holds, then let the stream finish. Raises as `feed` does."""
        if not self.ended:
            self.ended = True
            await self._hear(self._decoder.finish())
            self._stream.finish()

    async def close(self) -> None:
        """Free the decoder."""
        await asyncio.get_running_loop().run_in_executor(self._pool, self._decoder.close)

    async def _hear(self, pieces: Iterator[Samples]) -> None:
        loop = asyncio.get_running_loop()
        more = True
        async with self._order:
            while more:
                # In a copy of this context, so that the threads' lines in the log have the session's name.
                batch, more = await loop.run_in_executor(self._pool, copy_context().run, take_some, pieces)
                for samples in batch:
                    self._stream.feed(samples)
                    self._samples += samples.size
                    self._on_heard(samples.size / SAMPLE_RATE_HZ)
                while self._stream.backlog_s > self._max_backlog_s and not self._news.over.is_set():
                    await self._news.pause()


def take_some(pieces: Iterator[Samples]) -> tuple[list[Samples], bool]:
    """Some seconds of audio, and whether there may be more; runs in an audio thread."""
    batch: list[Samples] = []
    total = 0
    for samples in pieces:
        batch.append(samples)
        total += samples.size
        if total >= _TURN_SAMPLES:
            return batch, True
    return batch, False
