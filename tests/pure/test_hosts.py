"""Addresses, hosts and where requests come from."""

from __future__ import annotations

import pytest

from openmem._protocol.hosts import host_in, http_url, is_address, is_loopback, network_of


@pytest.mark.parametrize("host", ["127.0.0.1", "127.9.9.9", "::1", "[::1]", "localhost", "LocalHost"])
def test_only_this_machine_reaches_a_loopback_address(host: str) -> None:
    assert is_loopback(host)


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "10.0.0.1", "localhost.example", "example.com", ""])
def test_others_reach_any_other_address(host: str) -> None:
    assert not is_loopback(host)


def test_address_is_told_from_a_name() -> None:
    assert is_address("127.0.0.1")
    assert is_address("[2001:db8::1]")
    assert is_address("2001:db8::1")
    assert not is_address("example.com")
    assert not is_address("127.0.0.1.example")


@pytest.mark.parametrize(
    ("header", "host"),
    [
        ("Example.com", "example.com"),
        ("example.com:8080", "example.com"),
        ("example.com:", "example.com"),
        ("[2001:DB8::1]:80", "[2001:db8::1]"),
        ("a_b-c.d", "a_b-c.d"),
        ("a" * 255, "a" * 255),
        ("a" * 256, None),
        ("example.com:123456", None),
        ("exa mple", None),
        ("user@example.com", None),
        ("", None),
        ("[::1", None),
    ],
)
def test_host_of_a_header_is_in_lower_case_and_without_its_port(header: str, host: str | None) -> None:
    assert host_in(header) == host


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("10.1.2.3", "10.1.2.3"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("::ffff:10.1.2.3", "10.1.2.3"),
        ("testclient", "testclient"),
    ],
)
def test_network_stands_for_whoever_has_an_address(address: str, network: str) -> None:
    assert network_of(address) == network


def test_url_puts_an_address_with_colons_in_brackets() -> None:
    assert http_url("::1", 80) == "http://[::1]:80"
    assert http_url("127.0.0.1", 8080) == "http://127.0.0.1:8080"
