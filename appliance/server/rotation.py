"""A running server takes over its renewed certificate; connections that are open stay as they are."""

import asyncio
import logging
import ssl

from appliance.errors import ApplianceError
from appliance.server.settings import Settings
from appliance.server.tls import Kept, prepare

log = logging.getLogger(__name__)


class Rotation:
    """Knows which certificate is served, and looks for another: one that was due, or that someone put there."""

    def __init__(self, settings: Settings, kept: Kept) -> None:
        self._settings = settings
        self._served = kept.files.certificate.read_bytes()
        self.trouble: ApplianceError | None = None
        """Why clients may refuse what is served, now or soon."""
        self._note(kept.trouble)

    async def apply(self, context: ssl.SSLContext) -> bool:
        """Renew what is due, and load what is new; whether new clients get another certificate now."""
        try:
            kept, found = await asyncio.to_thread(self._look)
            is_new = found != self._served
            if is_new:
                context.load_cert_chain(kept.files.certificate, kept.files.key)
        except ApplianceError as error:
            self._note(error)
            return False
        except OSError as error:
            self._note(ApplianceError(str(error), code="certificate"))
            return False
        self._note(kept.trouble)
        self._served = found
        if is_new:
            log.info("serving with the new certificate: %s", kept.files.certificate)
        return is_new

    def _note(self, trouble: ApplianceError | None) -> None:
        """Said once, not at every look."""
        if trouble and (self.trouble is None or trouble.message != self.trouble.message):
            log.warning("still serving with the certificate that is there: %s", trouble.message)
        self.trouble = trouble

    def _look(self) -> tuple[Kept, bytes]:
        kept = prepare(self._settings)
        assert kept is not None
        return kept, kept.files.certificate.read_bytes()
