"""The process that makes passes, `appliance.speech.inference.worker`, as its parent sees it."""

import contextlib
import io
import itertools
import json
import logging
import signal
import subprocess
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field
from io import RawIOBase
from typing import IO, cast

from appliance.errors import ApplianceError
from appliance.speech.children import environment, unpack_error
from appliance.speech.config import EngineConfig
from appliance.speech.hypothesis import Hypothesis, Request
from appliance.speech.inference import wire
from appliance.speech.memory import SMALL_CACHES

log = logging.getLogger(__name__)

COMMAND = (sys.executable, "-m", "appliance.speech.inference.worker")

_END_S = 10.0
"""After SIGKILL; a process that stays longer waits for a driver, and is left to it."""
_SHOWN_CHARS = 1000


class LostError(Exception):
    """The process ended, or was ended, before it answered."""


class FailedError(Exception):
    """The process answered that a turn failed, and how."""


@dataclass(slots=True)
class _Asked:
    answer: "Future[list[Hypothesis]]" = field(default_factory=Future)
    waited_s: float = 0.0


class Process:
    """Start it in a thread that lives as long as it shall: the kernel ends it with that thread.

    All else may be called from any thread.
    """

    def __init__(self, config: EngineConfig, command: Sequence[str] = COMMAND, *, compare: bool = False) -> None:
        """Start it, and let it load; `loaded` says when that is done.

        ``compare``: it has to find the files of the pair as they were baked, before it loads them.

        Raises:
            ApplianceError: no process can be started.
        """
        env = SMALL_CACHES | environment()
        pipe = subprocess.PIPE
        try:
            self._process = subprocess.Popen(
                [*command], stdin=pipe, stdout=pipe, stderr=pipe, env=env, bufsize=0, process_group=0
            )
        except OSError as error:
            raise ApplianceError(
                f"the process for inference can't be started: {error.strerror}",
                "is there enough memory, and are more processes allowed here?",
                code="internal",
            ) from error
        self.pid = self._process.pid
        self.ended = threading.Event()
        self.end = ""
        """How it ended, in words."""
        self._numbers = itertools.count()
        self._asked: dict[int, _Asked] = {}
        self._lock = threading.Lock()
        self._sending = threading.Lock()
        threads = (self._read, cast("IO[bytes]", self._process.stdout)), (self._relay, self._process.stderr)
        for target, pipe_end in threads:
            threading.Thread(target=target, args=(pipe_end,), name=f"inference-{target.__name__}", daemon=True).start()
        level = logging.getLevelName(log.getEffectiveLevel())
        self.loaded = self._ask({"config": wire.pack_config(config), "compare": compare, "log_level": level})
        """Done when it can be asked; or an `ApplianceError` that says why it can't, or a `LostError`."""

    def ask(self, requests: Sequence[Request]) -> "Future[list[Hypothesis]]":
        """What the passes find; or a `FailedError`, or a `LostError`.

        Waits while the process does not read; then it hangs, and it is for others to `kill` it.
        """
        with self._sending:
            return self._ask({"requests": wire.pack_requests(requests)}, requests)

    def probe(self) -> None:
        """Ask whether it answers at all, where nobody asks it anything just now. Never waits."""
        if self._sending.acquire(blocking=False):
            try:
                self._ask({"requests": []})
            finally:
                self._sending.release()

    def _ask(self, header: wire.Header, requests: Sequence[Request] = ()) -> "Future[list[Hypothesis]]":
        asked = _Asked()
        number = next(self._numbers)
        with self._lock:
            if self.end:
                asked.answer.set_exception(LostError(self.end))
                return asked.answer
            self._asked[number] = asked
        windows = [one.window for one in requests]
        with contextlib.suppress(OSError):  # it has ended; who reads its answers tells all who wait
            wire.send(cast(RawIOBase, self._process.stdin), {"id": number, **header}, windows)
        return asked.answer

    def waited(self, more_s: float) -> float:
        """Count so much time for all that is asked and not answered.

        Returns:
            The longest of them, in seconds; 0 where nothing is asked. Time in which nobody counted is not in it: a
            machine that stood still for an hour makes no process hang.
        """
        with self._lock:
            for asked in self._asked.values():
                asked.waited_s += more_s
            return max((asked.waited_s for asked in self._asked.values()), default=0.0)

    def kill(self, why: str) -> None:
        """End it at once. All that is asked is lost."""
        with self._lock:
            self.end = self.end or why
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()
        self._lose()

    def leave(self) -> None:
        """Let it end by itself, and end it where it does not."""
        with self._lock:
            self.end = self.end or "was not needed any more"
        if self._sending.acquire(timeout=_END_S):
            with contextlib.suppress(OSError):
                cast("IO[bytes]", self._process.stdin).close()
            self._sending.release()
        if not self.ended.wait(_END_S):
            self.kill("does not end")
            self.ended.wait(_END_S)

    def _read(self, file: IO[bytes]) -> None:
        garbled = ""
        try:
            while message := wire.receive(cast(RawIOBase, file)):
                self._take(message[0])
        except wire.GarbledError as error:
            garbled = f"answered senselessly: {error}"
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(_END_S)
        with self._lock:
            self.end = self.end or garbled or _how(self._process.returncode)
        self._lose()
        self.ended.set()
        file.close()
        with contextlib.suppress(OSError), self._sending:
            cast("IO[bytes]", self._process.stdin).close()

    def _take(self, header: wire.Header) -> None:
        with self._lock:
            asked = self._asked.pop(header.get("id", -1), None)
        if asked is None:
            raise wire.GarbledError("an answer that nobody waits for")
        if "error" in header:
            asked.answer.set_exception(unpack_error(header["error"]))
        elif "failed" in header:
            asked.answer.set_exception(FailedError(str(header["failed"])))
        else:
            try:
                asked.answer.set_result(wire.unpack_hypotheses(header.get("found", ())))
            except wire.GarbledError:
                asked.answer.set_exception(LostError("answered senselessly"))
                raise

    def _lose(self) -> None:
        with self._lock:
            lost = list(self._asked.values())
            self._asked.clear()
        for asked in lost:
            asked.answer.set_exception(LostError(self.end))

    def _relay(self, file: IO[bytes]) -> None:
        """What it logs has the form of the log, and so has what libraries print."""
        with io.BufferedReader(cast(RawIOBase, file)) as lines:
            while line := lines.readline(1024 * 1024):
                self._log(line.decode(errors="replace").rstrip())

    def _log(self, line: str) -> None:
        try:
            row = json.loads(line)
            name, level, message = row["logger"], logging.getLevelNamesMapping()[row["level"]], row["message"]
        except (ValueError, TypeError, KeyError):
            log.warning("inference: process %d: %s", self.pid, line[:_SHOWN_CHARS])
            return
        trace = f"\n{row['exception']}" if "exception" in row else ""
        logging.getLogger(name).log(level, "%s%s", message, trace)


def _how(status: int | None) -> str:
    if status is None:
        return "stopped answering, and can't be ended"
    if status >= 0:
        return f"ended with status {status}"
    try:
        return f"was ended by {signal.Signals(-status).name}"
    except ValueError:
        return f"was ended by signal {-status}"
