"""This machine's own names and addresses, read from the kernel and /etc/hosts; nothing is looked up."""

import ipaddress
import re
import socket
from pathlib import Path

_NAME = re.compile(r"(?!-)[A-Za-z0-9-]{1,63}(?<!-)(\.(?!-)[A-Za-z0-9-]{1,63}(?<!-))*")

Address = ipaddress.IPv4Address | ipaddress.IPv6Address


def host_names(hostname: str | None = None, hosts: Path = Path("/etc/hosts")) -> list[str]:
    """localhost, the host name, its ``.local`` form, and the longer names that /etc/hosts has for it."""
    own = (hostname if hostname is not None else socket.gethostname()).lower()
    names = ["localhost", own]
    if own and "." not in own:
        names.append(f"{own}.local")
    try:
        lines = hosts.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    for line in lines:
        words = line.split("#")[0].lower().split()[1:]
        if own in words:
            names += words
    return [name for name in dict.fromkeys(names) if _NAME.fullmatch(name)]


def host_addresses(proc: Path = Path("/proc/net")) -> list[Address]:
    """The loopback addresses and those of this machine's interfaces, without link-local ones."""
    found: list[Address] = [ipaddress.IPv4Address("127.0.0.1"), ipaddress.IPv6Address("::1")]
    found += _ipv4(_read(proc / "fib_trie"))
    for line in _read(proc / "if_inet6").splitlines():
        found.append(ipaddress.IPv6Address(bytes.fromhex(line.split()[0])))
    return [a for a in dict.fromkeys(found) if not a.is_link_local]


def _ipv4(trie: str) -> list[Address]:
    """Addresses that the kernel's routing table marks as this host's."""
    found: list[Address] = []
    last = ""
    for line in trie.splitlines():
        words = line.split()
        if line.strip().startswith("|--"):
            last = words[1]
        elif words[:3] == ["/32", "host", "LOCAL"]:
            found.append(ipaddress.IPv4Address(last))
    return found


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii")
    except OSError:
        return ""
