"""Where a server keeps what must outlive it. Light: the health command imports this."""

import os
from collections.abc import Mapping
from pathlib import Path

TLS_FOLDER = "tls"
CERTIFICATE_FILE = "certificate.pem"
KEY_FILE = "key.pem"
AUTHORITY_FILE = "ca.pem"
AUTHORITY_KEY_FILE = "ca-key.pem"
TOKEN_CREDENTIAL = "wlk-tokens"


def default_state_dir(environ: Mapping[str, str] = os.environ) -> Path:
    """systemd's ``STATE_DIRECTORY``, else the XDG state folder. ``WLK_STATE_DIR`` is for the caller to look at."""
    if given := environ.get("STATE_DIRECTORY"):
        return Path(given.split(":")[0])
    base = environ.get("XDG_STATE_HOME") or str(Path(environ.get("HOME") or "/") / ".local/state")
    return Path(base) / "wlk-appliance"


def token_credential(environ: Mapping[str, str] = os.environ) -> Path | None:
    """The list of tokens that systemd hands in as a credential, if it does."""
    folder = environ.get("CREDENTIALS_DIRECTORY")
    file = Path(folder) / TOKEN_CREDENTIAL if folder else None
    return file if file and file.is_file() else None


def own_certificate(environ: Mapping[str, str] = os.environ) -> Path | None:
    """The certificate, with its CA, of a server on this machine, if this user can read it."""
    if environ.get("WLK_TLS_CERT"):
        return None
    path = Path(environ.get("WLK_STATE_DIR") or default_state_dir(environ)) / TLS_FOLDER / CERTIFICATE_FILE
    return path if os.access(path, os.R_OK) else None
