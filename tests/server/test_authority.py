import datetime
import ipaddress
import ssl
import subprocess
from pathlib import Path

import pytest
from cryptography import x509

from appliance.server.authority import (
    AUTHORITY_DAYS,
    LEAF_DAYS,
    Authority,
    new_authority,
    new_leaf,
    pem,
    permits,
)
from appliance.server.certificate import Certificate
from tests.server.certificates import days_ago, serving, shake_hands

BOX = [
    x509.DNSName("localhost"),
    x509.DNSName("box"),
    x509.DNSName("box.lab.example"),
    x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
    x509.IPAddress(ipaddress.ip_address("10.4.5.6")),
    x509.IPAddress(ipaddress.ip_address("fd00::9")),
    x509.IPAddress(ipaddress.ip_address("203.0.113.7")),
    x509.IPAddress(ipaddress.ip_address("2001:db8:1:2::3")),
]
LATER = ["192.168.7.7", "172.31.0.1", "169.254.3.4", "2001:db8:1:2::99", "mic.box"]
OUTSIDE = ["evil.example", "notbox", "lab.example", "203.0.113.8", "2001:db8:1:3::3", "172.32.0.1"]


def general(text: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(text))
    except ValueError:
        return x509.DNSName(text)


def write(folder: Path, authority: Authority, names: list[x509.GeneralName]) -> Certificate:
    leaf, key = new_leaf(authority, names)
    files = Certificate(folder / "certificate.pem", folder / "key.pem", folder / "ca.pem")
    files.certificate.write_bytes(pem(leaf) + pem(authority.certificate))
    files.key.write_bytes(pem(key))
    (folder / "ca.pem").write_bytes(pem(authority.certificate))
    return files


def openssl_says(files: Certificate, name: str) -> str:
    kind = "-verify_ip" if isinstance(general(name), x509.IPAddress) else "-verify_hostname"
    words = ["openssl", "verify", "-x509_strict", "-no-CApath", "-no-CAstore", "-CAfile", str(files.authority)]
    done = subprocess.run(
        [*words, "-purpose", "sslserver", kind, name, str(files.certificate)],
        capture_output=True,
        text=True,
        check=False,
    )
    return "" if done.returncode == 0 else done.stderr


def test_every_name_is_accepted_under_the_ca(tmp_path: Path) -> None:
    files = write(tmp_path, new_authority(BOX), BOX)
    for name in BOX:
        shake_hands(serving(files), str(name.value), files.authority)
        assert openssl_says(files, str(name.value)) == ""


def test_what_comes_later_in_the_same_networks_needs_no_other_ca(tmp_path: Path) -> None:
    authority = new_authority(BOX)
    files = write(tmp_path, authority, [*BOX, *map(general, LATER)])
    for name in LATER:
        assert permits(authority.certificate, general(name))
        shake_hands(serving(files), name, files.authority)
        assert openssl_says(files, name) == ""


@pytest.mark.parametrize("name", OUTSIDE)
def test_a_name_outside_is_refused_though_the_ca_signed_it(tmp_path: Path, name: str) -> None:
    authority = new_authority(BOX)
    assert not permits(authority.certificate, general(name))
    files = write(tmp_path, authority, [*BOX, general(name)])
    with pytest.raises(ssl.SSLCertVerificationError, match="permitted subtree violation"):
        shake_hands(serving(files), name, files.authority)
    assert "permitted subtree violation" in openssl_says(files, name)


def test_a_ca_under_the_ca_is_refused(tmp_path: Path) -> None:
    """Its path length is 0: a leaf's key signs nothing."""
    authority = new_authority(BOX)
    leaf, key = new_leaf(authority, BOX)
    below, below_key = new_leaf(Authority(leaf, key), BOX)
    files = write(tmp_path, authority, BOX)
    files.certificate.write_bytes(pem(below) + pem(leaf))
    files.key.write_bytes(pem(below_key))
    with pytest.raises(ssl.SSLCertVerificationError):
        shake_hands(serving(files), "localhost", files.authority)


def test_shape_of_the_ca() -> None:
    certificate = new_authority(BOX).certificate
    constraints = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
    assert constraints.critical and constraints.value == x509.BasicConstraints(ca=True, path_length=0)
    usage = certificate.extensions.get_extension_for_class(x509.KeyUsage)
    assert usage.critical and usage.value.key_cert_sign and usage.value.crl_sign and not usage.value.digital_signature
    assert certificate.extensions.get_extension_for_class(x509.NameConstraints).critical
    assert certificate.not_valid_after_utc - certificate.not_valid_before_utc == datetime.timedelta(days=AUTHORITY_DAYS)
    assert new_authority(BOX).certificate.subject != certificate.subject, "two CAs of a device can be told apart"


def test_a_leaf_is_short_lived_and_does_not_outlive_its_ca() -> None:
    authority = new_authority(BOX)
    leaf, _ = new_leaf(authority, BOX)
    assert leaf.not_valid_after_utc - leaf.not_valid_before_utc == datetime.timedelta(days=LEAF_DAYS)
    old = new_authority(BOX, now=days_ago(AUTHORITY_DAYS - 100))
    assert new_leaf(old, BOX)[0].not_valid_after_utc == old.certificate.not_valid_after_utc


def test_a_new_ca_takes_over_constraints(tmp_path: Path) -> None:
    first = new_authority([x509.DNSName("a.example")])
    subtrees = first.certificate.extensions.get_extension_for_class(x509.NameConstraints).value.permitted_subtrees
    second = new_authority([x509.DNSName("b.example")], subtrees or ())
    assert all(permits(second.certificate, x509.DNSName(name)) for name in ("a.example", "b.example"))
