"""Figures of one market, where arithmetic gives the answer."""

from __future__ import annotations

import pytest

from pumpwatch.clock import NS_PER_MS
from pumpwatch.listing.market_figures import drawdown, market_buys, per_second, phases, volume
from pumpwatch.model import BUY, SELL
from tests.listing.market import ANNOUNCED_NS
from tests.listing.tape import tape


def test_a_market_buy_pays_what_takers_paid_from_that_moment_on() -> None:
    """1,000 at +300 ms: 200 at 2.0 and 60 at 10.0, in part, are 260 for 1,000; the sale between does not count."""
    trades = tape(0, [(-500, 1.6, 10, BUY), (100, 1.0, 600, BUY), (299, 1.9, 1, SELL), (300, 2.0, 200, BUY),
                      (350, 9.0, 999, SELL), (420, 10.0, 80, BUY), (1500, 2.5, 400, BUY)])
    rows = {(row["value"], row["delay_ms"]): row for row in market_buys(trades, 1.6, ANNOUNCED_NS)}
    at_300 = rows[1000.0, 300]
    assert at_300["price"] == pytest.approx(1000 / 260)
    assert (at_300["worst_price"], at_300["filled_after_ms"]) == (10, 420)
    assert at_300["over_before_percent"] == pytest.approx((1000 / 260 / 1.6 - 1) * 100, abs=1e-4)
    assert at_300["slippage_percent"] == pytest.approx((1000 / 260 / 1.9 - 1) * 100, abs=1e-4)
    assert rows[1000.0, 100]["price"] == pytest.approx(1000 / 800)  # all of 600 at 1.0, and 200 at 2.0
    assert rows[1000.0, 1000] | {} == {
        "value": 1000.0, "delay_ms": 1000, "value_found": 1000.0, "price": 2.5, "worst_price": 2.5, "filled_after_ms": 1500.0,
        "over_before_percent": 56.25, "slippage_percent": -75.0}
    assert (rows[1000.0, 3000]["price"], rows[1000.0, 3000]["value_found"]) == (None, 0.0)
    assert (rows[10_000.0, 100]["price"], rows[10_000.0, 100]["value_found"]) == (None, 2800.0)


def test_a_market_buy_without_a_trade_has_no_price() -> None:
    rows = market_buys(tape(0, []), None, ANNOUNCED_NS)
    assert len(rows) == 8
    assert {row["price"] for row in rows} == {None}


def test_seconds_are_counted_from_the_publication_and_its_own_second_is_0() -> None:
    trades = tape(0, [(-1000.0, 1.0, 3, BUY), (-0.001, 1.0, 1, SELL), (0, 2.0, 5, SELL), (999, 2.0, 0, BUY), (7000, 4.0, 0, BUY)])
    assert per_second(trades, ANNOUNCED_NS) == {
        "second": [-1, 0, 7], "trades": [2, 2, 1], "value": [4.0, 10.0, 0.0], "buy_share": [0.75, 0.0, None]}


def test_a_drawdown_is_the_lowest_price_after_the_peak() -> None:
    trades = tape(0, [(0, 0.5, 1, BUY), (10, 4.0, 1, BUY), (30, 3.0, 1, SELL), (40, 3.5, 1, BUY)])
    assert drawdown(trades, 1) == {"at_ns": ANNOUNCED_NS + 30 * NS_PER_MS, "after_peak_ms": 20.0, "price": 3.0, "percent": -25.0}
    assert drawdown(trades, 3)["percent"] == 0


def test_phases_share_the_window_without_gap_or_overlap() -> None:
    trades = tape(0, [(-100, 1.0, 1, BUY), (-50, 1.0, 1, SELL), (10, 1.5, 2, BUY), (20, 2.0, 1, BUY), (30, 1.0, 4, SELL)])
    up, spike, fade = phases(trades, 2, 3)
    assert [phase["trades"] for phase in (up, spike, fade)] == [2, 1, 2]
    assert [phase["value"] for phase in (up, spike, fade)] == [2.0, 3.0, 6.0]
    assert [phase["buy_share"] for phase in (up, spike, fade)] == [0.5, 1.0, 0.3333]
    assert up["to_ns"] == spike["from_ns"] == ANNOUNCED_NS + 10 * NS_PER_MS
    assert spike["to_ns"] == fade["from_ns"]
    assert fade["to_ns"] == ANNOUNCED_NS + 30 * NS_PER_MS + 1
    assert [phase["change_percent"] for phase in (up, spike, fade)] == [50, pytest.approx(33.3333), -50]


def test_a_peak_before_the_first_abnormal_trade_leaves_no_spike() -> None:
    trades = tape(0, [(0, 2.0, 1, BUY), (10, 1.0, 1, SELL), (20, 1.5, 1, BUY)])
    up, spike, fade = phases(trades, 1, 0)
    assert (up["trades"], spike["trades"], fade["trades"]) == (1, 0, 2)
    assert (spike["change_percent"], spike["buy_share"]) == (None, None)


def test_volumes_are_sums_by_side() -> None:
    assert volume(tape(0, [(0, 2.0, 3, BUY), (1, 4.0, 1, SELL)])) == {
        "trades": 2, "quantity": 4.0, "value": 10.0, "buy_quantity": 3.0, "buy_value": 6.0, "sell_quantity": 1.0,
        "sell_value": 4.0}
