"""Keeps one process that makes passes, replaces it when it dies or hangs, and finds out whose pass was to blame.

A process that is gone takes nothing along but the turns under way. Their passes are made again by the next one, each
alone in the process, so that a pass with which it ends again is surely the cause: its stream ends with an error, and
all others have only waited. Passes that fail without an end of the process are made again alone, too.
"""

import contextlib
import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future

from appliance.errors import ApplianceError
from appliance.speech.capacity import noise
from appliance.speech.config import EngineConfig
from appliance.speech.hypothesis import Hypothesis, Request
from appliance.speech.inference.process import COMMAND, FailedError, LostError, Process
from appliance.speech.types import SAMPLE_RATE_HZ

log = logging.getLogger(__name__)

RETRY_WAITS_S = (0.0, 1.0, 2.0, 4.0, 8.0, 16.0)
"""Before each try to start another process; if all fail, there is none."""

LONGEST_LOAD_S = 600.0
"""Models come from slow disks; also what a turn may take before any was measured."""

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

Outcome = Hypothesis | ApplianceError
"""Of a pass; an error is that of its stream alone."""


class Keeper:
    """Makes passes, as long as it can keep a process that does. Any number of threads may call `recognize`."""

    def __init__(self, config: EngineConfig, command: Sequence[str] = COMMAND) -> None:
        """Begin to start the process; `wait_loaded` waits for it."""
        self._config = config
        self._command = command
        self.on_replaced: Callable[[], None] = lambda: None
        """Called after each replacement, by a thread of its own; must return at once."""
        self.on_failure: Callable[[ApplianceError], None] = lambda error: None
        """Called once, when no process can be started any more."""
        self._state = threading.Condition()
        self._process: Process | None = None
        self._failure: ApplianceError | None = None
        self._running = 0
        """Turns under way beside each other."""
        self._suspects = 0
        """Passes that wait to be made alone, or are."""
        self._is_alone = False
        self._slowest_s = 0.0
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
        return min(LONGEST_LOAD_S, max(self._config.step_timeout_s, _TIMES_THE_SLOWEST * self._slowest_s))

    def recognize(self, requests: Sequence[Request]) -> list[Outcome]:
        """Make passes together; those of a turn that fails once more, alone. Waits while the process is replaced."""
        try:
            try:
                with self._beside_others() as process:
                    return [*self._asked(process, requests)]
            except (LostError, FailedError) as error:
                log.warning(
                    "inference: a turn of %d passes failed (%s); each is made again, alone", len(requests), error
                )
            with self._state:
                self._suspects += len(requests)
            return self._each_alone(requests)
        except ApplianceError as error:
            return [error for _ in requests]

    def _each_alone(self, requests: Sequence[Request]) -> list[Outcome]:
        outcomes: list[Outcome] = []
        try:
            for request in requests:
                outcomes.append(self._alone(request))
                with self._state:
                    self._suspects -= 1
                    self._state.notify_all()
        finally:
            with self._state:
                self._suspects -= len(requests) - len(outcomes)
                self._state.notify_all()
        return outcomes

    def _alone(self, request: Request) -> Outcome:
        for is_new_process in (False, True):
            with self._by_itself() as process:
                try:
                    return self._asked(process, [request])[0]
                except LostError as error:
                    return _to_blame(error)
                except FailedError as error:
                    if is_new_process or self._is_sound(process):
                        return _to_blame(error)
                    process.kill("fails whatever it is asked")
        raise AssertionError

    def _is_sound(self, process: Process) -> bool:
        """Whether it can make a pass over next to nothing; after some errors of a GPU a process can make none."""
        try:
            self._asked(process, [_quiet()])
        except (LostError, FailedError):
            return False
        return True

    def _asked(self, process: Process, requests: Sequence[Request]) -> list[Hypothesis]:
        started = time.monotonic()
        found = process.ask(requests).result()
        self._slowest_s = max(_FADING * self._slowest_s, time.monotonic() - started)
        if len(found) != len(requests):
            process.kill("answered something else than was asked")
            raise LostError(process.end)
        return found

    # Who may ask when: turns beside each other, or one suspect by itself. Suspects go first.

    @contextlib.contextmanager
    def _beside_others(self) -> Iterator[Process]:
        with self._state:
            process = self._wait_until(lambda: not self._suspects)
            self._running += 1
        try:
            yield process
        finally:
            with self._state:
                self._running -= 1
                self._state.notify_all()

    @contextlib.contextmanager
    def _by_itself(self) -> Iterator[Process]:
        with self._state:
            process = self._wait_until(lambda: not self._running and not self._is_alone)
            self._is_alone = True
        try:
            yield process
        finally:
            with self._state:
                self._is_alone = False
                self._state.notify_all()

    def _wait_until(self, may: Callable[[], bool]) -> Process:
        """The process, as soon as there is one that may be asked. Raises an `ApplianceError` where none will be."""
        while True:
            if self._failure:
                raise self._failure
            if self._process and not self._process.end and may():
                return self._process
            if self._closing.is_set() and not self._process:
                raise ApplianceError("the engine was closed", code="closed")
            self._state.wait()

    # The keeper's thread, which all processes are children of.

    def _keep(self) -> None:
        try:
            process: Process | None = self._start()
        except (ApplianceError, *_NO_ROOM) as error:
            self._loaded.set_exception(error)
            return
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
        """A process that has loaded the models; one that takes another's place has also shown that it can make passes.

        Raises:
            ApplianceError: it can't be started, or ended or hung before it could be asked.
        """
        process = Process(self._config, self._command)
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
            elif process.waited(_TICK_S) > LONGEST_LOAD_S:
                process.kill(f"gave no answer for {LONGEST_LOAD_S:.0f} s")

    def _have(self, process: Process | None) -> None:
        with self._state:
            self._process = process
            self._state.notify_all()

    def _give_up(self) -> None:
        error = ApplianceError(
            f"inference ended, and can't be started again in {len(RETRY_WAITS_S)} tries",
            "the log says why; wlk-appliance doctor looks at memory, models and the device",
            code="internal",
        )
        with self._state:
            self._failure = error
            self._state.notify_all()
        self.on_failure(error)

    def retire(self) -> None:
        """From now on no process takes another's place; turns that can be made within some seconds still are."""
        with self._state:
            self._closing.set()
            self._state.notify_all()

    def close(self) -> None:
        """Let the process end. Turns under way should be awaited before."""
        self.retire()
        self._closed.set()
        if process := self._process:
            process.leave()
        self._thread.join()


def _to_blame(error: Exception) -> ApplianceError:
    log.error("a pass failed again, alone: it %s; its stream ends", error)
    return ApplianceError(
        "the models failed on this audio, and failed on it again",
        "connect again to go on behind it; the server's log says more",
        code="inference_failed",
    )


def _quiet() -> Request:
    """Next to nothing to hear, in a short window."""
    return Request(noise(SAMPLE_RATE_HZ), 2 * SAMPLE_RATE_HZ)
