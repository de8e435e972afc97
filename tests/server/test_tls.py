import datetime
import ipaddress
import os
import stat
import threading
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from appliance.errors import ApplianceError
from appliance.server.hostnames import host_addresses, host_names
from appliance.server.tls import ISSUER, Certificate, check, self_signed, subject_names


def make(folder: Path, *, days: float = 10, organisation: str = "site", other_key: bool = False) -> Certificate:
    """A certificate of someone's own in the places where ours would be."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.ORGANIZATION_NAME, organisation)])
    now = datetime.datetime.now(datetime.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=100))
        .not_valid_after(now + datetime.timedelta(days=days))
        .add_extension(x509.SubjectAlternativeName(subject_names()), critical=False)
        .sign(key, hashes.SHA256())
    )
    files = Certificate(folder / "tls" / "certificate.pem", folder / "tls" / "key.pem")
    files.key.parent.mkdir(parents=True, exist_ok=True)
    files.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    shown = ec.generate_private_key(ec.SECP256R1()) if other_key else key
    files.key.write_bytes(
        shown.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return files


def test_made_once_and_reused(tmp_path: Path) -> None:
    files = self_signed(tmp_path)
    first = files.certificate.read_bytes(), files.key.read_bytes()
    assert stat.S_IMODE(files.key.stat().st_mode) == 0o600
    assert isinstance(check(files).public_key(), ec.EllipticCurvePublicKey)
    self_signed(tmp_path)
    assert (files.certificate.read_bytes(), files.key.read_bytes()) == first


def test_key_is_private_under_any_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        files = self_signed(tmp_path)
    finally:
        os.umask(before)
    assert stat.S_IMODE(files.key.stat().st_mode) == 0o600
    assert stat.S_IMODE(files.key.parent.stat().st_mode) == 0o700


def test_renewed_when_names_change_or_it_expires(tmp_path: Path) -> None:
    first = self_signed(tmp_path).certificate.read_bytes()
    second = self_signed(tmp_path, ["new.example"]).certificate.read_bytes()
    assert second != first
    assert self_signed(tmp_path).certificate.read_bytes() == second, "a name too many is no reason"
    files = make(tmp_path, days=-1, organisation=ISSUER)
    expired = files.certificate.read_bytes()
    assert self_signed(tmp_path).certificate.read_bytes() != expired
    check(files)


def test_half_a_pair_is_made_anew(tmp_path: Path) -> None:
    files = self_signed(tmp_path)
    files.key.unlink()
    check(self_signed(tmp_path))


def test_certificate_of_a_site_in_our_place_is_kept(tmp_path: Path) -> None:
    theirs = make(tmp_path, days=3).certificate.read_bytes()
    assert self_signed(tmp_path, ["new.example"]).certificate.read_bytes() == theirs


def test_starting_at_once_makes_one_certificate(tmp_path: Path) -> None:
    threads = [threading.Thread(target=self_signed, args=(tmp_path,)) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    check(Certificate(tmp_path / "tls" / "certificate.pem", tmp_path / "tls" / "key.pem"))
    assert sorted(path.name for path in (tmp_path / "tls").iterdir()) == [".lock", "certificate.pem", "key.pem"]


@pytest.mark.parametrize(
    ("days", "other_key", "expected"),
    [(-1, False, "expired on"), (10, True, "the key is not the certificate's")],
)
def test_own_certificate_is_checked(tmp_path: Path, days: float, other_key: bool, expected: str) -> None:
    with pytest.raises(ApplianceError, match=expected) as caught:
        check(make(tmp_path, days=days, other_key=other_key))
    assert caught.value.hint


def test_own_certificate_that_is_no_certificate(tmp_path: Path) -> None:
    files = make(tmp_path)
    files.certificate.write_text("hello")
    with pytest.raises(ApplianceError, match="not a PEM certificate"):
        check(files)


def test_names_are_dns_and_ip_entries() -> None:
    names = subject_names(["Box.Example", "192.0.2.9", "fd00::9", "bücher.example"])
    assert x509.DNSName("box.example") in names and x509.DNSName("xn--bcher-kva.example") in names
    assert x509.IPAddress(ipaddress.ip_address("192.0.2.9")) in names
    assert x509.IPAddress(ipaddress.ip_address("fd00::9")) in names


def test_host_names_from_the_hosts_file(tmp_path: Path) -> None:
    hosts = tmp_path / "hosts"
    hosts.write_text("127.0.0.1 localhost\n10.1.2.3 box.lab.example box # mine\n10.1.2.4 other.example other\n")
    assert host_names("box", hosts) == ["localhost", "box", "box.local", "box.lab.example"]
    assert host_names("_bad_", hosts) == ["localhost"]


def test_addresses_are_those_the_kernel_has() -> None:
    found = host_addresses()
    assert ipaddress.ip_address("127.0.0.1") in found and ipaddress.ip_address("::1") in found
    assert not [address for address in found if address.is_link_local]


def test_addresses_from_the_kernels_tables(tmp_path: Path) -> None:
    (tmp_path / "fib_trie").write_text(
        "Local:\n  +-- 10.0.0.0/8 2 0 2\n     |-- 10.0.0.0\n        /8 link UNICAST\n"
        "     |-- 10.4.5.6\n        /32 host LOCAL\n     |-- 10.255.255.255\n        /32 link BROADCAST\n"
    )
    (tmp_path / "if_inet6").write_text(
        "fd000000000000000000000000000002 02 40 00 80 eth0\nfe800000000000000000000000000001 02 40 20 80 eth0\n"
    )
    assert [str(a) for a in host_addresses(tmp_path)] == ["127.0.0.1", "::1", "10.4.5.6", "fd00::2"]
