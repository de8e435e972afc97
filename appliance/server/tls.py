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
from appliance.server.certificate import Certificate, check_fit, untimely
from appliance.server.places import AUTHORITY_FILE, AUTHORITY_KEY_FILE, CERTIFICATE_FILE, KEY_FILE, TLS_FOLDER
from appliance.server.renewal import Plan, is_foreign, plan
from appliance.server.settings import Settings

log = logging.getLogger(__name__)

_CIPHERS = "ECDHE+AESGCM:ECDHE+CHACHA20"
"""Of TLS 1.2: keys that are forgotten after the connection, and text that nobody can change. TLS 1.3 has no others."""


@dataclass(frozen=True, slots=True)
class Kept:
    """A certificate to serve with, and what was done about it: one line, or nothing.

    ``trouble``: why it is served with although clients may refuse it, now or soon.
    """

    files: Certificate
    said: str = ""
    trouble: ApplianceError | None = None


def prepare(settings: Settings) -> Kept | None:
    """The certificate to serve with, made or renewed where it is ours and that can be done; None with TLS off.

    One that is out of date is served with all the same, for browsers ask what to do then: an appliance whose clock
    is wrong or whose disk is full still serves.

    Raises:
        ApplianceError: own files are unreadable or don't fit; there is none, and none can be made.
    """
    if not settings.tls:
        return None
    if settings.tls_cert and settings.tls_key:
        own = Certificate(settings.tls_cert, settings.tls_key)
        return Kept(own, trouble=untimely(own, check_fit(own)))
    try:
        kept = keep(settings.state_dir, settings.tls_names, settings.tls_host_names)
    except ApplianceError as error:
        return _as_it_is(files_in(settings.state_dir), error)
    if kept.said:
        log.info("%s", kept.said)
    return Kept(kept.files, trouble=untimely(kept.files, check_fit(kept.files)))


_NO_REASON_TO_STAY_AWAY = ("state_dir", "certificate_expired", "certificate_early")


def _as_it_is(there: Certificate, error: ApplianceError) -> Kept:
    """What lies there, although it could not be kept as it should."""
    if error.code not in _NO_REASON_TO_STAY_AWAY:
        raise error
    try:
        leaf = check_fit(there)
    except ApplianceError:
        raise error from None  # there is none to serve with
    late = untimely(there, leaf)
    if late and error.code == "state_dir":
        error = ApplianceError(f"{late.message}, and {error.message}", error.hint, code=late.code)
    return Kept(_served(there, foreign=is_foreign(leaf)), trouble=error)


def harden(context: ssl.SSLContext) -> ssl.SSLContext:
    """The same context, for TLS 1.2 and 1.3 alone, whatever this machine's OpenSSL is set to."""
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.maximum_version = ssl.TLSVersion.MAXIMUM_SUPPORTED
    context.set_ciphers(_CIPHERS)
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION | ssl.OP_CIPHER_SERVER_PREFERENCE
    return context


def keep(state_dir: Path, given: Sequence[str] = (), found: Sequence[str] = ()) -> Kept:
    """Make what the state folder lacks: CA, certificate, both or nothing. A site's own in our place is left as it is.

    ``given``, ``found``: as of `plan`.

    Raises:
        ApplianceError: a name is none, a site's own certificate can't be used, or the folder can't be written.
    """
    files = files_in(state_dir)
    folder = files.key.parent
    with _told(state_dir):
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with _lock(folder / ".lock"):
            due_now = plan(files, given, found)
            said = _make(files, due_now) if due_now.why else ""
            return Kept(_served(files, foreign=due_now.foreign), said)


def _served(files: Certificate, *, foreign: bool) -> Certificate:
    """By the names of their set, which stays there until the renewal after the next."""
    return Certificate(files.certificate.resolve(), files.key.resolve(), None if foreign else files.authority)


def due(state_dir: Path, given: Sequence[str] = (), found: Sequence[str] = ()) -> Plan:
    """What `keep` would do, with nothing changed.

    Raises:
        ApplianceError: a name is none, a site's own certificate can't be used, or the folder can't be read.
    """
    with _told(state_dir):
        return plan(files_in(state_dir), given, found)


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
