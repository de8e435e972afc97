"""The files' queue, and the one process that works on them: `appliance.batch.worker`, started at the first file."""

import asyncio
import contextlib
import os
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Iterator

from appliance.batch.job import Heard, Job, Segment, Setup
from appliance.errors import ApplianceError
from appliance.pair.locate import Pair
from appliance.server.access import Client
from appliance.server.files.process import Worker
from appliance.server.models import compute_type
from appliance.server.refusals import restarting
from appliance.server.settings import Settings
from appliance.speakers.load import DiarizerConfig


class Desk:
    """One per process; belongs to the event loop's thread."""

    def __init__(self, settings: Settings, pair: Pair, diarizer: DiarizerConfig | None = None) -> None:
        self._settings = settings
        self._setup = Setup(
            str(pair.encoder_dir),
            settings.device,
            compute_type(settings),
            settings.file_threads or _threads(settings),
            diarizer,
        )
        self._places = settings.file_queue
        self._taken: Counter[str] = Counter()
        self._turn = asyncio.Lock()
        self._worker: Worker | None = None
        self._rest: asyncio.TimerHandle | None = None
        self._closed = False
        self._open: set[asyncio.Timeout] = set()

    @property
    def depth(self) -> int:
        """Files that are sent, wait, or are worked on."""
        return self._taken.total()

    @contextlib.contextmanager
    def place(self, client: Client) -> Iterator[None]:
        """Count a file, from before it is sent until it is answered.

        Raises:
            ApplianceError: code ``too_many_files``: of all clients, or of this one.
        """
        if self.depth >= self._places:
            raise ApplianceError(
                f"{self.depth} files are in work or waiting, and no more may wait",
                "send it again when others are done, or raise --file-queue (WLK_FILE_QUEUE)",
                code="too_many_files",
            )
        most = self._settings.max_sessions_per_client
        if most and self._taken[client.name] >= most:
            raise ApplianceError(
                f"{client.name} has {most} files in work or waiting already, and no client may have more",
                "send the next when one is done, or raise --max-sessions-per-client (WLK_MAX_SESSIONS_PER_CLIENT)",
                code="too_many_files",
            )
        self._taken[client.name] += 1
        try:
            yield
        finally:
            self._taken -= Counter([client.name])  # and forgets who has none

    @contextlib.asynccontextmanager
    async def until_close(self) -> AsyncIterator[None]:
        """What is awaited inside ends when `close` is called.

        Raises:
            ApplianceError: code ``restarting``: it was called, now or before.
        """
        if self._closed:
            raise restarting()
        limit = asyncio.timeout(None)
        try:
            async with limit:
                self._open.add(limit)
                yield
        except TimeoutError as error:
            if limit.expired():
                raise restarting() from error
            raise
        finally:
            self._open.discard(limit)

    async def work(self, job: Job) -> AsyncGenerator[Segment | Heard, None]:
        """A file's segments as they are found, and at last how much was heard. Closed early, the work on it ends.

        Raises:
            ApplianceError: the file can't be decoded, is too long, the process failed, or `close` was called.
        """
        async with self._turn:
            worker = await self._started()
            answered = False
            try:
                async with contextlib.aclosing(worker.answers(job)) as answers:
                    async for answer in answers:
                        answered = isinstance(answer, Heard)
                        yield answer
            except ApplianceError as error:
                answered = error.code != "internal"
                raise
            finally:
                if answered and not self._closed:
                    self._rest = asyncio.get_running_loop().call_later(self._settings.file_idle_s, self._end)
                else:
                    self._end()

    def close(self) -> None:
        """Take no more files, and let go of those that are here: the server stops."""
        self._closed = True
        while self._open:
            self._open.pop().reschedule(0)
        if not self._turn.locked():  # else the process ends with the work on its file
            self._end()

    def _end(self) -> None:
        """End the process; the next file starts another."""
        worker, self._worker = self._worker, None
        self._keep()
        if worker:
            worker.end()

    def _keep(self) -> None:
        if self._rest:
            self._rest.cancel()
            self._rest = None

    async def _started(self) -> Worker:
        if self._closed:
            raise restarting()
        self._keep()
        if self._worker is None or not self._worker.alive:
            self._worker = await Worker.start(self._setup)
        return self._worker


def _threads(settings: Settings) -> int:
    """Half of what the streams have: files may take their time."""
    return max(1, (settings.workers or len(os.sched_getaffinity(0))) // 2) if settings.device == "cpu" else 1
