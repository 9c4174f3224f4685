"""Polling a board politely: ETags, pauses after a rejection, a second address, and real sockets."""

from __future__ import annotations

import ssl
from collections.abc import Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import pytest
from pumpwatch_plugins.sources.upbit import UPBIT

from pumpwatch.clock import FakeClock
from pumpwatch.errors import ServiceUnavailable
from pumpwatch.listing.board_client import BoardClient
from pumpwatch.net.http import Http
from tests.listing.board_server import BoardServer, FakeBoard, row
from tests.listing.machine import HTML, KITE, OLD, Machine


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    made = Machine(tmp_path)
    yield made
    made.ledger.close()


def test_the_same_list_is_not_sent_again(machine: Machine) -> None:
    machine.publish(1, OLD)
    machine.poll(4)
    assert machine.board.statuses == [200, 304, 304, 304]
    machine.publish(2, KITE)
    assert machine.poll(2) == ["KITE"]
    assert machine.board.statuses[4:] == [200, 304]
    assert machine.stats.get("listing_polls_total", source="upbit", outcome="unchanged") == 4


def test_it_asks_as_a_korean_browser_and_says_no_origin_to_another_host(machine: Machine) -> None:
    machine.poll()
    asked = machine.board.requests[0]
    assert asked["accept-language"].startswith("ko-KR")
    assert "Mozilla" in asked["user-agent"]
    assert asked["referer"].startswith("https://upbit.com/")
    assert "origin" not in asked


def test_after_each_rejection_the_board_is_left_alone_twice_as_long(machine: Machine) -> None:
    machine.board.script = [(429, {}, b"slow down")] * 3
    polled_at = []
    for _ in range(60):
        machine.poll()
        if len(machine.board.statuses) > len(polled_at):
            polled_at.append(machine.clock.monotonic())
    pauses = [later - earlier for earlier, later in pairwise(polled_at)]
    assert 30 <= pauses[0] <= 40
    assert 60 <= pauses[1] <= 75
    assert 120 <= pauses[2] <= 140
    assert pauses[3] == 5  # answered: back to the usual interval


@pytest.mark.parametrize("wait", ["90", "Tue, 14 Nov 2023 22:14:55 GMT"])
def test_after_a_rejection_the_board_is_left_alone_for_as_long_as_it_asks(machine: Machine, wait: str) -> None:
    machine.board.script = [(429, {"Retry-After": wait}, b"")]
    machine.poll(16)
    assert machine.board.statuses == [429]
    machine.poll(8)
    assert machine.board.statuses[:2] == [429, 200]


def test_of_two_addresses_the_one_that_answers_is_kept(machine: Machine) -> None:
    second = FakeBoard("http://second.test/notices")
    machine.boards[second.url] = second
    machine.board.script = [(403, {}, HTML)] * 99
    machine.start(replace(UPBIT, url=machine.board.url, fallback_urls=(second.url,)), url="")
    machine.poll(6)
    assert machine.board.statuses == [403]
    assert second.statuses == [200, 304, 304, 304, 304]
    assert machine.watch.up is True


def test_an_address_where_nobody_listens_is_down_and_tried_gently(machine: Machine) -> None:
    machine.start(url="http://nowhere.test/list")
    machine.poll(20)
    assert machine.watch.up is False
    assert 3 <= machine.stats.get("listing_polls_total", source="upbit", outcome="failed") <= 10
    assert machine.watch.state()["reason"]


def test_a_list_that_was_not_confirmed_is_sent_again() -> None:
    board = FakeBoard()
    board.rows = [row(1, KITE, FakeClock().now_ns())]
    client = BoardClient(UPBIT, board.fetch, FakeClock(), board.url)
    for _ in range(2):
        rows = client.read()
        assert rows is not None and [notice.notice_id for notice in rows.notices] == ["1"]
    client.confirm()
    assert client.read() is None
    assert board.statuses == [200, 200, 304]


def test_a_board_is_polled_over_real_sockets() -> None:
    with BoardServer() as server:
        server.rows = [row(1, KITE, FakeClock().now_ns())]
        client = BoardClient(UPBIT, Http(ssl.create_default_context(), timeout_s=5).fetch, FakeClock(), server.url)
        rows = client.read()
        assert rows is not None and [notice.title for notice in rows.notices] == [KITE]
        client.confirm()
        assert client.read() is None
        server.script = [(429, {"retry-after": "90"}, b"slow down")]
        with pytest.raises(ServiceUnavailable, match="answers 429: slow down"):
            client.read()
        assert 90 <= client.rest_s() <= 99 and not client.due()
