"""How much one client may ask."""

from __future__ import annotations

import pytest

from pumpwatch.api.limits import KNOWN_ADDRESSES, WINDOW_S, Connections, SlidingWindow, client_of


def test_as_many_requests_as_allowed_pass_in_any_minute() -> None:
    window, passed = SlidingWindow(60), []
    for step in range(4 * 600):
        now_s = 1000.0 + step / 10
        if not window.wait_s("a", now_s):
            passed.append(now_s)
    assert len(passed) == 240  # four minutes at 60
    for first in passed:
        assert sum(int(first) <= at < int(first) + WINDOW_S for at in passed) <= 60


def test_a_refused_client_is_told_when_to_come_back_and_others_are_not_refused() -> None:
    window = SlidingWindow(2)
    assert [window.wait_s("a", 100.5), window.wait_s("a", 110.5)] == [0, 0]
    assert window.wait_s("a", 130.0) == 30
    assert window.wait_s("b", 130.0) == 0
    assert [window.wait_s("a", 160.0), window.wait_s("a", 160.1)] == [0, 10]


def test_a_million_addresses_cost_the_memory_of_a_few_thousand() -> None:
    window = SlidingWindow(2)
    for number in range(KNOWN_ADDRESSES * 2):
        window.wait_s(str(number), 0.0)
    assert len(window._clients) == KNOWN_ADDRESSES


def test_one_client_has_half_of_the_connections_at_most() -> None:
    connections = Connections(4)
    assert [connections.enter("a") for _ in range(3)] == [True, True, False]
    assert [connections.enter(name) for name in "bcd"] == [True, True, False]
    connections.leave("a")
    assert connections.open == 3 and connections.enter("d")
    for name in "abcd":
        connections.leave(name)
    assert connections.open == 0 and not connections._of


@pytest.mark.parametrize(("address", "client"), [
    ("192.168.1.7", "192.168.1.7"), ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::"), ("::ffff:192.168.1.7", "192.168.1.7"),
    ("fe80::1%eth0", "fe80::"), ("nonsense", "nonsense")])
def test_a_network_of_ipv6_is_one_client(address: str, client: str) -> None:
    assert client_of(address) == client
