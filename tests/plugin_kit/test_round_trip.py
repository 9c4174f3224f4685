"""Trades that a dialect sent are compared with those that a collector stored."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from pumpwatch_plugins.simulators.binance import SPOT_DIALECT

from pumpwatch.catalogue import Catalogue
from pumpwatch.model import IdKind, Instrument, TradeBatch
from pumpwatch.plugin_kit.round_trip import check_round_trip, compare_trades
from pumpwatch.sim.ground_truth import RECORD, Truth
from tests.plugin_kit.good_venue import SPOT, changed


@pytest.fixture
def catalogue() -> Catalogue:
    known = Catalogue()
    known.add_if_new(("binance", "spot"), Instrument(symbol="BTCUSDT", base="BTC", quote="USDT"))
    return known


def truth_of(count: int) -> Truth:
    records = np.zeros(count, RECORD)
    records["trade_id"] = np.arange(1, count + 1)
    records["timestamp"], records["price"], records["quantity"] = records["trade_id"] * 10, 2.5, 4.0
    return Truth(records, ["binance.spot"], [["BTCUSDT"]], [])


def stored_of(count: int) -> TradeBatch:
    ids = np.arange(1, count + 1)
    zeros = np.zeros(count, np.uint8)
    return TradeBatch(ids * 10, zeros.astype(np.int32), np.full(count, 2.5), np.full(count, 4.0), zeros, ids, ids, ids, zeros)


def test_the_same_trades_on_both_sides_are_ok(catalogue: Catalogue) -> None:
    row = compare_trades(SPOT, truth_of(3), stored_of(3), catalogue)
    assert (row.of, row.check, row.state) == ("binance.spot", "round trip", "ok")
    assert row.detail == "3 trades sent and stored, each once and unchanged"


def test_a_missing_a_changed_and_a_doubled_trade_are_named(catalogue: Catalogue) -> None:
    missing = compare_trades(SPOT, truth_of(3), stored_of(2), catalogue)
    assert missing.state == "fail" and "of 3 trades sent 1 are not stored, and 0 are stored that were not sent" in missing.detail
    inverted = dataclasses.replace(stored_of(3), side=np.ones(3, np.uint8))
    wrong = compare_trades(SPOT, truth_of(3), inverted, catalogue)
    assert "3 are not stored, and 3 are stored" in wrong.detail and "'buy'" in wrong.detail and "'sell'" in wrong.detail
    doubled = compare_trades(SPOT, truth_of(1), TradeBatch.concat([stored_of(1), stored_of(1)]), catalogue)
    assert doubled.state == "fail" and "1 are stored that were not sent" in doubled.detail


def test_ids_are_compared_only_if_the_venue_s_are_ordered_numbers(catalogue: Catalogue) -> None:
    other_ids = dataclasses.replace(stored_of(3), trade_id=np.array([7, 8, 9]))
    assert compare_trades(SPOT, truth_of(3), other_ids, catalogue).state == "fail"
    assert compare_trades(changed(id_kind=IdKind.UNIQUE), truth_of(3), other_ids, catalogue).state == "ok"


def test_nothing_sent_is_a_failure(catalogue: Catalogue) -> None:
    row = compare_trades(SPOT, truth_of(0), stored_of(0), catalogue)
    assert row.state == "fail" and "no subscription led to trades" in row.detail


def test_a_simulator_that_does_not_start_is_a_failure_of_each_venue(capfd: pytest.CaptureFixture[str]) -> None:
    nowhere = changed(exchange="nowhere")
    (row,) = check_round_trip([(nowhere, SPOT_DIALECT)], "")
    assert (row.of, row.state) == ("nowhere.spot", "fail") and "the simulator did not start" in row.detail
    assert "nowhere.spot" in capfd.readouterr().err
