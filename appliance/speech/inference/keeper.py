"""Keeps one process that makes passes: starts it, sees when it dies or hangs, and replaces it.

A process that is gone takes nothing along but the turns under way, which are made again (`turns.py`).
"""

import contextlib
import logging
import math
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future

from appliance.errors import ApplianceError
from appliance.speech.capacity import noise
from appliance.speech.config import LONGEST_TURN_S, EngineConfig
from appliance.speech.hypothesis import Hypothesis, Request
from appliance.speech.inference.process import COMMAND, FailedError, LostError, Process
from appliance.speech.types import SAMPLE_RATE_HZ

log = logging.getLogger(__name__)

RETRY_WAITS_S = (0.0, 1.0, 2.0, 4.0, 8.0, 16.0)
"""Before each try to start another process; if all fail, there is none."""

LONGEST_LOAD_S = 600.0
"""Models come from slow disks; also what a turn may take before any was measured."""

_LEAST_LOAD_S = 180.0
_TIMES_THE_FIRST = 10
"""Another process that loads the same models hangs when it takes so many times as long as the first one did, and so
many seconds: it compares the files too, and may have to read them from the disk where the first one had not."""

_TIMES_THE_SLOWEST = 20
"""A turn hangs when it takes so many times as long as the slowest one did: windows of 30 s heard three times over take
eight times as long as those that are measured at start, and a machine may be busy."""

_FADING = 0.99
"""What the slowest turn counts after another one, so that one that nearly hung is forgotten."""

_LAST_TURNS_S = 5.0
"""What turns may still take once no other process is wanted."""

_TICK_S = 0.5
_IDLE_TICKS = 10
"""A process that nothing is asked of is asked whether it answers, this often."""

_NO_ROOM = (MemoryError, OSError, RuntimeError)
"""What a parent that is short of memory, or of threads, meets when it starts a process."""


class Keeper:
    """Has a process to make passes, as long as one can be started. For any number of threads."""

    def __init__(self, config: EngineConfig, command: Sequence[str] = COMMAND) -> None:
        """Begin to start the process; `wait_loaded` waits for it."""
        self._config = config
        self._command = command
        self.on_replaced: Callable[[], None] = lambda: None
        """Called after each replacement, by a thread of its own; must return at once."""
        self.on_failure: Callable[[ApplianceError], None] = lambda error: None
        """Called once, when no process can be started any more."""
        self.state = threading.Condition()
        """Notified when there is another process, or none any more; for what else is waited for with it, too."""
        self._process: Process | None = None
        self._since_s = time.monotonic()
        self._failure: ApplianceError | None = None
        self._slowest_s = 0.0
        self._loads_within_s = LONGEST_LOAD_S
        self._closing = threading.Event()
        self._closed = threading.Event()
        self._loaded: Future[None] = Future()
        self._thread = threading.Thread(target=self._keep, name="inference-keeper", daemon=True)
        self._thread.start()

    def wait_loaded(self) -> None:
        """Until the models are loaded.

        Raises:
            ApplianceError: they can't be.
        """
        self._loaded.result()

    @property
    def recovering(self) -> bool:
        """Whether there is no process now, and another is being started."""
        process = self._process
        return self._loaded.done() and (process is None or bool(process.end))

    @property
    def pid(self) -> int:
        """Of the process; 0 while there is none."""
        process = self._process
        return process.pid if process else 0

    @property
    def hangs_after_s(self) -> float:
        """How long a turn may take."""
        if not self._slowest_s:
            return LONGEST_LOAD_S
        return min(LONGEST_TURN_S, max(self._config.step_timeout_s, _TIMES_THE_SLOWEST * self._slowest_s))

    @property
    def age_s(self) -> float:
        """Seconds since there is a process; 0 while there is none."""
        return 0.0 if self.recovering else time.monotonic() - self._since_s

    @property
    def overdue_s(self) -> float:
        """By how much longer than it may take another process takes to come; 0 while there is one."""
        if not self.recovering:
            return 0.0
        if not self._thread.is_alive():
            return math.inf  # none will come
        if self._process:  # it has just ended
            return 0.0
        return max(0.0, time.monotonic() - self._since_s - self._loads_within_s)

    def wait_for(self, may: Callable[[], bool]) -> Process:
        """With `state` held: the process, as soon as there is one and it ``may`` be asked.

        Raises:
            ApplianceError: there will be none any more.
        """
        while True:
            if self._failure:
                raise self._failure
            if self._process and not self._process.end and may():
                return self._process
            if self._closing.is_set() and not self._process:
                raise ApplianceError("the engine was closed", code="closed")
            self.state.wait()

    def ask(self, process: Process, requests: Sequence[Request]) -> list[Hypothesis]:
        """What the passes of a turn find.

        Raises:
            FailedError: the turn failed.
            LostError: the process ended, or was ended, before it answered.
        """
        started = time.monotonic()
        found = process.ask(requests).result()
        self._slowest_s = max(_FADING * self._slowest_s, time.monotonic() - started)
        if len(found) != len(requests):
            process.kill("answered something else than was asked")
            raise LostError(process.end)
        return found

    def is_sound(self, process: Process) -> bool:
        """Whether it can make a pass over next to nothing; after some errors of a GPU a process can make none."""
        try:
            self.ask(process, [_quiet()])
        except (LostError, FailedError):
            return False
        return True

    # The keeper's thread, which all processes are children of.

    def _keep(self) -> None:
        started = time.monotonic()
        try:
            process: Process | None = self._start()
        except (ApplianceError, *_NO_ROOM) as error:
            self._loaded.set_exception(error)
            return
        first_s = time.monotonic() - started
        self._loads_within_s = min(LONGEST_LOAD_S, max(_LEAST_LOAD_S, _TIMES_THE_FIRST * first_s))
        self._have(process)
        self._loaded.set_result(None)
        while process:
            self._watch(process)
            self._have(None)
            process = None if self._closing.is_set() else self._next_after(process)

    def _watch(self, process: Process) -> None:
        """Until the process has ended, or is ended here since it hangs."""
        idle = 0
        while not process.ended.wait(_TICK_S) and not process.end:
            waited_s = process.waited(_TICK_S)
            idle = 0 if waited_s else idle + 1
            if self._closed.is_set():
                process.leave()
            elif waited_s > (_LAST_TURNS_S if self._closing.is_set() else self.hangs_after_s):
                process.kill(f"gave no answer for {waited_s:.0f} s")
            elif idle >= _IDLE_TICKS:
                process.probe()
                idle = 0

    def _next_after(self, ended: Process) -> Process | None:
        """Another process; None where none can be started, or none is wanted any more."""
        log.error("inference: process %d %s; another is started", ended.pid, ended.end)
        started = time.monotonic()
        for wait_s in RETRY_WAITS_S:
            if self._closing.wait(wait_s):
                return None
            try:
                process = self._start(is_next=True)
            except (ApplianceError, *_NO_ROOM) as error:
                log.error("inference: %s", error.message if isinstance(error, ApplianceError) else error)
                continue
            self._have(process)
            log.warning("inference: process %d took over after %.1f s", process.pid, time.monotonic() - started)
            self.on_replaced()
            return process
        self._give_up()
        return None

    def _start(self, *, is_next: bool = False) -> Process:
        """A process that has loaded the models.

        One that takes another's place loads no files that were damaged since the first one did, and has shown that it
        can make passes.

        Raises:
            ApplianceError: it can't be started, or ended or hung before it could be asked, or a file is damaged.
        """
        process = Process(self._config, self._command, compare=is_next)
        try:
            self._await(process, process.loaded)
            if is_next:
                self._await(process, process.ask([_quiet()]))
        except (LostError, FailedError) as error:
            process.kill("failed at its start")
            raise ApplianceError(
                f"the process for inference {error} while it loaded the models",
                "is there enough memory? wlk-appliance selftest tries the models alone",
                code="internal",
            ) from error
        except ApplianceError:
            process.leave()
            raise
        return process

    def _await(self, process: Process, answer: "Future[list[Hypothesis]]") -> None:
        while True:
            with contextlib.suppress(TimeoutError):
                answer.result(_TICK_S)
                return
            if self._closed.is_set():
                process.kill("was not needed any more")
            elif process.waited(_TICK_S) > self._loads_within_s:
                process.kill(f"gave no answer for {self._loads_within_s:.0f} s")

    def _have(self, process: Process | None) -> None:
        with self.state:
            self._process, self._since_s = process, time.monotonic()
            self.state.notify_all()

    def _give_up(self) -> None:
        error = ApplianceError(
            f"inference ended, and can't be started again in {len(RETRY_WAITS_S)} tries",
            "the log says why; wlk-appliance doctor looks at memory, models and the device",
            code="internal",
        )
        with self.state:
            self._failure = error
            self.state.notify_all()
        self.on_failure(error)

    def retire(self) -> None:
        """From now on no process takes another's place; turns that can be made within some seconds still are."""
        with self.state:
            self._closing.set()
            self.state.notify_all()

    def close(self) -> None:
        """Let the process end. Turns under way should be awaited before."""
        self.retire()
        self._closed.set()
        if process := self._process:
            process.leave()
        self._thread.join()


def _quiet() -> Request:
    """Next to nothing to hear, in a short window."""
    return Request(noise(SAMPLE_RATE_HZ), 2 * SAMPLE_RATE_HZ)
