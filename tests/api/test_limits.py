"""Clients and their connections."""

from __future__ import annotations

import pytest

from pumpwatch.api.limits import ConnectionLimit, client_of


def test_one_client_has_half_of_the_connections_at_most() -> None:
    connections = ConnectionLimit(4)
    assert [connections.enter("a") for _ in range(3)] == [True, True, False]
    assert [connections.enter(name) for name in "bcd"] == [True, True, False]
    connections.leave("a")
    assert connections.open == 3 and connections.enter("d")
    for name in "abcd":
        connections.leave(name)
    assert connections.open == 0 and not connections._by_client


@pytest.mark.parametrize(("address", "client"), [
    ("192.168.1.7", "192.168.1.7"), ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"), ("::ffff:192.168.1.7", "192.168.1.7"),
    ("fe80::1%eth0", "fe80::"), ("nonsense", "nonsense")])
def test_a_network_of_ipv6_is_one_client(address: str, client: str) -> None:
    assert client_of(address) == client
