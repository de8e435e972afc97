"""This machine's own names and addresses, read from the kernel and /etc/hosts; nothing is looked up."""

import ipaddress
import re
import socket
from pathlib import Path

_NAME = re.compile(r"(?!-)[A-Za-z0-9-]{1,63}(?<!-)(\.(?!-)[A-Za-z0-9-]{1,63}(?<!-))*")
GIVEN_NAME = re.compile(r"(?!-)[A-Za-z0-9_-]{1,63}(?<!-)(\.(?!-)[A-Za-z0-9_-]{1,63}(?<!-))*")
"""What may be asked for: also the underscores that some networks use."""
_CONTAINER = re.compile(r"[0-9a-f]{12}(\.local)?")
_TEMPORARY = 0x01

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


def is_passing(name: str) -> bool:
    """Whether an engine gave this name to a container, for as long as that lives."""
    return _CONTAINER.fullmatch(name) is not None


def host_addresses(proc: Path = Path("/proc/net")) -> list[Address]:
    """The loopback addresses and those of this machine's interfaces.

    Without IPv6 addresses that no browser can be pointed at, or only for a day: link-local and temporary ones.
    """
    found: list[Address] = [ipaddress.IPv4Address("127.0.0.1"), ipaddress.IPv6Address("::1")]
    found += _ipv4(_read(proc / "fib_trie"))
    for line in _read(proc / "if_inet6").splitlines():
        words = line.split()
        address = ipaddress.IPv6Address(bytes.fromhex(words[0]))
        if not address.is_link_local and not int(words[4], 16) & _TEMPORARY:
            found.append(address)
    return list(dict.fromkeys(found))


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
