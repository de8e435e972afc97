"""The port: a listening socket that also bounds the connections nothing else knows of yet.

Under TLS a connection is handed to the application once its handshake is done. Until then it is a file, some memory of
OpenSSL's, and nobody's: asyncio waits a minute for it. So the socket that accepts them counts those, and lets go of the
oldest where there are too many.
"""

import contextlib
import errno
import socket
from typing import Any

from appliance.errors import ApplianceError
from appliance.server.settings import describe

NEAR = ("127.0.0.1", "::1", "::ffff:127.0.0.1")
"""Whoever asks from here watches this server, and is answered however many others there are."""

MOST_STRANGERS = 1024
"""Connections whose handshake is not done: more than there are clients, who may all come back at the same moment."""

_WAITING = 128
_TCP_GONE = (
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 30),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 10),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
    (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 60_000),
)
"""A host that answers nothing for a minute is gone, whatever it was sent. (By itself Linux waits for hours.)"""


class Listener(socket.socket):
    """Accepts as any other does. Belongs to the event loop's thread."""

    def __init__(self, family: socket.AddressFamily, *, shakes_hands: bool) -> None:
        """``shakes_hands``: whether connections begin with a handshake of TLS; else nothing is to be bounded here."""
        super().__init__(family, socket.SOCK_STREAM)
        self._shakes_hands = shakes_hands
        self._strangers: dict[Any, socket.socket] = {}

    def accept(self) -> tuple[socket.socket, Any]:
        connection, address = super().accept()
        if self._shakes_hands and address[0] not in NEAR:
            self._strangers.pop(address, None)  # of a connection that is gone
            self._strangers[address] = connection
            if len(self._strangers) > MOST_STRANGERS:
                oldest = self._strangers.pop(next(iter(self._strangers)))
                with contextlib.suppress(OSError):  # it is closed already
                    oldest.shutdown(socket.SHUT_RDWR)
        return connection, address

    def greeted(self, address: Any) -> None:
        """Whoever connected from there is through with the handshake, and others bound the connection now."""
        self._strangers.pop(address, None)


def bind(host: str, port: int, *, shakes_hands: bool) -> Listener:
    """A listening socket; ``shakes_hands`` as of `Listener`.

    (Merely bound, two servers could share it, and the first clients would be refused.)

    Raises:
        ApplianceError: the port is in use or not allowed, or the address is not this machine's.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = Listener(family, shakes_hands=shakes_hands)
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
