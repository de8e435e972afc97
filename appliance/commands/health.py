"""``wlk-appliance health``: one question to a running server. Imports little, for it runs every few seconds."""

import argparse
import os
from urllib.parse import urlsplit

from appliance.errors import UsageError
from appliance.server.asking import LOOPBACK, ask
from appliance.server.places import own_certificate

_OFF = ("0", "false", "no", "off", "f", "n")


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
    own = own_certificate() if parts.hostname in LOOPBACK else None
    good, line = ask(args.url, "/readyz" if args.ready else "/healthz", args.timeout_s, own)
    print(line)
    return 0 if good else 1


def _default_url() -> str:
    port = os.environ.get("WLK_PORT") or os.environ.get("PORT") or "8000"
    plain = (os.environ.get("WLK_TLS") or "").lower() in _OFF
    return f"{'http' if plain else 'https'}://127.0.0.1:{port}"
