"""The server's certificate: a site's own, checked, or a self-signed one made at the first start."""

import contextlib
import datetime
import fcntl
import ipaddress
import logging
import os
import ssl
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from appliance.errors import ApplianceError
from appliance.server.hostnames import host_addresses, host_names
from appliance.server.places import CERTIFICATE_NAME, KEY_NAME
from appliance.server.settings import Settings

log = logging.getLogger(__name__)

ISSUER = "wlk-appliance self-signed"
VALID_DAYS = 825
"""The longest life that all browsers accept."""
RENEW_DAYS = 30


@dataclass(frozen=True, slots=True)
class Certificate:
    """PEM files that fit each other."""

    certificate: Path
    key: Path


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
    return self_signed(settings.state_dir, settings.tls_names)


def check(files: Certificate) -> x509.Certificate:
    """Load both files and see that they fit and are valid now.

    Raises:
        ApplianceError: naming the file and what is wrong with it.
    """
    try:
        certificate = x509.load_pem_x509_certificate(files.certificate.read_bytes())
        key = serialization.load_pem_private_key(files.key.read_bytes(), password=None)
    except OSError as error:
        raise _bad(f"can't read {error.filename}: {error.strerror}", "give files that this user can read") from error
    except (ValueError, TypeError) as error:
        raise _bad(
            f"{files.certificate} and {files.key} are not a PEM certificate and an unencrypted PEM key: {error}",
            "convert them with openssl; --tls-cert is the certificate, --tls-key its private key",
        ) from error
    try:
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(files.certificate, files.key)
    except ssl.SSLError as error:
        reason = (
            "the key is not the certificate's"
            if certificate.public_key() != key.public_key()
            else error.reason or str(error)
        )
        raise _bad(
            f"can't serve with {files.certificate} and {files.key}: {reason}", "give files that belong together"
        ) from error
    now = datetime.datetime.now(datetime.UTC)
    if certificate.not_valid_after_utc <= now:
        raise _bad(f"{files.certificate} expired on {certificate.not_valid_after_utc:%Y-%m-%d}", "renew it")
    if certificate.not_valid_before_utc > now:
        raise _bad(
            f"{files.certificate} is valid only from {certificate.not_valid_before_utc:%Y-%m-%d}",
            "check this machine's clock, or wait",
        )
    return certificate


def self_signed(state_dir: Path, extra_names: Sequence[str] = ()) -> Certificate:
    """Our certificate in the state folder: the one that is there, or a new one if it must be.

    Raises:
        ApplianceError: the folder can't be written.
    """
    files = Certificate(state_dir / CERTIFICATE_NAME, state_dir / KEY_NAME)
    names = subject_names(extra_names)
    try:
        files.key.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with _lock(files.key.parent / ".lock"):
            why = _why_new(files, names)
            if why:
                _write(files, names)
                log.info("new self-signed certificate (%s): %s", why, files.certificate)
    except OSError as error:
        raise ApplianceError(
            f"can't keep a certificate in {state_dir}: {error.strerror or error}",
            "make the folder writable for this user, give another one with --state-dir (WLK_STATE_DIR), "
            "or give --tls-cert and --tls-key",
            code="state_dir",
        ) from error
    return files


def subject_names(extra: Sequence[str] = ()) -> list[x509.GeneralName]:
    """What the certificate is for: names as DNS entries, addresses as IP entries."""
    addresses = {str(address): address for address in host_addresses()}
    names = dict.fromkeys(host_names())
    for name in extra:
        try:
            address = ipaddress.ip_address(name)
            addresses[str(address)] = address
        except ValueError:
            names[_ascii_name(name)] = None
    return [*map(x509.DNSName, names), *map(x509.IPAddress, addresses.values())]


def _ascii_name(name: str) -> str:
    try:
        return name.encode("idna").decode("ascii").lower() if not name.isascii() else name.lower()
    except UnicodeError as error:
        raise ApplianceError(
            f"--tls-names: not a host name: {name!r}", "give names and addresses, by commas"
        ) from error


def _why_new(files: Certificate, names: list[x509.GeneralName]) -> str:
    """Why a new certificate is needed, or nothing. One that is not ours is never replaced."""
    if not files.certificate.exists() and not files.key.exists():
        return "first start"
    try:
        certificate = x509.load_pem_x509_certificate(files.certificate.read_bytes())
        ours = certificate.issuer.get_attributes_for_oid(NameOID.ORGANIZATION_NAME)
        if not ours or ours[0].value != ISSUER:
            check(files)
            return ""
        there = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except (ValueError, FileNotFoundError, x509.ExtensionNotFound):
        return "the old one was incomplete"
    left = certificate.not_valid_after_utc - datetime.datetime.now(datetime.UTC)
    if left < datetime.timedelta(days=RENEW_DAYS):
        return "the old one expires" if left > datetime.timedelta(0) else "the old one expired"
    if not set(names) <= set(there):
        return "names were added"
    try:
        check(files)
    except ApplianceError as error:
        return error.message
    return ""


def _write(files: Certificate, names: list[x509.GeneralName]) -> None:
    key = ec.generate_private_key(ec.SECP256R1())
    first = next(name.value for name in reversed(names) if isinstance(name, x509.DNSName))
    subject = x509.Name(
        [x509.NameAttribute(NameOID.ORGANIZATION_NAME, ISSUER), x509.NameAttribute(NameOID.COMMON_NAME, first[:64])]
    )
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(hours=1))
        .not_valid_after(now + datetime.timedelta(days=VALID_DAYS))
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )
    pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    _replace(files.key, pem, 0o600)
    _replace(files.certificate, certificate.public_bytes(serialization.Encoding.PEM), 0o644)


def _replace(path: Path, content: bytes, mode: int) -> None:
    """Write beside, then rename; the file has its mode from the first byte on."""
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    partial.unlink(missing_ok=True)
    handle = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
    with os.fdopen(handle, "wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    partial.replace(path)


@contextlib.contextmanager
def _lock(path: Path) -> Iterator[None]:
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def _bad(message: str, hint: str) -> ApplianceError:
    return ApplianceError(f"certificate: {message}", hint, code="certificate")
