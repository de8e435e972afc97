"""Who asks: the token and origin of a request for a socket or over HTTP, checked in one place.

A token is given as ``Authorization: Bearer``; by web pages, which can't set that for a WebSocket, as one of the
subprotocols that they offer; by older clients as ``?token=``, which proxies may log.
"""

import base64
import binascii
import dataclasses
import hashlib
import hmac
from collections.abc import Sequence
from urllib.parse import urlsplit

from starlette.requests import HTTPConnection

from appliance.errors import ApplianceError
from appliance.server.settings import Settings
from appliance.server.tokens import Token

SUBPROTOCOL = "wlk"
"""What a client that offers subprotocols speaks; the server selects it where it is offered."""
_TOKEN_SUBPROTOCOL = "wlk.token."
"""Before the token in base64url of its UTF-8, without padding."""


@dataclasses.dataclass(frozen=True, slots=True)
class Client:
    """Who asks. ``token``: the name of the token that was given, empty where none is needed."""

    token: str
    host: str
    port: int

    @property
    def name(self) -> str:
        """By what limits count: clients with one token are one client, and so are those of an address without any."""
        return self.token or self.host

    def __str__(self) -> str:
        return f"{self.token}@{self.host}:{self.port}" if self.token else f"{self.host}:{self.port}"


class Access:
    """Who may come in, by the settings. Its methods do not block."""

    def __init__(self, settings: Settings, tokens: Sequence[Token]) -> None:
        self._origins = settings.allowed_origins
        self._tls = settings.tls
        self._tokens = [(token.name, _digest(token.secret.encode())) for token in tokens]

    def admit(self, asking: HTTPConnection) -> Client:
        """Who asks for a socket, or for something over HTTP.

        Raises:
            ApplianceError: code ``origin`` for a web page that may not connect, ``unauthorized`` without a good token.
        """
        self._check_origin(asking)
        return dataclasses.replace(peer(asking), token=self._owner(asking))

    def _check_origin(self, asking: HTTPConnection) -> None:
        """Programs send no origin."""
        origin = asking.headers.get("origin")
        if origin is None or "*" in self._origins or origin in self._origins:
            return
        if "same" in self._origins and self._is_ours(origin, asking.headers.get("host")):
            return
        raise ApplianceError(
            f"pages of {origin[:100]} may not connect here",
            "add it to --allowed-origins (WLK_ALLOWED_ORIGINS)",
            code="origin",
        )

    def _is_ours(self, origin: str, host: str | None) -> bool:
        """A page of this very address; one without TLS, where there is TLS, is whoever's stands on the network."""
        try:
            place = urlsplit(origin)
        except ValueError:
            return False
        return place.netloc == host and (place.scheme == "https" or not self._tls)

    def _owner(self, asking: HTTPConnection) -> str:
        if not self._tokens:
            return ""
        given = _given(asking)
        # All are compared, and digests of one length: the time that it takes tells nothing.
        digest = _digest(given)
        names = [name for name, good in self._tokens if hmac.compare_digest(digest, good)]
        if not names:
            raise ApplianceError(
                "the token is wrong" if given else "a token is needed",
                "give it as Authorization: Bearer ...; see docs/API.md",
                code="unauthorized",
            )
        return names[0]


def peer(asking: HTTPConnection) -> Client:
    """Where a request comes from; whoever it is."""
    host, port = asking.client or ("unknown", 0)
    return Client("", host, port)


def selected_subprotocol(asking: HTTPConnection) -> str | None:
    """The subprotocol to accept a socket with: ours where it is offered, else none. Never the one with a token."""
    return SUBPROTOCOL if SUBPROTOCOL in asking.scope.get("subprotocols", ()) else None


def _given(asking: HTTPConnection) -> bytes:
    """The token of a request, empty where there is none."""
    scheme, _, bearer = asking.headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and bearer.strip():
        return bearer.strip().encode("latin-1")  # as headers are decoded: these are the client's bytes
    for offered in asking.scope.get("subprotocols", ()):
        if offered.startswith(_TOKEN_SUBPROTOCOL):
            return _decoded(offered.removeprefix(_TOKEN_SUBPROTOCOL))
    return asking.query_params.get("token", "").encode(errors="replace")


def _decoded(text: str) -> bytes:
    """What is no base64url is as it stands, and so a token that nobody has."""
    try:
        return base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
    except (binascii.Error, ValueError):
        return text.encode(errors="replace")


def _digest(token: bytes) -> bytes:
    return hashlib.sha256(token).digest()
