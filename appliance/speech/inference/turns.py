"""Makes the passes of a turn together, and finds out whose pass was to blame when that fails.

The passes of a turn whose process ends are made again by the next one, each alone in the process, so that a pass with
which it ends again is surely the cause: its stream ends with an error, and all others have only waited. Passes that
fail without an end of the process are made again alone, too.
"""

import contextlib
import logging
from collections.abc import Iterator, Sequence

from appliance.errors import ApplianceError
from appliance.speech.hypothesis import Hypothesis, Request
from appliance.speech.inference.keeper import Keeper
from appliance.speech.inference.process import FailedError, LostError, Process

log = logging.getLogger(__name__)

Outcome = Hypothesis | ApplianceError
"""Of a pass; an error is that of its stream alone."""


class Turns:
    """Made in the process of a keeper. Any number of threads may call `recognize`.

    Turns go beside each other, or one suspect by itself; suspects go first.
    """

    def __init__(self, keeper: Keeper) -> None:
        self._keeper = keeper
        self._state = keeper.state
        self._running = 0
        """Turns under way beside each other."""
        self._suspects = 0
        """Passes that wait to be made alone, or are."""
        self._is_alone = False

    def recognize(self, requests: Sequence[Request]) -> list[Outcome]:
        """Make passes together; those of a turn that fails once more, alone. Waits while the process is replaced."""
        try:
            try:
                with self._beside_others() as process:
                    return [*self._keeper.ask(process, requests)]
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
                    return self._keeper.ask(process, [request])[0]
                except LostError as error:
                    return _to_blame(error)
                except FailedError as error:
                    if is_new_process or self._keeper.is_sound(process):
                        return _to_blame(error)
                    process.kill("fails whatever it is asked")
        raise AssertionError

    @contextlib.contextmanager
    def _beside_others(self) -> Iterator[Process]:
        with self._state:
            process = self._keeper.wait_for(lambda: not self._suspects)
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
            process = self._keeper.wait_for(lambda: not self._running and not self._is_alone)
            self._is_alone = True
        try:
            yield process
        finally:
            with self._state:
                self._is_alone = False
                self._state.notify_all()


def _to_blame(error: Exception) -> ApplianceError:
    log.error("a pass failed again, alone: it %s; its stream ends", error)
    return ApplianceError(
        "the models failed on this audio, and failed on it again",
        "connect again to go on behind it; the server's log says more",
        code="inference_failed",
    )
