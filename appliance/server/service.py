"""What all connections share: the engine and whether it is ready, and who is connected."""

import asyncio
import contextlib
import dataclasses
import logging
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

from appliance import __version__
from appliance.errors import ApplianceError
from appliance.journal.writer import Journal
from appliance.pair.intact import check_intact
from appliance.pair.locate import Pair
from appliance.server.access import Access, Client
from appliance.server.files.desk import Desk
from appliance.server.kept import Kept
from appliance.server.metrics import Metrics
from appliance.server.protocol import PROTOCOL_VERSION
from appliance.server.refusals import restarting
from appliance.server.rotation import Rotation
from appliance.server.settings import Settings
from appliance.server.streams import Models, load_models
from appliance.server.tokens import read_tokens
from appliance.speakers.load import DiarizerConfig
from appliance.speech.audio.apart import Decoders
from appliance.speech.memory import release_code, trim_until

if TYPE_CHECKING:
    from appliance.speech.engine import Engine

log = logging.getLogger(__name__)

Status = Literal["loading", "ready", "recovering", "failed", "stopping"]

_AUDIO_THREADS = 1000
"""Decode what clients send, a turn each; as many as there may be clients, for one may wait for a decoder that hangs.
They are made as they are needed."""

STOP_GRACE_S = 5.0
"""How long clients' last words are worked on after a stop signal."""
STOP_S = 9.0
"""A stop takes no longer, whatever hangs; who stops this process waits longer before a kill (docs/reliability.md)."""

_LEAVE_S = 1.0
"""How long the models' threads are waited for at the end; what is under way then is for nobody."""

STUCK_S = 180.0
"""Inference, or what tells speakers apart, that has brought nothing for so long hangs (a step of inference that does is
ended before): the server is ill, and who watches it may start it again."""


class Stoppable(Protocol):
    """A connection, as far as a shutdown is concerned."""

    def stop(self) -> None: ...


class Service:
    """One per process; its methods belong to the event loop's thread, except where they say otherwise."""

    def __init__(
        self,
        settings: Settings,
        pair: Pair,
        vad_file: Path,
        diarizer: DiarizerConfig | None = None,
        journal: Journal | None = None,
    ) -> None:
        """Raises an `ApplianceError` where the list of tokens can't be used."""
        self.settings = settings
        self.access = Access(settings, read_tokens(settings))
        self._status: Status = "loading"
        self.failure: BaseException | None = None
        self.rotation: Rotation | None = None
        """Of the certificate; None without TLS."""
        self.audio_pool = ThreadPoolExecutor(max_workers=_AUDIO_THREADS, thread_name_prefix="audio")
        self.decoders = Decoders()
        self.files = Desk(settings, pair, diarizer)
        self.model = pair.name
        self.model_made = int((pair.encoder_dir / "model.bin").stat().st_mtime)
        """When the model's file was made, in seconds since 1970."""
        self._pair = pair
        self._vad_file = vad_file
        self._diarizer = diarizer
        self._journal = journal
        self._models: Models | None = None
        self._connections: dict[Stoppable, Client] = {}
        self._running: set[asyncio.Task[None]] = set()
        self.kept = Kept()
        """Sessions whose clients may come back."""
        self._closed = threading.Event()
        self._started = time.monotonic()
        self.metrics = Metrics(
            settings,
            pair.name,
            ready=lambda: self.status == "ready",
            sessions=lambda: len(self._connections),
            away=lambda: self.kept.away,
            places=lambda: self.places,
            waiting=lambda: self._models.engine.waiting if self._models else 0,
            files=lambda: self.files.depth,
            worker=lambda: self._models.engine.worker_pid if self._models else 0,
            undiarized=lambda: self._models.speakers.failures if self._models and self._models.speakers else 0,
            journal=journal,
        )

    def start_loading(self, on_failure: Callable[[], None]) -> None:
        """Load the engine in a thread; ``on_failure`` is called in this event loop if that fails."""
        loop = asyncio.get_running_loop()
        loaded: asyncio.Future[Models] = loop.create_future()

        def settle(models: Models | None, error: BaseException | None) -> None:
            if loaded.cancelled():
                return
            if models is not None:
                loaded.set_result(models)
            else:
                loaded.set_exception(error or RuntimeError("loading the models ended without a result"))

        def load() -> None:
            models, error = None, None
            try:
                models = self._load()
            except (ApplianceError, RuntimeError, OSError, ValueError, MemoryError, ImportError) as raised:
                error = raised
            finally:
                with contextlib.suppress(RuntimeError):  # the loop is closed: the server was stopped meanwhile
                    loop.call_soon_threadsafe(settle, models, error)

        def done(future: "asyncio.Future[Models]") -> None:
            if future.cancelled() or self._status == "stopping":
                return
            error = future.exception()
            if error is None:
                self._models, self._status = future.result(), "ready"
                self._models.engine.on_failure(fail_soon)
                log.info("ready: %s, after %.1f s", self._pair.name, time.monotonic() - self._started)
            else:
                fail(error)

        def fail_soon(error: BaseException) -> None:
            with contextlib.suppress(RuntimeError):  # the loop is closed: the server was stopped meanwhile
                loop.call_soon_threadsafe(fail, error)

        def fail(error: BaseException) -> None:
            if self._status != "stopping":
                self.failure, self._status = error, "failed"
                on_failure()

        loaded.add_done_callback(done)
        threading.Thread(target=load, name="load-engine", daemon=True).start()

    def _load(self) -> Models:
        check_intact(self._pair)  # first, for it says more of a damaged file than what loading makes of that
        self.decoders.start()
        models = load_models(self.settings, self._pair, self._vad_file, self._diarizer)
        models.engine.watch(self.metrics.took, self.metrics.replaced)
        release_code()
        threading.Thread(target=trim_until, args=(self._closed,), name="trim", daemon=True).start()
        return dataclasses.replace(models, journal=self._journal)

    @property
    def status(self) -> Status:
        """What `/readyz` says; may be asked by any thread."""
        models = self._models
        return "recovering" if self._status == "ready" and models and models.engine.recovering else self._status

    @property
    def diarization(self) -> bool:
        """Whether speakers can be told apart here."""
        return self._diarizer is not None

    def engine(self) -> "Engine":
        """The loaded engine. Raises as `models` does."""
        return self.models().engine

    def models(self) -> Models:
        """What is loaded.

        Raises:
            ApplianceError: code ``not_ready`` or ``restarting``.
        """
        if self._status == "stopping":
            raise restarting()
        if self._models is None:
            raise ApplianceError("the model is still loading", "connect again in a moment", code="not_ready")
        return self._models

    @property
    def places(self) -> int:
        """How many clients are served at once: as set, or as measured when the engine warmed up."""
        return self.settings.max_sessions or (self._models.capacity if self._models else 0)

    def check_place(self) -> None:
        """Whether one more client can be served now.

        Raises:
            ApplianceError: code ``over_capacity``, ``not_ready`` or ``restarting``.
        """
        if self.engine().recovering:
            raise ApplianceError("the model is being loaded again", "connect again in a moment", code="not_ready")
        places = self.places
        if len(self._connections) >= places:
            raise ApplianceError(
                f"all {places} places are taken",
                "connect again when another client has finished, or raise --max-sessions (WLK_MAX_SESSIONS)",
                code="over_capacity",
            )

    @contextlib.contextmanager
    def seat(self, connection: Stoppable, client: Client) -> Iterator[None]:
        """Count a connection while it uses the engine.

        Raises:
            ApplianceError: as of `check_place`; code ``too_many_sessions`` where the client has as many as one may.
        """
        self.check_place()
        most = self.settings.max_sessions_per_client
        if most and sum(other.name == client.name for other in self._connections.values()) >= most:
            raise ApplianceError(
                f"{client.name} has {most} sessions already, and no client may have more",
                "end one of them, or raise --max-sessions-per-client (WLK_MAX_SESSIONS_PER_CLIENT)",
                code="too_many_sessions",
            )
        self._connections[connection] = client
        self.metrics.began()
        try:
            yield
        finally:
            self._connections.pop(connection, None)

    def keep_running(self, session: Coroutine[Any, Any, None]) -> None:
        """Run a session, which may outlive the socket that it began on, until its client was told how it ended."""
        task = asyncio.create_task(session)
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def stop(self) -> None:
        """Ask all connections to end, and wait a bounded time until their clients were told."""
        self._status = "stopping"
        self.files.close()
        for connection in list(self._connections):
            connection.stop()
        if self._running:
            await asyncio.wait(self._running, timeout=STOP_GRACE_S + 1)

    def close(self) -> None:
        """Free the threads, after the last connection."""
        self._closed.set()
        self.files.close()
        self.audio_pool.shutdown(wait=False, cancel_futures=True)
        self.decoders.close()
        if self._models:
            closing = threading.Thread(target=self._models.close, name="close-engine", daemon=True)
            closing.start()
            closing.join(_LEAVE_S)
        if self._journal:
            self._journal.close()

    @property
    def alive(self) -> bool:
        """Whether work goes on, as far as this loop can tell by answering: nothing hangs for long."""
        return self._models is None or self._models.still_s < STUCK_S

    def report(self) -> dict[str, Any]:
        """What `/readyz` tells."""
        report: dict[str, Any] = {
            "status": self.status,
            "model": self._pair.name,
            "version": __version__,
            "protocol": PROTOCOL_VERSION,
            "uptime_s": round(time.monotonic() - self._started, 1),
            "sessions": len(self._connections),
            "max_sessions": self.places,
            "diarization": self.diarization,
        }
        if self.rotation and self.rotation.trouble:
            report["warning"] = self.rotation.trouble.code  # the log says it in words, which name files
        if self._journal:
            report["journal"] = self._journal.state
        if self._models:
            report["languages"] = list(self._models.engine.languages)
            if translation := self._models.translation:
                targets = list(translation.languages.codes)
                report["translation"] = {"targets": targets, "default": self.settings.target_language}
        return report
