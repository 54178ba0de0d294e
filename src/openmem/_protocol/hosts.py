"""Addresses to listen on, hosts that are asked for, and where requests come from. Linear in the text."""

from __future__ import annotations

import ipaddress
import re
from functools import lru_cache
from typing import Final

_HOST: Final = re.compile(r"(\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9._-]{1,255})(?::[0-9]{0,5})?", re.ASCII)
_SITE_BITS: Final = 64
"""The network of one IPv6 customer at least: the owner of one of its addresses has them all."""


@lru_cache(maxsize=64)
def is_loopback(host: str) -> bool:
    """Return whether only this machine can reach an address."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"


def is_address(host: str) -> bool:
    """Return whether a host is written as an address: no page can make that point to somewhere else."""
    try:
        ipaddress.ip_address(host.strip("[]"))
    except ValueError:
        return False
    return True


def host_in(header: str) -> str | None:
    """Return the host in a `Host` header, in lower case and without its port, or `None` if it is no such header."""
    found = _HOST.fullmatch(header)
    return None if found is None else found[1].lower()


@lru_cache(maxsize=1024)
def network_of(address: str) -> str:
    """Return what stands for the owner of an address: itself, or the network of 64 bits that an IPv6 address is in."""
    try:
        known = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if known.version == 4:
        return address
    if known.ipv4_mapped is not None:
        return str(known.ipv4_mapped)
    return str(ipaddress.ip_network((known, _SITE_BITS), strict=False))


def http_url(host: str, port: int) -> str:
    """Return the address of a server as a URL."""
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
