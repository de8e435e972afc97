"""What stands at the head of every answer over HTTP, also of those that uvicorn gives by itself.

No Strict-Transport-Security: this port speaks nothing but TLS, and with it a browser would ask TLS of every other
service of this machine's name too, and let nobody in whose CA was made anew. Of addresses browsers ignore it.
"""

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

from appliance.errors import ApplianceError
from appliance.server.protocol import dump, error_event

HEADERS = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; "
        "worker-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    ),
    "permissions-policy": "microphone=(self), display-capture=(self), camera=(), geolocation=()",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "cache-control": "no-cache",
}


class Protocol(H11Protocol):
    """HTTP/1.1 that answers in our shape also what is no HTTP."""

    def send_400_response(self, msg: str) -> None:
        if self.cycle:
            self.cycle.disconnected = True  # whoever still answers an earlier request need not
        if self.conn.our_state not in (h11.IDLE, h11.SEND_RESPONSE):  # what is wrong comes behind an answer
            self.transport.close()
            return
        error = ApplianceError("this is no HTTP request that can be read", "see docs/API.md", code="bad_request")
        body = dump(error_event(error)).encode()
        rows = {
            "content-type": "application/json",
            "content-length": str(len(body)),
            "connection": "close",
            **HEADERS,
        }
        head = h11.Response(status_code=400, reason=b"Bad Request", headers=list(rows.items()))
        for event in (head, h11.Data(data=body), h11.EndOfMessage()):
            if said := self.conn.send(event):
                self.transport.write(said)
        self.transport.close()
