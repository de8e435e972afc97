"""The engine inside a program of one's own: models loaded once, a session for each connection. See docs/embedding.md.

Light to import: torch is loaded with the models.
"""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterable, AsyncIterator, Callable, Coroutine
from concurrent.futures import ThreadPoolExecutor
from types import TracebackType
from typing import Any, Self

from appliance.errors import ApplianceError
from appliance.server.flags import settings_of
from appliance.server.hearing import Hearing
from appliance.server.models import locate, locate_diarizer
from appliance.server.news import News
from appliance.server.protocol import Mode
from appliance.server.streams import Models, load_models, stream_options
from appliance.server.updates import UpdateWriter
from appliance.speech.audio.decoder import AudioDecoder, AudioFormat
from appliance.speech.hypothesis import Task
from appliance.speech.types import SAMPLE_RATE_HZ

_AUDIO_THREADS = 4


class TranscriptionEngine:
    """Shared by all sessions of a process; for one event loop, and ``async with``.

    Args:
        settings: the server's by their names, for example ``models_dir``, ``model``, ``language``; what is not given
            is taken from its variables. Those about the network have no effect.

    Raises:
        UsageError: an unknown setting, or a value that is not possible.
    """

    def __init__(self, **settings: object) -> None:
        self._settings = settings_of(settings)
        self._models: Models | None = None
        self._audio_pool: ThreadPoolExecutor | None = None
        self._sessions: set[TranscriptionSession] = set()

    async def __aenter__(self) -> Self:
        """Load the models, in a thread; takes seconds.

        Raises:
            ApplianceError: something is missing, doesn't fit, or can't be loaded.
        """
        self._models = await asyncio.to_thread(self._load)
        self._audio_pool = ThreadPoolExecutor(max_workers=_AUDIO_THREADS, thread_name_prefix="audio")
        return self

    def _load(self) -> Models:
        pair, vad_file = locate(self._settings)
        diarizer = locate_diarizer(self._settings, pair, vad_file)
        return load_models(self._settings, pair, vad_file, diarizer)

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """End sessions that are still open, and free the threads."""
        for session in list(self._sessions):
            await session.close()
        models, self._models = self._models, None
        assert models is not None
        assert self._audio_pool is not None
        await asyncio.to_thread(models.close)
        self._audio_pool.shutdown(wait=False, cancel_futures=True)

    @contextlib.asynccontextmanager
    async def lifespan(self, app: object) -> AsyncIterator[None]:
        """For the ``lifespan`` of Starlette, FastAPI and their like."""
        async with self:
            yield

    @property
    def max_sessions(self) -> int:
        """How many sessions may be open at once: the setting, or as many as this machine was measured to carry."""
        return self._settings.max_sessions or self._loaded().capacity

    @property
    def languages(self) -> tuple[str, ...]:
        return self._loaded().engine.languages

    def session(
        self,
        *,
        language: str | None = None,
        task: Task | None = None,
        mode: Mode = "full",
        words: bool = False,
        format: AudioFormat = "auto",
        rate_hz: int = SAMPLE_RATE_HZ,
        diarization: bool = True,
    ) -> "TranscriptionSession":
        """Begin a stream; use it with ``async with``. The parameters are those of `/asr` (docs/API.md).

        ``diarization``: with speakers told apart, where the setting of that name is on.

        Raises:
            ApplianceError: codes ``over_capacity``, ``not_ready``, ``unsupported_language``, ``bad_request``.
        """
        models = self._loaded()
        assert self._audio_pool is not None
        if len(self._sessions) >= self.max_sessions:
            raise ApplianceError(
                f"all {self.max_sessions} places are taken",
                "come back later, or set max_sessions",
                code="over_capacity",
            )
        settings = self._settings
        decoder = AudioDecoder(format, rate_hz=rate_hz, raw_default=settings.pcm_format)
        options = stream_options(settings, language=language or settings.language, task=task or settings.task)
        news = News(lambda take: models.open_stream(options, take, diarization=diarization))
        session = TranscriptionSession(
            news,
            Hearing(news, decoder, self._audio_pool, settings.max_backlog_s),
            UpdateWriter(mode, words=words),
            {"type": "config", "useAudioWorklet": settings.pcm_input or format != "auto", "mode": mode},
            self._sessions.discard,
        )
        self._sessions.add(session)
        return session

    def _loaded(self) -> Models:
        if self._models is None:
            raise ApplianceError(
                "the models are not loaded", "use the engine inside: async with engine", code="not_ready"
            )
        return self._models


class TranscriptionSession:
    """One stream: `feed` and `finish` in one task, iterate in another; or `transcribe`, which does both.

    What is iterated over are the messages of the field's protocol (docs/API.md): ``config``, updates, at most ten a
    second, and ``ready_to_stop``. Nothing waits for an iteration; one who is slow gets fewer updates, and the last.
    Made by `TranscriptionEngine.session`; ``async with`` closes it.
    """

    def __init__(
        self,
        news: News,
        hearing: Hearing,
        updates: UpdateWriter,
        config: dict[str, Any],
        on_close: Callable[["TranscriptionSession"], None],
    ) -> None:
        self._news = news
        self._hearing = hearing
        self._updates = updates
        self._config = config
        self._on_close = on_close

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def feed(self, data: bytes) -> None:
        """Add bytes of a container, cut anywhere, or of raw PCM; waits while too much is unheard.

        Raises:
            ApplianceError: code ``unsupported_audio``, or why the stream failed.
        """
        await self._hear(self._hearing.feed(data))

    async def finish(self) -> None:
        """No more audio will come; what is left of the text still does. Raises as `feed` does."""
        await self._hear(self._hearing.finish())

    async def __aiter__(self) -> AsyncIterator[dict[str, Any]]:
        """All messages, once.

        Raises:
            ApplianceError: the audio can't be decoded, the stream failed, or was closed before its end.
        """
        yield self._config
        async for latest, lag_s in self._news.updates():
            yield json.loads(self._updates.message(latest, lag_s))
        self._news.stream.wait(0)
        yield {"type": "ready_to_stop"}

    async def transcribe(self, chunks: AsyncIterable[bytes]) -> AsyncIterator[dict[str, Any]]:
        """Feed all chunks, up to the last or an empty one, and iterate meanwhile. Raises also what ``chunks`` does."""
        feeder = asyncio.create_task(self._feed_all(chunks))
        feeder.add_done_callback(self._fed)
        try:
            async for message in self:
                yield message
        finally:
            feeder.cancel()
            await asyncio.gather(feeder, return_exceptions=True)

    async def close(self) -> None:
        """Leave the engine. What is fed or iterated over at that moment ends with an error."""
        self._hearing.ended = True
        self._news.stream.close()
        self._on_close(self)
        await self._hearing.close()

    async def _feed_all(self, chunks: AsyncIterable[bytes]) -> None:
        async for chunk in chunks:
            if not chunk:
                break
            await self.feed(chunk)
        await self.finish()

    def _fed(self, feeder: "asyncio.Task[None]") -> None:
        if not feeder.cancelled() and (error := feeder.exception()):
            self._news.fail(error)

    async def _hear(self, hearing: Coroutine[Any, Any, None]) -> None:
        """What is wrong is told to who feeds, and to who iterates."""
        try:
            await hearing
        except ApplianceError as error:
            self._news.fail(error)
            raise
        if self._news.stream.finished.done():
            self._news.stream.wait(0)
