"""Latency is fixed, or drawn from the tape's own delays."""

from __future__ import annotations

from random import Random

from pumpwatch.paper.latency import LatencyModel
from pumpwatch.paper.settings import Settings
from tests.paper.tapes import BUYS, Row, tape

ROWS: list[Row] = [(at, 1.0, 1, BUYS) for at in range(100)]


def test_a_fixed_latency_is_that_of_orders_and_of_what_is_seen() -> None:
    model = LatencyModel(tape(ROWS), Settings(latency_ms=2.5), Random(1))
    assert (model.view_ns, model.order_ns(0), model.order_ns(1)) == (2_500_000,) * 3


def test_a_measured_one_is_drawn_from_the_tape_and_a_market_without_trades_has_that_of_all() -> None:
    found = tape(ROWS, behind_ms=7)
    found.received_at[:50] += 1_000_000
    found.received_at[50] += 10**12  # fetched from the history later
    model = LatencyModel(found, Settings(latency="measured"), Random(1))
    assert model.view_ns == 0
    assert {model.order_ns(0) for _ in range(200)} == {7_000_000, 8_000_000} == {model.order_ns(1) for _ in range(200)}


def test_a_tape_without_delays_has_the_fixed_latency() -> None:
    model = LatencyModel(tape(ROWS, behind_ms=0), Settings(latency="measured", latency_ms=3), Random(1))
    assert model.order_ns(0) == 3_000_000
