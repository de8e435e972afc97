"""A server process: check everything that can be checked, bind, serve, and leave cleanly."""

import errno
import faulthandler
import logging
import signal
import socket
from types import FrameType

import uvicorn

from appliance.errors import ApplianceError
from appliance.server.app import create_app
from appliance.server.flags import unknown_variables
from appliance.server.headers import HEADERS
from appliance.server.keeping import open_journal
from appliance.server.models import locate, locate_diarizer
from appliance.server.rotation import Rotation
from appliance.server.sealing import seal
from appliance.server.service import STOP_S, Service
from appliance.server.settings import Settings, describe
from appliance.server.tls import harden, prepare
from appliance.server.wire import Requests, Wire
from appliance.speech.memory import share_one_arena

log = logging.getLogger(__name__)

_WAITING = 128
_ROTATION_TICKS = 600
"""A minute: how often a running server looks whether its certificate is due, or another lies on disk."""
_MOST_SESSIONS = 1000
_HTTP_CONNECTIONS = 64
"""Connections beside those of clients that stream, and of those that wait for a file."""
_TCP_GONE = (
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 30),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 10),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
    (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 60_000),
)
"""A host that answers nothing for a minute is gone, whatever it was sent. (By itself Linux waits for hours.)"""


class Server(uvicorn.Server):
    """uvicorn, except that a stop lets clients have their last update first, and that its certificate is kept fresh."""

    def __init__(self, config: uvicorn.Config, service: Service, rotation: Rotation | None) -> None:
        super().__init__(config)
        self._service = service
        self._rotation = rotation
        self._is_bounded = False

    async def on_tick(self, counter: int) -> bool:
        if self._rotation and self.config.ssl and counter % _ROTATION_TICKS == _ROTATION_TICKS - 1:
            await self._rotation.apply(self.config.ssl)
        return await super().on_tick(counter)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        if not self._is_bounded:
            # By a thread that needs none of the interpreter's locks: it tells where each thread hangs and ends all.
            faulthandler.dump_traceback_later(STOP_S, exit=True)
            self._is_bounded = True
        super().handle_exit(sig, frame)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        await self._service.stop()  # who comes meanwhile is told so
        await super().shutdown(sockets)


def run_server(settings: Settings) -> None:
    """Serve until a signal.

    Raises:
        ApplianceError: a setting or file is wrong, the port is taken, or the models don't load or warm up.
    """
    share_one_arena()
    pair, vad_file = locate(settings)
    diarizer = locate_diarizer(settings, pair, vad_file)
    journal = open_journal(settings, pair.name)
    kept = prepare(settings)
    files = kept.files if kept else None
    rotation = Rotation(settings, kept) if kept else None
    listener = bind(settings.host, settings.port)
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
        http=Requests,
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
        limit_concurrency=(settings.max_sessions or _MOST_SESSIONS) + settings.file_queue + _HTTP_CONNECTIONS,
        timeout_graceful_shutdown=2,
        ssl_certfile=files.certificate if files else None,
        ssl_keyfile=files.key if files else None,
        ssl_context_factory=(lambda config, make: harden(make())) if files else None,
    )
    # uvicorn's own lines name whole addresses, and those may hold a token.
    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
    server = Server(config, service, rotation)
    # uvicorn raises a stop signal again when it is done; with this, SIGTERM then ends in status 0.
    signal.signal(signal.SIGTERM, lambda number, frame: None)
    log.info("listening on %s", address(settings, listener))
    server.run(sockets=[listener])
    if isinstance(service.failure, ApplianceError):
        raise service.failure
    if service.failure is not None:
        raise ApplianceError(
            f"the models could not be loaded: {type(service.failure).__name__}: {service.failure}",
            "is there enough memory, and are the model files whole? wlk-appliance selftest tries them alone",
        ) from service.failure


def close_off() -> None:
    """Have the kernel see to it that nothing is reached from here; where it can't, that is said."""
    try:
        seal()
        log.info("this server opens no connection: the kernel refuses it any")
    except OSError as error:
        log.warning(
            "this server opens no connection, but the kernel can't be told to refuse it any: %s", error.strerror
        )


def bind(host: str, port: int) -> socket.socket:
    """A listening socket. (Merely bound, two servers could share it, and the first clients would be refused.)

    Raises:
        ApplianceError: the port is in use or not allowed, or the address is not this machine's.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        for level, option, value in _TCP_GONE:  # connections take these over from it
            listener.setsockopt(level, option, value)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 0)
        listener.bind(("127.0.0.1" if host == "localhost" else host, port))
        listener.listen(_WAITING)
    except OSError as error:
        listener.close()
        raise _bind_error(host, port, error) from error
    listener.set_inheritable(False)
    return listener


def _bind_error(host: str, port: int, error: OSError) -> ApplianceError:
    if error.errno == errno.EADDRINUSE:
        return ApplianceError(
            f"port {port} on {host} is in use",
            f"stop what listens there (ss -ltnp 'sport = :{port}' shows it), or choose another {describe('port')}",
            code="port_in_use",
        )
    if error.errno == errno.EACCES:
        return ApplianceError(
            f"port {port} is not allowed for this user", f"choose a {describe('port')} of 1024 or more", code="port"
        )
    return ApplianceError(
        f"can't listen on {host!r}, port {port}: {error.strerror or error}",
        f"give an IP address of this machine as {describe('host')}; 0.0.0.0 means all",
        code="host",
    )


def address(settings: Settings, listener: socket.socket) -> str:
    """Where a browser finds the page."""
    host, port = listener.getsockname()[:2]
    shown = f"[{host}]" if ":" in host else host
    return f"{'https' if settings.tls else 'http'}://{shown}:{port}/"
