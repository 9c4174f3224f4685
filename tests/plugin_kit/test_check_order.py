"""The order within frames and the steps between ids are compared with the venue's facts."""

from __future__ import annotations

import dataclasses
import json

import pytest
from pumpwatch_plugins.exchanges.phemex import VENUES as PHEMEX

from pumpwatch.model import Columns, IdKind
from pumpwatch.plugin_kit.check_order import check_order, require_contiguous
from pumpwatch.plugin_kit.results import Problems
from tests.plugin_kit.good_venue import SPOT, changed, frames, samples_of


def test_ids_that_skip_are_not_contiguous() -> None:
    row = check_order(SPOT, samples_of(frames=frames(7)))
    assert row.state == "fail" and "39 of 39 steps between ids skip some (BTCUSDT 1000 then 1007)" in row.detail
    assert check_order(changed(id_kind=IdKind.MONOTONIC), samples_of(frames=frames(7))).state == "ok"


def test_one_trade_that_the_recording_missed_is_only_a_warning() -> None:
    row = check_order(SPOT, samples_of(frames=[*frames()[:10], *frames()[11:]]))
    assert row.state == "warn" and "did the recording miss trades?" in row.detail


def test_rows_that_descend_within_a_frame_need_newest_first() -> None:
    phemex = PHEMEX[0]
    trades = [[1_700_000_000_000_000_000 - number * 10**9, "Buy", 100_000_000 + number, 1_000_000] for number in range(5)]
    seen = [json.dumps({"symbol": "sBTCUSDT", "trades": trades, "type": "incremental", "sequence": 7}).encode()]
    assert check_order(phemex, samples_of(phemex, seen)).state == "ok"
    oldest_first = dataclasses.replace(phemex, newest_first=False)
    row = check_order(oldest_first, samples_of(oldest_first, seen))
    assert row.state == "fail" and "set newest_first" in row.detail


@pytest.mark.parametrize(("ids", "failures"), [([1, 2, 3, 4], 0), ([1, 4, 9, 16], 1)])
def test_a_history_of_any_order_is_checked_for_the_same_steps(ids: list[int], failures: int) -> None:
    columns, problems = Columns(), Problems("binance.spot", "history")
    columns.trade_id, columns.timestamp = ids[::-1], [1_732_186_800_000 + number for number in ids[::-1]]
    require_contiguous(problems, SPOT, "BTCUSDT", {"timestamp": columns.timestamp, "trade_id": columns.trade_id})
    assert len(problems.failures) == failures
