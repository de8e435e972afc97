"""One question to a running server. Imports little, for a container's health check runs every few seconds."""

import http.client
import json
import ssl
from pathlib import Path
from urllib.parse import urlsplit

_NO_CHECK_TIME = 0x200000
"""OpenSSL's X509_V_FLAG_NO_CHECK_TIME."""
LOOPBACK = ("127.0.0.1", "::1", "localhost")


def ask(url: str, path: str, timeout_s: float, own: Path | None = None) -> tuple[bool, str]:
    """Whether the answer is 200, and one line that tells it. ``own``: a certificate of this machine, to be trusted."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    connection: http.client.HTTPConnection
    if parts.scheme == "https":
        connection = http.client.HTTPSConnection(host, parts.port, timeout=timeout_s, context=context(host, own))
    else:
        connection = http.client.HTTPConnection(host, parts.port, timeout=timeout_s)
    try:
        connection.request("GET", path)
        answer = connection.getresponse()
        said = json.loads(answer.read(65536))
        if not isinstance(said, dict):
            raise ValueError("no JSON object")
    except (OSError, http.client.HTTPException, ValueError) as error:
        return False, f"no answer from {url}{path}: {error}"
    finally:
        connection.close()
    status = f"{said.get('status', 'unknown')}"
    model = f", model {said['model']}" if "model" in said else ""
    return answer.status == 200, f"{status}{model} ({url}{path}: {answer.status})"


def context(host: str, own: Path | None) -> ssl.SSLContext:
    """Trust our own certificate where it can be read; else, on this machine only, any."""
    made = ssl.create_default_context()
    if own:
        made.load_verify_locations(own)
        # A clock that is late, as after a start without a battery, is no illness of the server.
        made.verify_flags |= ssl.VerifyFlags(_NO_CHECK_TIME)
    elif host in LOOPBACK:
        made.check_hostname = False
        made.verify_mode = ssl.CERT_NONE
    return made
