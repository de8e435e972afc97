"""Certificates of others and of other times, and real handshakes."""

import datetime
import ssl
from collections.abc import Sequence
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from appliance.server import generations
from appliance.server.authority import Authority, new_authority, new_leaf, pem
from appliance.server.certificate import Certificate, load
from appliance.server.renewal import subject_names
from appliance.server.tls import files_in

NAMES = (*subject_names(), x509.DNSName("box.example"))


def days_ago(days: float) -> datetime.datetime:
    return datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=days)


def put_foreign(
    state_dir: Path, *, days: float = 10, organisation: str = "site", other_key: bool = False, begin_days: float = 100
) -> Certificate:
    """A certificate of someone's own in the places where ours would be."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, organisation)])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(days_ago(begin_days))
        .not_valid_after(days_ago(-days))
        .add_extension(x509.SubjectAlternativeName(subject_names()), critical=False)
        .sign(key, hashes.SHA256())
    )
    files = files_in(state_dir)
    files.key.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    files.certificate.write_bytes(pem(certificate))
    files.key.write_bytes(pem(ec.generate_private_key(ec.SECP256R1()) if other_key else key))
    return files


def put_ours(
    state_dir: Path,
    names: Sequence[x509.GeneralName] = NAMES,
    *,
    made: datetime.datetime | None = None,
    leaf_made: datetime.datetime | None = None,
) -> Authority:
    """Our files as they were made at another time."""
    authority = new_authority(names, now=made)
    leaf, key = new_leaf(authority, names, now=leaf_made)
    files = files_in(state_dir)
    files.key.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    generations.publish(
        files.key.parent,
        {
            "ca.pem": pem(authority.certificate),
            "ca-key.pem": pem(authority.key),
            "certificate.pem": pem(leaf) + pem(authority.certificate),
            "key.pem": pem(key),
        },
    )
    return authority


def loaded(path: Path | None) -> x509.Certificate:
    assert path is not None
    certificate = load(path)
    assert certificate is not None
    return certificate


def serving(files: Certificate) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(files.certificate, files.key)
    return context


def shake_hands(server: ssl.SSLContext, name: str, trust: Path | ssl.SSLContext | None) -> x509.Certificate:
    """The certificate that a client gets which trusts this CA alone, asks for this name, and is strict."""
    assert trust is not None
    trusting = trust if isinstance(trust, ssl.SSLContext) else ssl.create_default_context(cafile=trust)
    trusting.verify_flags |= ssl.VERIFY_X509_STRICT
    to_server, to_client = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = trusting.wrap_bio(to_client, to_server, server_hostname=name)
    sides = [client, server.wrap_bio(to_server, to_client, server_side=True)]
    for _ in range(10):
        for side in list(sides):
            try:
                side.do_handshake()
                sides.remove(side)
            except ssl.SSLWantReadError:
                continue
    assert not sides
    shown = client.getpeercert(binary_form=True)
    assert shown
    return x509.load_der_x509_certificate(shown)


def stands(files: Certificate) -> None:
    """The pair can be served with, and a browser that trusts the CA beside it takes it."""
    shake_hands(serving(files), "localhost", files.authority)
