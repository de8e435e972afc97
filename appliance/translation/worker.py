"""What translates for all streams of a server: one batch after the other, as if they were one stream's.

A stream that has something to translate waits in one queue and is asked for it when its turn comes, so what waits is
bounded by what streams hold. Sentences that are committed go first; of what is tentative each stream has one text, the
newest. The threads of CTranslate2 have the lowest priority: on a CPU that is busy, transcription comes first. The
thread that hands them their batches has not: it may hold Python's lock, for which the others would wait.
"""

import logging
import os
import threading
from collections.abc import Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Protocol

from appliance.translation.languages import Languages
from appliance.translation.translator import BATCH, Job, TranslationFiles, Translator

log = logging.getLogger(__name__)

_LEAST_PRIORITY = 19


class Client(Protocol):
    """A stream, as the worker sees it. Methods are called by the worker's thread."""

    def committed(self, most: int) -> Sequence[Job]:
        """Sentences that want their translation, ``most`` of them at most."""

    def tentative(self) -> Sequence[Job]:
        """What may still change, where it wants its translation now."""

    def take(self, job: Job, translation: str | None) -> None:
        """A job's result; None where it failed."""


class Worker:
    """A loaded model, and the thread that gives it work.

    Raises:
        ApplianceError: the model can't be loaded.
    """

    def __init__(self, files: TranslationFiles, device: str = "cpu") -> None:
        with ThreadPoolExecutor(1, initializer=_give_way) as loader:  # threads are as nice as the one that starts them
            self._translator = loader.submit(Translator, files, device).result()
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="translate")
        self._lock = threading.Lock()
        self._waiting: dict[Client, None] = {}
        self._closed = False
        self._failed = False

    @property
    def languages(self) -> Languages:
        return self._translator.languages

    def wake(self, client: Client) -> None:
        """Queue a stream for its turn, unless it waits already."""
        with self._lock:
            if self._closed or client in self._waiting:
                return
            self._waiting[client] = None
            turn = self._pool.submit(self._turn)
        turn.add_done_callback(_told)

    def forget(self, client: Client) -> None:
        """The stream wants nothing more."""
        with self._lock:
            self._waiting.pop(client, None)

    def close(self) -> None:
        """End, after what is being translated."""
        with self._lock:
            self._closed = True
            self._waiting.clear()
        self._pool.shutdown(wait=True, cancel_futures=True)

    def _turn(self) -> None:
        """As many committed sentences as fit a batch; only where there are none, what is tentative."""
        with self._lock:
            clients = list(self._waiting)
            self._waiting.clear()
        asked: list[tuple[Client, Job]] = []
        for client in clients:
            asked += [(client, job) for job in client.committed(BATCH - len(asked))]
        if not asked:
            asked = [(client, job) for client in clients for job in client.tentative()][:BATCH]
        if not asked:
            return
        for (client, job), translation in zip(asked, self._translated([job for _, job in asked]), strict=True):
            client.take(job, translation)
        served = {client for client, _ in asked}
        for client in sorted(clients, key=lambda client: client in served):
            self.wake(client)

    def _translated(self, jobs: Sequence[Job]) -> Sequence[str | None]:
        try:
            return self._translator.translate(jobs)
        except (RuntimeError, ValueError, MemoryError) as error:
            if not self._failed:
                log.error("translation failed, so lines may lack theirs: %s: %s", type(error).__name__, error)
            self._failed = True
            return [None] * len(jobs)


def _give_way() -> None:
    os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), _LEAST_PRIORITY)


def _told(turn: "Future[None]") -> None:
    if not turn.cancelled() and (error := turn.exception()):
        log.error("translation stopped: %s: %s", type(error).__name__, error, exc_info=error)
