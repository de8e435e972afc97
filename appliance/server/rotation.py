"""A running server takes over its renewed certificate; connections that are open stay as they are."""

import asyncio
import logging
import ssl

from appliance.errors import ApplianceError
from appliance.server.certificate import Certificate
from appliance.server.settings import Settings
from appliance.server.tls import prepare

log = logging.getLogger(__name__)


class Rotation:
    """Knows which certificate is served, and looks for another: one that was due, or that someone put there."""

    def __init__(self, settings: Settings, files: Certificate) -> None:
        self._settings = settings
        self._served = files.certificate.read_bytes()
        self._told = ""

    async def apply(self, context: ssl.SSLContext) -> bool:
        """Renew what is due, and load what is new; whether new clients get another certificate now."""
        try:
            files, found = await asyncio.to_thread(self._look)
            if found == self._served:
                self._told = ""
                return False
            context.load_cert_chain(files.certificate, files.key)
        except (ApplianceError, OSError) as error:
            self._warn(error.message if isinstance(error, ApplianceError) else str(error))
            return False
        self._served, self._told = found, ""
        log.info("serving with the new certificate: %s", files.certificate)
        return True

    def _warn(self, message: str) -> None:
        """Once, not at every look."""
        if message != self._told:
            log.warning("still serving with the certificate before: %s", message)
        self._told = message

    def _look(self) -> tuple[Certificate, bytes]:
        files = prepare(self._settings)
        assert files is not None
        return files, files.certificate.read_bytes()
