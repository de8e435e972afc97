"""The files' queue, and the one process that works on them: `appliance.batch.worker`, started at the first file."""

import asyncio
import contextlib
import json
import logging
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections import Counter
from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from dataclasses import asdict

from appliance.batch.job import MAX_LINE_BYTES, Heard, Job, Segment, Setup, read_answer
from appliance.errors import ApplianceError
from appliance.pair.locate import Pair
from appliance.server.access import Client
from appliance.server.models import compute_type
from appliance.server.refusals import restarting
from appliance.server.settings import Settings

log = logging.getLogger(__name__)


class Desk:
    """One per process; belongs to the event loop's thread."""

    def __init__(self, settings: Settings, pair: Pair) -> None:
        self._settings = settings
        self._setup = Setup(
            str(pair.encoder_dir), settings.device, compute_type(settings), settings.file_threads or _threads(settings)
        )
        self._places = settings.file_queue
        self._taken: Counter[str] = Counter()
        self._turn = asyncio.Lock()
        self._process: Process | None = None
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
            process = await self._started()
            answered = False
            try:
                async with contextlib.aclosing(_answers(process, job)) as answers:
                    async for answer in answers:
                        answered = isinstance(answer, Heard)
                        yield answer
            except ApplianceError as error:
                answered = error.code != "internal"
                raise
            finally:
                if answered:
                    self._rest = asyncio.get_running_loop().call_later(self._settings.file_idle_s, self.stop)
                else:
                    self.stop()

    def close(self) -> None:
        """Take no more files, and let go of those that are here: the server stops."""
        self._closed = True
        while self._open:
            self._open.pop().reschedule(0)
        self.stop()

    def stop(self) -> None:
        """End the process, whatever it does; the next file starts another."""
        process, self._process = self._process, None
        if self._rest:
            self._rest.cancel()
            self._rest = None
        if process and process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                process.kill()

    async def _started(self) -> Process:
        if self._closed:
            raise restarting()
        if self._rest:
            self._rest.cancel()
            self._rest = None
        if self._process is None or self._process.returncode is not None:
            words = [sys.executable, "-m", "appliance.batch.worker", json.dumps(asdict(self._setup))]
            # Threads that wait for others would spin, at the streams' cost.
            quiet = {**os.environ, "KMP_BLOCKTIME": "0", "OMP_WAIT_POLICY": "PASSIVE"}
            self._process = await asyncio.create_subprocess_exec(
                *words, stdin=PIPE, stdout=PIPE, env=quiet, limit=MAX_LINE_BYTES
            )
            log.info("files: process %d started", self._process.pid)
        return self._process


async def _answers(process: Process, job: Job) -> AsyncGenerator[Segment | Heard, None]:
    assert process.stdin and process.stdout
    with contextlib.suppress(ConnectionError):  # it ended; then there is no answer either
        process.stdin.write(job.line())
        await process.stdin.drain()
    while line := await process.stdout.readline():
        answer = read_answer(line)
        yield answer
        if isinstance(answer, Heard):
            return
    status = await process.wait()
    raise ApplianceError(
        f"the process that works on files ended with status {status}",
        "send the file again; the server's log says more (-9: there was not enough memory)",
        code="internal",
    )


def _threads(settings: Settings) -> int:
    """Half of what the streams have: files may take their time."""
    return max(1, (settings.workers or len(os.sched_getaffinity(0))) // 2) if settings.device == "cpu" else 1
