"""Making certificates: a local CA that may name this device only, and leaves under it.

`scripts/wlk_cert.sh` makes the same with openssl; each goes on with what the other made.
"""

import datetime
import ipaddress
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

AUTHORITY = "wlk-appliance local CA"
LEAF = "wlk-appliance"
AUTHORITY_DAYS = 3650
LEAF_DAYS = 397
"""The longest life that all browsers accept of a new certificate."""
BACKDATED = datetime.timedelta(days=1)
"""For browsers on machines whose clock is late."""

PRIVATE = tuple(
    map(
        ipaddress.ip_network,
        (
            "10.0.0.0/8",
            "172.16.0.0/12",
            "192.168.0.0/16",
            "169.254.0.0/16",
            "127.0.0.0/8",
            "::1/128",
            "fc00::/7",
            "fe80::/10",
        ),
    )
)
"""Addresses that every CA of ours may name, so that another lease needs no other CA."""


@dataclass(frozen=True, slots=True)
class Authority:
    """A CA that can sign."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey


def new_authority(
    names: Sequence[x509.GeneralName],
    also: Iterable[x509.GeneralName] = (),
    *,
    now: datetime.datetime | None = None,
) -> Authority:
    """A CA for these names and all private addresses; ``also`` are constraints taken over from the CA before."""
    key = ec.generate_private_key(ec.SECP256R1())
    identifier = x509.SubjectKeyIdentifier.from_public_key(key.public_key())
    subject = _subject(AUTHORITY, f"wlk-appliance {_first(names)[:40]} {identifier.digest.hex()[:8]}")
    permitted = dict.fromkeys([*map(_subtree, names), *map(x509.IPAddress, PRIVATE), *also])
    begin = (now or datetime.datetime.now(datetime.UTC)) - BACKDATED
    certificate = (
        _builder(subject, subject, key, begin, begin + datetime.timedelta(days=AUTHORITY_DAYS))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .add_extension(x509.NameConstraints(list(permitted), None), critical=True)
        .add_extension(identifier, critical=False)
        .sign(key, hashes.SHA256())
    )
    return Authority(certificate, key)


def new_leaf(
    authority: Authority, names: Sequence[x509.GeneralName], *, now: datetime.datetime | None = None
) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    """A server's certificate for these names, which does not outlive its CA, with a key of its own."""
    key = ec.generate_private_key(ec.SECP256R1())
    begin = (now or datetime.datetime.now(datetime.UTC)) - BACKDATED
    end = min(begin + datetime.timedelta(days=LEAF_DAYS), authority.certificate.not_valid_after_utc)
    certificate = (
        _builder(_subject(LEAF, _first(names)[:64]), authority.certificate.subject, key, begin, end)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.certificate.public_key()),  # type: ignore[arg-type]
            critical=False,
        )
        .sign(authority.key, hashes.SHA256())
    )
    return certificate, key


def permitted(certificate: x509.Certificate) -> list[x509.GeneralName]:
    """The names and networks that a CA may name; none for one without constraints."""
    try:
        constraints = certificate.extensions.get_extension_for_class(x509.NameConstraints).value
    except x509.ExtensionNotFound:
        return []
    return list(constraints.permitted_subtrees or [])


def permits(certificate: x509.Certificate, name: x509.GeneralName) -> bool:
    """Whether a CA may name this; a permitted DNS name stands for those below it too."""
    if isinstance(name, x509.DNSName):
        return any(
            f".{name.value}".endswith(f".{subtree.value}")
            for subtree in permitted(certificate)
            if isinstance(subtree, x509.DNSName)
        )
    assert isinstance(name, x509.IPAddress)
    return any(
        name.value in subtree.value
        for subtree in permitted(certificate)
        if isinstance(subtree, x509.IPAddress)
        and isinstance(subtree.value, ipaddress.IPv4Network | ipaddress.IPv6Network)
    )


def is_private(name: x509.IPAddress) -> bool:
    return any(name.value in network for network in PRIVATE)


def pem(made: x509.Certificate | ec.EllipticCurvePrivateKey) -> bytes:
    if isinstance(made, x509.Certificate):
        return made.public_bytes(serialization.Encoding.PEM)
    return made.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )


def fingerprint(certificate: x509.Certificate) -> str:
    """SHA-256, as browsers and openssl show it."""
    return certificate.fingerprint(hashes.SHA256()).hex(":").upper()


def _subtree(name: x509.GeneralName) -> x509.GeneralName:
    """The constraint that permits a name: of a public IPv6 address all of its link, for the rest changes."""
    if not isinstance(name, x509.IPAddress):
        return name
    network = next((private for private in PRIVATE if name.value in private), None)
    if network is None:
        network = ipaddress.ip_network(f"{name.value}/{32 if name.value.version == 4 else 64}", strict=False)
    return x509.IPAddress(network)


def _builder(
    subject: x509.Name,
    issuer: x509.Name,
    key: ec.EllipticCurvePrivateKey,
    begin: datetime.datetime,
    end: datetime.datetime,
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(end)
    )


def _subject(organisation: str, name: str) -> x509.Name:
    return x509.Name(
        [x509.NameAttribute(NameOID.ORGANIZATION_NAME, organisation), x509.NameAttribute(NameOID.COMMON_NAME, name)]
    )


def _first(names: Sequence[x509.GeneralName]) -> str:
    """The name that tells the device best: the first that is not localhost."""
    dns = [name.value for name in names if isinstance(name, x509.DNSName)]
    return next((name for name in dns if name != "localhost"), "localhost")


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )
