"""A certificate and its key on disk: whether they can be served with."""

import datetime
import ssl
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import serialization

from appliance.errors import ApplianceError


@dataclass(frozen=True, slots=True)
class Certificate:
    """PEM files that fit each other; ``authority`` is the CA to be trusted, where it is ours."""

    certificate: Path
    key: Path
    authority: Path | None = None


def load(path: Path) -> x509.Certificate | None:
    """The first certificate of a PEM file; nothing where there is none.

    Raises:
        OSError: there is a file, and it can't be read.
    """
    try:
        return x509.load_pem_x509_certificate(path.read_bytes())
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return None


def check(files: Certificate) -> x509.Certificate:
    """Load both files and see that they fit and are valid now.

    Raises:
        ApplianceError: naming the file and what is wrong with it.
    """
    certificate = check_fit(files)
    if wrong := untimely(files, certificate):
        raise wrong
    return certificate


def untimely(files: Certificate, certificate: x509.Certificate) -> ApplianceError | None:
    """What to say of a certificate that has expired or is not valid yet."""
    now = datetime.datetime.now(datetime.UTC)
    if certificate.not_valid_after_utc <= now:
        expired = f"{files.certificate} expired on {certificate.not_valid_after_utc:%Y-%m-%d}"
        return _bad(expired, "renew it", "certificate_expired")
    if certificate.not_valid_before_utc > now:
        early = f"{files.certificate} is valid only from {certificate.not_valid_before_utc:%Y-%m-%d}"
        return _bad(early, "check this machine's clock, or wait", "certificate_early")
    return None


def check_fit(files: Certificate) -> x509.Certificate:
    """Load both files and see that they fit, whatever the time is.

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
    return certificate


def _bad(message: str, hint: str, code: str = "certificate") -> ApplianceError:
    return ApplianceError(f"certificate: {message}", hint, code=code)
