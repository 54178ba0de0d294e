"""Addresses of the public internet, told from all that a request on behalf of others must not reach."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network, IPv6Network, ip_address
from typing import Final

# A list of our own: what the standard library calls global differs from one version of Python to the next.
_RESERVED_4: Final = tuple(
    map(
        IPv4Network,
        (
            "0.0.0.0/8",  # this host
            "10.0.0.0/8",  # private
            "100.64.0.0/10",  # shared by the customers of a provider
            "127.0.0.0/8",  # loopback
            "169.254.0.0/16",  # link-local, and the metadata of clouds
            "172.16.0.0/12",  # private
            "192.0.0.0/24",  # protocols
            "192.0.2.0/24",  # documentation
            "192.88.99.0/24",  # relays of 6to4
            "192.168.0.0/16",  # private
            "198.18.0.0/15",  # benchmarks
            "198.51.100.0/24",  # documentation
            "203.0.113.0/24",  # documentation
            "224.0.0.0/4",  # multicast
            "240.0.0.0/4",  # reserved, and broadcast
        ),
    )
)
_UNICAST_6: Final = IPv6Network("2000::/3")
_RESERVED_6: Final = tuple(
    map(
        IPv6Network,
        (
            "2001::/23",  # protocols, Teredo among them
            "2001:db8::/32",  # documentation
            "2002::/16",  # 6to4: an IPv4 address inside
            "3fff::/20",  # documentation
        ),
    )
)
_NAT64: Final = IPv6Network("64:ff9b::/96")


def is_public(address: str) -> bool:
    """Return whether an address belongs to the public internet.

    Loopback, private, shared, link-local, multicast and reserved addresses do not, nor do addresses of IPv6 with one of
    IPv4 inside (mapped, compatible, 6to4, Teredo), but for those of NAT64, where the one inside counts.

    Args:
        address: An address in figures, as the system's search for names returns it; anything else is not public.
    """
    try:
        found = ip_address(address)
    except ValueError:
        return False
    if isinstance(found, IPv4Address):
        return _is_public_4(found)
    if found.scope_id is not None:
        return False
    if found in _NAT64:
        return _is_public_4(IPv4Address(int(found) & 0xFFFFFFFF))
    return found in _UNICAST_6 and not any(found in network for network in _RESERVED_6)


def _is_public_4(address: IPv4Address) -> bool:
    return not any(address in network for network in _RESERVED_4)
