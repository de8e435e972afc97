import ipaddress
from pathlib import Path

import pytest

from appliance.server.hostnames import host_addresses, host_names, is_passing


def test_host_names_from_the_hosts_file(tmp_path: Path) -> None:
    hosts = tmp_path / "hosts"
    hosts.write_text("127.0.0.1 localhost\n10.1.2.3 box.lab.example box # mine\n10.1.2.4 other.example other\n")
    assert host_names("box", hosts) == ["localhost", "box", "box.local", "box.lab.example"]
    assert host_names("_bad_", hosts) == ["localhost"]


def test_addresses_are_those_the_kernel_has() -> None:
    found = host_addresses()
    assert ipaddress.ip_address("127.0.0.1") in found and ipaddress.ip_address("::1") in found
    assert not [address for address in found if address.version == 6 and address.is_link_local]


def test_addresses_from_the_kernels_tables(tmp_path: Path) -> None:
    (tmp_path / "fib_trie").write_text(
        "Local:\n  +-- 10.0.0.0/8 2 0 2\n     |-- 10.0.0.0\n        /8 link UNICAST\n"
        "     |-- 10.4.5.6\n        /32 host LOCAL\n     |-- 10.255.255.255\n        /32 link BROADCAST\n"
    )
    (tmp_path / "if_inet6").write_text(
        "fd000000000000000000000000000002 02 40 00 80 eth0\nfe800000000000000000000000000001 02 40 20 80 eth0\n"
        "20010db8000000000000000000000005 02 40 00 01 eth0\n"
    )
    assert [str(a) for a in host_addresses(tmp_path)] == ["127.0.0.1", "::1", "10.4.5.6", "fd00::2"]


@pytest.mark.parametrize(
    ("name", "passing"), [("3fa94c1d77be", True), ("3fa94c1d77be.local", True), ("box", False), ("cafe", False)]
)
def test_a_containers_own_name_is_known(name: str, passing: bool) -> None:
    assert is_passing(name) is passing
