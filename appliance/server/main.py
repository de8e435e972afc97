"""A server process: check everything that can be checked, bind, serve, and leave cleanly."""

import contextlib
import faulthandler
import logging
import os
import resource
import signal
import socket
from types import FrameType
from typing import NoReturn

import uvicorn

from appliance.errors import ApplianceError
from appliance.server.app import create_app
from appliance.server.flags import unknown_variables
from appliance.server.headers import HEADERS
from appliance.server.keeping import open_journal
from appliance.server.listening import bind
from appliance.server.models import locate, locate_diarizer
from appliance.server.orphans import Orphans
from appliance.server.rotation import Rotation
from appliance.server.sealing import seal
from appliance.server.service import STOP_S, Service
from appliance.server.settings import Settings
from appliance.server.tls import harden, prepare
from appliance.server.wire import Wire, requests_at
from appliance.speech.children import leave_no_core
from appliance.speech.memory import share_one_arena

log = logging.getLogger(__name__)

_ROTATION_TICKS = 600
"""A minute: how often a running server looks whether its certificate is due, or another lies on disk."""
_ORPHAN_TICKS = 100
"""Ten seconds: how often a container's first process looks for others that were left to it and have ended."""
_MOST_SESSIONS = 1000
"""Clients at once, those among them who are told that there is no place; more where more places are set."""
_HTTP_CONNECTIONS = 64
"""Connections beside those of clients that stream, and of those that wait for a file."""
_MOST_FILES = 65536
"""Open at once, connections among them, where the machine allows so many: the usual 1024 are soon used up."""


class Server(uvicorn.Server):
    """uvicorn, except that a stop lets clients have their last update first, and that its certificate is kept fresh.

    As a container's first process it also waits for those that have lost their parent.
    """

    def __init__(self, config: uvicorn.Config, service: Service, rotation: Rotation | None) -> None:
        super().__init__(config)
        self._service = service
        self._rotation = rotation
        self._orphans = Orphans() if os.getpid() == 1 else None
        self._is_bounded = False

    async def on_tick(self, counter: int) -> bool:
        if self._rotation and self.config.ssl and counter % _ROTATION_TICKS == _ROTATION_TICKS - 1:
            await self._rotation.apply(self.config.ssl)
        if self._orphans and counter % _ORPHAN_TICKS == _ORPHAN_TICKS - 1:
            self._orphans.reap()
        return await super().on_tick(counter)

    def _bound(self) -> None:
        if not self._is_bounded:
            # By a thread that needs none of the interpreter's locks: it tells where each thread hangs and ends all.
            faulthandler.dump_traceback_later(STOP_S, exit=True)
            self._is_bounded = True

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._bound()
        super().handle_exit(sig, frame)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._bound()  # it may stop by itself, too
        await self._service.stop()  # who comes meanwhile is told so
        await super().shutdown(sockets)


def run_server(settings: Settings) -> NoReturn:
    """Serve until a signal, and end the process; return only by an error.

    Raises:
        ApplianceError: a setting or file is wrong, the port is taken, or the models don't load or warm up.
    """
    share_one_arena()
    _allow_files()
    leave_no_core()
    pair, vad_file = locate(settings)
    diarizer = locate_diarizer(settings, pair, vad_file)
    journal = open_journal(settings, pair.name)
    kept = prepare(settings)
    files = kept.files if kept else None
    rotation = Rotation(settings, kept) if kept else None
    listener = bind(settings.host, settings.port, shakes_hands=settings.tls)
    if not settings.allow_outgoing:
        close_off()
    for remark in unknown_variables():
        log.warning(remark)
    service = Service(settings, pair, vad_file, diarizer, journal)
    service.rotation = rotation
    server: Server

    def leave() -> None:
        server.should_exit = True

    config = uvicorn.Config(
        create_app(service, leave, files.authority if files else None),
        http=requests_at(listener),
        ws=Wire,
        headers=list(HEADERS.items()),
        lifespan="on",
        log_config=None,
        access_log=False,
        proxy_headers=False,
        server_header=False,
        ws_max_size=2 * settings.max_message_bytes,
        ws_per_message_deflate=False,
        ws_ping_interval=settings.client_timeout_s,
        ws_ping_timeout=settings.client_timeout_s,
        limit_concurrency=max(settings.max_sessions, _MOST_SESSIONS) + settings.file_queue + _HTTP_CONNECTIONS,
        timeout_graceful_shutdown=2,
        ssl_certfile=files.certificate if files else None,
        ssl_keyfile=files.key if files else None,
        ssl_context_factory=(lambda config, make: harden(make())) if files else None,
    )
    # uvicorn's own lines name whole addresses, and those may hold a token.
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
    server = Server(config, service, rotation)
    # uvicorn listens to signals a little later, and raises them again when it is done: SIGTERM then ends in status 0.
    signal.signal(signal.SIGTERM, server.handle_exit)
    log.info("listening on %s", address(settings, listener))
    status = 0
    try:
        server.run(sockets=[listener])
    except KeyboardInterrupt:  # uvicorn raises it again when it is done
        status = 130
    if service.failure is None:
        os._exit(status)  # not waiting for threads in native code: whoever was to have their answers has left
    if isinstance(service.failure, ApplianceError):
        raise service.failure
    raise ApplianceError(
        f"the models could not be loaded: {type(service.failure).__name__}: {service.failure}",
        "is there enough memory, and are the model files whole? wlk-appliance selftest tries them alone",
    ) from service.failure


def _allow_files() -> None:
    least, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(OSError, ValueError):  # as many as there may be, then
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(least, min(most, _MOST_FILES)), most))


def close_off() -> None:
    """Have the kernel see to it that nothing is reached from here; where it can't, that is said."""
    try:
        seal()
        log.info("this server opens no connection: the kernel refuses it any")
    except OSError as error:
        log.warning(
            "this server opens no connection, but the kernel can't be told to refuse it any: %s", error.strerror
        )


def address(settings: Settings, listener: socket.socket) -> str:
    """Where a browser finds the page."""
    host, port = listener.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    return f"{'https' if settings.tls else 'http'}://{shown}:{port}/"
