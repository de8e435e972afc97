"""Sessions that their clients may come back to, by ids of which only digests are kept."""

import contextlib
import hashlib
from collections.abc import Iterator

from starlette.requests import HTTPConnection

from appliance.server.access import Client
from appliance.server.lines import Lines, unknown_session

_SUBPROTOCOL = "wlk.resume."
"""Before the id, as one of the subprotocols that a client offers: it stands in no address, and so in no log."""


class Kept:
    """Those of all sessions; as many at most as there are places."""

    def __init__(self) -> None:
        self._by_digest: dict[bytes, tuple[Lines, Client]] = {}

    @contextlib.contextmanager
    def keep(self, lines: Lines, client: Client) -> Iterator[None]:
        """Let ``client`` find the session, as long as it lasts; one without an id nobody finds."""
        if not lines.id:
            yield
            return
        digest = _digest(lines.id)
        self._by_digest[digest] = (lines, client)
        try:
            yield
        finally:
            del self._by_digest[digest]

    def find(self, id: str, client: Client) -> Lines:
        """The session with this id. Whoever has another token than who began it is not told that there is one.

        Raises:
            ApplianceError: code ``unknown_session``.
        """
        found = self._by_digest.get(_digest(id))
        if found is None or found[1].token != client.token:
            raise unknown_session()
        return found[0]

    def check(self, id: str) -> None:
        """As `find`, for a proxy that may ask another server: whoever asks."""
        if _digest(id) not in self._by_digest:
            raise unknown_session()

    @property
    def away(self) -> int:
        """How many wait for their clients; may be asked by any thread."""
        return sum(lines.away for lines, _ in list(self._by_digest.values()))


def wanted_session(asking: HTTPConnection) -> str:
    """The id of the session that a client comes back to, "" for none."""
    for offered in asking.scope.get("subprotocols", ()):
        if offered.startswith(_SUBPROTOCOL):
            return str(offered.removeprefix(_SUBPROTOCOL))
    return ""


def _digest(id: str) -> bytes:
    return hashlib.sha256(id.encode(errors="replace")).digest()
