"""``wlk-appliance health``: one question to a running server. Imports little, for it runs every few seconds."""

import argparse
import http.client
import json
import os
import ssl
from urllib.parse import urlsplit

from appliance.errors import UsageError
from appliance.server.places import own_certificate

_OFF = ("0", "false", "no", "off", "f", "n")
_NO_CHECK_TIME = 0x200000
"""OpenSSL's X509_V_FLAG_NO_CHECK_TIME."""
_LOOPBACK = ("127.0.0.1", "::1", "localhost")


def main(argv: list[str]) -> int:
    parser = argparse.ArgumentParser(
        prog="wlk-appliance health",
        description="Ask a running server whether it is alive, or ready. Status 0: yes; 1: no.",
    )
    parser.add_argument("--ready", action="store_true", help="ask whether it serves clients now, not just lives")
    parser.add_argument("--url", default=_default_url(), help="the server's address [%(default)s]")
    parser.add_argument("--timeout-s", type=float, default=5.0, metavar="SECONDS", help="[%(default)s]")
    args = parser.parse_args(argv)
    parts = urlsplit(args.url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise UsageError(f"--url is {args.url!r}: not an http or https address", "for example https://127.0.0.1:8000")
    good, line = ask(args.url, "/readyz" if args.ready else "/healthz", args.timeout_s)
    print(line)
    return 0 if good else 1


def ask(url: str, path: str, timeout_s: float) -> tuple[bool, str]:
    """Whether the answer is 200, and one line that tells it."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    connection: http.client.HTTPConnection
    if parts.scheme == "https":
        connection = http.client.HTTPSConnection(host, parts.port, timeout=timeout_s, context=_context(host))
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


def _default_url() -> str:
    port = os.environ.get("WLK_PORT") or os.environ.get("PORT") or "8000"
    plain = (os.environ.get("WLK_TLS") or "").lower() in _OFF
    return f"{'http' if plain else 'https'}://127.0.0.1:{port}"


def _context(host: str) -> ssl.SSLContext:
    """Trust our own certificate where it can be read; else, on this machine only, any."""
    context = ssl.create_default_context()
    if host not in _LOOPBACK:
        return context
    own = own_certificate()
    if own:
        context.load_verify_locations(own)
        # A clock that is late, as after a start without a battery, is no illness of the server.
        context.verify_flags |= ssl.VerifyFlags(_NO_CHECK_TIME)
    else:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
