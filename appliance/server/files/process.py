"""The process that works on files, `appliance.batch.worker`, as the server sees it: jobs in, answers and lines out."""

import asyncio
import contextlib
import contextvars
import logging
import os
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncGenerator
from pathlib import Path

from appliance.batch.job import MAX_LINE_BYTES, Heard, Job, Segment, Setup, not_ours, read_answer
from appliance.errors import ApplianceError
from appliance.speech.children import environment

log = logging.getLogger(__name__)

STILL_S = 120.0
"""A process that answers nothing for so long, and takes no processor time meanwhile, hangs."""

MOST_CPU_S = 3600.0
"""So much of all its threads goes into one answer at most: a batch of the largest model takes a third of it."""

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_LEAST_CPU_S = 2 / _TICKS_PER_S
_SHOWN_CHARS = 1000


class Worker:
    """Belongs to the event loop's thread. It works on one file at a time."""

    def __init__(self, process: Process) -> None:
        assert process.stdin and process.stdout and process.stderr
        self._process = process
        self.pid = process.pid
        self._stdin, self._stdout, self._stderr = process.stdin, process.stdout, process.stderr
        self._ended = False
        # Its lines belong to no client's session.
        self._relaying = asyncio.get_running_loop().create_task(self._relay(), context=contextvars.Context())

    @classmethod
    async def start(cls, setup: Setup) -> "Worker":
        """Raises an `ApplianceError` where it can't be started."""
        words = [sys.executable, "-m", "appliance.batch.worker"]
        # Threads that wait for others would spin, at the streams' cost.
        quiet = {**environment(), "KMP_BLOCKTIME": "0", "OMP_WAIT_POLICY": "PASSIVE"}
        try:
            process = await asyncio.create_subprocess_exec(
                *words, stdin=PIPE, stdout=PIPE, stderr=PIPE, env=quiet, limit=MAX_LINE_BYTES
            )
        except OSError as error:
            log.error("files: no process can be started: %s", error)
            raise ApplianceError(
                f"the process that works on files can't be started: {error.strerror}",
                "is there enough memory, and are more processes allowed here?",
                code="internal",
            ) from error
        log.info("files: process %d started", process.pid)
        worker = cls(process)
        worker._stdin.write(setup.line())
        return worker

    @property
    def alive(self) -> bool:
        return self._process.returncode is None

    def end(self) -> None:
        """Whatever it does. Not while an answer is awaited."""
        self._ended = True
        if self.alive:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()

    async def answers(self, job: Job) -> AsyncGenerator[Segment | Heard, None]:
        """A file's segments as they are found, and at last how much was heard.

        Raises:
            ApplianceError: what the process says of the file; code ``internal``: it ended, or hangs.
        """
        with contextlib.suppress(ConnectionError):  # it ended; then there is no answer either
            self._stdin.write(job.line())
            await self._stdin.drain()
        while line := await self._line():
            answer = read_answer(line)
            yield answer
            if isinstance(answer, Heard):
                return
        status = await self._process.wait()
        raise ApplianceError(
            f"the process that works on files ended with status {status}",
            "send the file again; the server's log says more (-9: there was not enough memory)",
            code="internal",
        )

    async def _line(self) -> bytes:
        """Its next answer; empty where it ended. That it may take long is no reason to end it: streams go first."""
        first_s = last_s = self._cpu_s()
        while True:
            try:
                async with asyncio.timeout(STILL_S):
                    return await self._stdout.readline()
            except TimeoutError:
                now_s = self._cpu_s()
                if now_s - last_s < _LEAST_CPU_S or now_s - first_s > MOST_CPU_S:
                    log.error("files: process %d hangs: %.1f s of work, no answer", self.pid, now_s - first_s)
                    raise ApplianceError(
                        "the process that works on files hangs, and was ended",
                        "send the file again; if it comes to this again, the file itself may be the cause",
                        code="internal",
                    ) from None
                last_s = now_s
            except ValueError as error:  # longer than `MAX_LINE_BYTES`
                raise not_ours() from error

    def _cpu_s(self) -> float:
        """Processor time that it took so far, of all its threads (man 5 proc_pid_stat); 0 where it ended."""
        try:
            fields = Path(f"/proc/{self.pid}/stat").read_text(encoding="utf-8").rsplit(")", 1)[1].split()
        except OSError:
            return 0.0
        return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S

    async def _relay(self) -> None:
        """What it prints has the form of the log."""
        while True:
            try:
                line = await self._stderr.readline()
            except ValueError:  # longer than any line should be
                continue
            if not line:
                break
            shown = line.decode(errors="replace").rstrip()[:_SHOWN_CHARS]
            log.warning("files: process %d: %s", self.pid, shown)
        if self._ended:  # with unread answers in its pipe, that would stay open
            await self._stdout.read()
