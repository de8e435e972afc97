import ipaddress
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec

from appliance.errors import ApplianceError
from appliance.server.authority import AUTHORITY_DAYS, LEAF_DAYS, pem
from appliance.server.renewal import AUTHORITY_RENEW_DAYS, RENEW_DAYS, SELF_SIGNED, plan, subject_names
from appliance.server.tls import files_in
from tests.server.certificates import NAMES, days_ago, put_foreign, put_ours


def test_names_are_dns_and_ip_entries() -> None:
    names = subject_names(["Box.Example", "192.0.2.9", "fd00::9", "bücher.example", "my_box"])
    for name in ("localhost", "box.example", "xn--bcher-kva.example", "my_box"):
        assert x509.DNSName(name) in names
    for address in ("127.0.0.1", "::1", "192.0.2.9", "fd00::9"):
        assert x509.IPAddress(ipaddress.ip_address(address)) in names
    assert len(set(names)) == len(names)


@pytest.mark.parametrize("name", ["two words", "-box", "box..example", "*.example", "10.0.0.256/8", "x" * 64])
def test_what_is_no_name_is_refused(name: str) -> None:
    with pytest.raises(ApplianceError, match="not a host name"):
        subject_names([name])


def test_nothing_to_do(tmp_path: Path) -> None:
    put_ours(tmp_path)
    assert plan(files_in(tmp_path), ["box.example", "192.168.251.7"]).why == "192.168.251.7 was added"
    assert plan(files_in(tmp_path), ["box.example"]).why == ""
    assert plan(files_in(tmp_path)).why == "", "a name too many is no reason"


def test_no_ca_or_none_that_can_sign(tmp_path: Path) -> None:
    files = files_in(tmp_path)
    assert plan(files).why == "first start"
    put_ours(tmp_path)
    (files.key.parent / "ca-key.pem").write_bytes(pem(ec.generate_private_key(ec.SECP256R1())))
    assert plan(files).why == "the CA's key is another's"
    (files.key.parent / "ca-key.pem").unlink()
    assert plan(files).why == "the CA's key is lost" and plan(files).authority is None
    assert files.authority is not None
    files.authority.unlink()
    assert plan(files).why == "there is no CA yet"


def test_ages(tmp_path: Path) -> None:
    files = files_in(tmp_path)
    for days, why in ((RENEW_DAYS + 2, ""), (RENEW_DAYS, "the old one expires"), (0, "the old one expired")):
        put_ours(tmp_path, leaf_made=days_ago(LEAF_DAYS - days))
        found = plan(files)
        assert found.why == why and found.authority is not None
    for days, why in ((AUTHORITY_RENEW_DAYS, "the CA expires"), (0, "the CA expired")):
        put_ours(tmp_path, made=days_ago(AUTHORITY_DAYS - days), leaf_made=days_ago(AUTHORITY_DAYS - days))
        found = plan(files)
        assert found.why == why and found.authority is None


def test_a_late_clock_is_no_reason(tmp_path: Path) -> None:
    """Else a device whose clock starts anew with it would have to be trusted anew each time."""
    put_ours(tmp_path, made=days_ago(-700), leaf_made=days_ago(-700))
    assert plan(files_in(tmp_path)).why == ""


def test_a_leaf_capped_by_its_ca_is_not_renewed_at_once(tmp_path: Path) -> None:
    put_ours(tmp_path, made=days_ago(AUTHORITY_DAYS - AUTHORITY_RENEW_DAYS - 2))
    assert plan(files_in(tmp_path)).why == ""


def test_a_lost_or_damaged_leaf_needs_no_new_ca(tmp_path: Path) -> None:
    files = files_in(tmp_path)
    put_ours(tmp_path)
    files.key.write_bytes(pem(ec.generate_private_key(ec.SECP256R1())))
    assert "the key is not the certificate's" in plan(files).why
    files.certificate.write_text("-----BEGIN CERTIFICATE-----\nMIIB")
    assert plan(files).why == "it was lost" and plan(files).authority is not None


def test_a_leaf_of_another_ca_is_not_ours_to_keep(tmp_path: Path) -> None:
    put_ours(tmp_path / "other")
    put_ours(tmp_path)
    files_in(tmp_path).certificate.write_bytes(files_in(tmp_path / "other").certificate.read_bytes())
    assert plan(files_in(tmp_path)).why == "the old one is not the CA's"


def test_a_name_outside_the_constraints_needs_a_new_ca(tmp_path: Path) -> None:
    put_ours(tmp_path)
    for name in ("hall.example", "198.51.100.4"):
        found = plan(files_in(tmp_path), [name])
        assert found.why == f"{name} is outside what the CA may name" and found.authority is None
        assert x509.DNSName("box.example") in found.kept and x509.DNSName("box.example") in found.subtrees
    below = plan(files_in(tmp_path), ["mic.box.example"])
    assert below.why == "mic.box.example was added" and below.authority is not None


def test_addresses_of_the_host_that_come_later_need_no_new_ca(tmp_path: Path) -> None:
    """What `run_wlk.sh` finds: a public address of a container's machine is as one of its own."""
    put_ours(tmp_path)
    found = plan(files_in(tmp_path), [], ["198.51.100.4", "192.168.251.9"])
    assert found.why == "192.168.251.9 was added" and found.authority is not None
    assert x509.IPAddress(ipaddress.ip_address("198.51.100.4")) in found.left_out


def test_found_addresses_outside_are_left_out_for_the_cas_sake(tmp_path: Path) -> None:
    """The CA of a device that was elsewhere: its names are the same, its public addresses others."""
    private = [name for name in NAMES if isinstance(name, x509.DNSName)]
    put_ours(tmp_path, private)
    found = plan(files_in(tmp_path))
    assert found.authority is not None
    assert set(found.names) | set(found.left_out) == set(subject_names())
    assert all(isinstance(name, x509.IPAddress) for name in found.left_out)


def test_names_once_named_stay(tmp_path: Path) -> None:
    put_ours(tmp_path)
    assert x509.DNSName("box.example") in plan(files_in(tmp_path), ["10.9.9.9"]).kept


def test_others_certificates_are_left_alone(tmp_path: Path) -> None:
    put_foreign(tmp_path, days=3)
    assert plan(files_in(tmp_path), ["new.example"]).foreign
    put_foreign(tmp_path, days=-3)
    with pytest.raises(ApplianceError, match="expired on"):
        plan(files_in(tmp_path))
    put_foreign(tmp_path, organisation=SELF_SIGNED)
    found = plan(files_in(tmp_path))
    assert not found.foreign and found.why == "there is no CA yet"
