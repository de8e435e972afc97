"""The server's certificate: a site's own, checked, or one under a local CA, made and renewed in the state folder."""

import contextlib
import fcntl
import logging
import os
import ssl
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from appliance.errors import ApplianceError
from appliance.server import generations
from appliance.server.authority import fingerprint, new_authority, new_leaf, pem, permits
from appliance.server.certificate import Certificate, check
from appliance.server.places import AUTHORITY_FILE, AUTHORITY_KEY_FILE, CERTIFICATE_FILE, KEY_FILE, TLS_FOLDER
from appliance.server.renewal import Plan, plan
from appliance.server.settings import Settings

log = logging.getLogger(__name__)

_CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"
"""Of TLS 1.2: keys that are forgotten after the connection, and text that nobody can change. TLS 1.3 has no others."""


@dataclass(frozen=True, slots=True)
class Kept:
    """The certificate of a state folder, and what was done about it: one line, or nothing."""

    files: Certificate
    said: str = ""


def prepare(settings: Settings) -> Certificate | None:
    """The certificate to serve with, made or renewed where it is ours; None with TLS off.

    Raises:
        ApplianceError: own files are unreadable, don't fit or have expired; the state folder can't be written.
    """
    if not settings.tls:
        return None
    if settings.tls_cert and settings.tls_key:
        own = Certificate(settings.tls_cert, settings.tls_key)
        check(own)
        return own
    kept = keep(settings.state_dir, settings.tls_names)
    if kept.said:
        log.info("%s", kept.said)
    return kept.files


def harden(context: ssl.SSLContext) -> ssl.SSLContext:
    """The same context, for TLS 1.2 and 1.3 alone, whatever this machine's OpenSSL is set to."""
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.set_ciphers(_CIPHERS)
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
    return context


def keep(state_dir: Path, given: Sequence[str] = ()) -> Kept:
    """Make what the state folder lacks: CA, certificate, both or nothing. A site's own in our place is left as it is.

    Raises:
        ApplianceError: a name is none, a site's own certificate can't be used, or the folder can't be written.
    """
    files = files_in(state_dir)
    folder = files.key.parent
    with _told(state_dir):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with _lock(folder / ".lock"):
            found = plan(files, given)
            said = _make(files, found) if found.why else ""
            # These are of one set, and stay there until the renewal after the next.
            served = Certificate(
                files.certificate.resolve(), files.key.resolve(), None if found.foreign else files.authority
            )
    return Kept(served, said)


def due(state_dir: Path, given: Sequence[str] = ()) -> Plan:
    """What `keep` would do, with nothing changed.

    Raises:
        ApplianceError: a name is none, a site's own certificate can't be used, or the folder can't be read.
    """
    with _told(state_dir):
        return plan(files_in(state_dir), given)


def files_in(state_dir: Path) -> Certificate:
    folder = state_dir / TLS_FOLDER
    return Certificate(folder / CERTIFICATE_FILE, folder / KEY_FILE, folder / AUTHORITY_FILE)


def _make(files: Certificate, found: Plan) -> str:
    assert files.authority is not None
    authority = found.authority or new_authority(found.names, found.subtrees)
    kept = [name for name in found.kept if permits(authority.certificate, name)]
    leaf, key = new_leaf(authority, [*found.names, *kept])
    again = files.authority.exists()
    generations.publish(
        files.key.parent,
        {
            AUTHORITY_FILE: pem(authority.certificate),
            AUTHORITY_KEY_FILE: pem(authority.key),
            CERTIFICATE_FILE: pem(leaf) + pem(authority.certificate),
            KEY_FILE: pem(key),
        },
    )
    until = f"{leaf.not_valid_after_utc:%Y-%m-%d}"
    without = "".join(f"; not for {name.value}, which the CA may not name" for name in found.left_out)
    if found.authority:
        return f"new certificate until {until} ({found.why}), the CA stays: {files.certificate}{without}"
    trust = "browsers must trust the new CA instead of the old one" if again else "browsers must trust the CA once"
    seen = fingerprint(authority.certificate)
    return f"new CA and certificate ({found.why}), {trust}: {files.authority}, SHA-256 {seen}"


@contextlib.contextmanager
def _told(state_dir: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise ApplianceError(
            f"can't keep a certificate in {state_dir}: {error.strerror or error}",
            "make the folder writable for this user, give another one with --state-dir (WLK_STATE_DIR), "
            "or give --tls-cert and --tls-key",
            code="state_dir",
        ) from error


@contextlib.contextmanager
def _lock(path: Path) -> Iterator[None]:
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)
