"""The faults of a simulated board, each as a client sees it."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import datetime
from email.utils import parsedate_to_datetime
from typing import Any

import pytest
from pumpwatch_plugins.simulators.upbit import DIALECT, MARKET_DIALECT

from pumpwatch.clock import FakeClock
from pumpwatch.sim.board_faults import ANSWERS, FAULTS, NO_FAULT, VIEWS
from pumpwatch.sim.dialect import Coin
from pumpwatch.sim.ground_truth import TruthWriter
from pumpwatch.sim.http_messages import HttpReply
from pumpwatch.sim.notice_board import NoticeBoard
from pumpwatch.sim.wire import ClientRequest


class Client:
    """Asks a board, each time from another address."""

    def __init__(self) -> None:
        self.clock = FakeClock()
        self.board = NoticeBoard(DIALECT, self.clock, TruthWriter(None, [], {}))
        self.board.posts = DIALECT.seed(self.clock.now_ns(), [])
        self.asked = 0

    def body(self, fault: str) -> bytes:
        self.board.fault, self.asked = fault, self.asked + 1
        return self.board.rest(ClientRequest("GET", DIALECT.url_path, {}, b""), f"10.0.0.{self.asked}").body

    def rows(self, fault: str = NO_FAULT) -> list[dict[str, Any]]:
        rows: list[dict[str, Any]] = json.loads(self.body(fault))["data"]["notices"]
        return rows


@pytest.fixture
def client() -> Client:
    return Client()


def ids(rows: list[dict[str, Any]]) -> list[int]:
    return [row["id"] for row in rows]


def test_a_late_post_comes_ten_seconds_after_its_publication(client: Client) -> None:
    post = client.board.publish(Coin("KITE", 1.0), ["KRW"])
    assert post.number in ids(client.rows()) and post.number not in ids(client.rows("late"))
    client.clock.advance(10)
    assert post.number in ids(client.rows("late"))


@pytest.mark.parametrize(("fault", "hours"), [("hour_ahead", 1), ("hour_behind", -1)])
def test_the_times_are_an_hour_off(client: Client, fault: str, hours: int) -> None:
    right, wrong = (datetime.fromisoformat(rows[0]["first_listed_at"]) for rows in (client.rows(), client.rows(fault)))
    assert (wrong - right).total_seconds() == pytest.approx(hours * 3600, abs=1)


def test_another_order_has_the_same_posts_and_half_a_list_has_the_first_ones(client: Client) -> None:
    whole = ids(client.rows())
    orders = []
    for _ in range(5):
        client.clock.advance(1)
        orders.append(ids(client.rows("reordered")))
    assert all(sorted(order) == sorted(whole) for order in orders) and any(order != whole for order in orders)
    assert ids(client.rows("half")) == whole[:len(whole) // 2]


def test_half_an_answer_is_not_json(client: Client) -> None:
    whole = client.body(NO_FAULT)
    assert client.body("half_json") == whole[:len(whole) // 2]
    with pytest.raises(ValueError):
        json.loads(client.body("half_json"))


def test_every_fault_is_one_or_the_other(client: Client) -> None:
    assert set(FAULTS) == {NO_FAULT, *ANSWERS, *VIEWS, "half_json", "ws_cut", "key_revoked"}
    assert all(client.body(fault) == ANSWERS[fault].body for fault in ANSWERS)


def test_a_deleted_post_is_gone(client: Client) -> None:
    post = client.board.publish(Coin("KITE", 1.0), ["KRW"])
    assert client.board.delete(post.number) is post
    assert post.number not in ids(client.rows())


def test_a_market_that_opens_is_in_the_list() -> None:
    board = NoticeBoard(MARKET_DIALECT, FakeClock(), TruthWriter(None, [], {}))
    board.posts = MARKET_DIALECT.seed(0, [])
    board.publish(Coin("KITE", 1.0), ["KRW", "BTC"])
    rows = json.loads(board.rest(ClientRequest("GET", MARKET_DIALECT.url_path, {}, b""), "10.0.0.1").body)
    assert {"KRW-BTC", "KRW-KITE", "BTC-KITE"} <= {row["market"] for row in rows}


def test_an_answer_has_the_date_by_the_boards_clock(client: Client) -> None:
    answer = client.board.rest(ClientRequest("GET", DIALECT.url_path, {}, b""), "10.1.0.1")
    assert parsedate_to_datetime(answer.headers["Date"]).timestamp() == client.clock.now_ns() // 10**9


def test_an_answer_that_is_the_same_object_each_time_has_its_own_date() -> None:
    clock, same = FakeClock(), HttpReply(200, b"[]")
    board = NoticeBoard(replace(DIALECT, rest=lambda call, board: same), clock, TruthWriter(None, [], {}))
    dates = []
    for _ in range(2):
        clock.advance(30)
        dates.append(board.rest(ClientRequest("GET", DIALECT.url_path, {}, b""), "10.1.0.1").headers["Date"])
    assert dates[0] != dates[1]
