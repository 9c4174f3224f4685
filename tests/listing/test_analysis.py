"""An analysis has the first abnormal trade, the peak and the volumes of each market, and the order of venues."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pumpwatch.clock import NS_PER_MS, NS_PER_S
from pumpwatch.listing.analysis import RULE, analyse
from pumpwatch.model import BUY, Flag, TradeBatch
from tests.listing.market import ANNOUNCED_NS, catalogue_of_venues, trades

S = NS_PER_S
CATALOGUE = catalogue_of_venues()
DETECTED_NS = ANNOUNCED_NS + 3 * S


def analysed(*batches: TradeBatch, ids: tuple[int, ...] = (0, 1, 2)) -> dict[str, Any]:
    batch = TradeBatch.concat(list(batches))
    batch = batch.take(np.argsort(batch.timestamp, kind="stable"))
    return analyse(batch, CATALOGUE, list(ids), ANNOUNCED_NS, DETECTED_NS)


def of(result: dict[str, Any], symbol: str) -> dict[str, Any]:
    (found,) = [row for row in result["instruments"] if row["symbol"] == symbol]
    return dict(found)


def test_the_first_trade_after_the_jump_is_the_first_abnormal_one() -> None:
    batch = trades(0, jump_ms=400)
    found = of(analysed(batch), "KITEUSDT")
    jumped = batch.take(batch.timestamp >= ANNOUNCED_NS + 400 * NS_PER_MS)
    first = found["first_abnormal"]
    assert first["at_ns"] == jumped.timestamp[0]
    assert first["trade_id"] == str(jumped.trade_id[0])
    assert "price" in first["reasons"]
    assert first["after_announcement_ms"] == pytest.approx((jumped.timestamp[0] - ANNOUNCED_NS) / 1e6)
    assert first["after_detection_ms"] == pytest.approx(first["after_announcement_ms"] - 3000)


def test_the_peak_is_the_highest_price_with_its_time_and_percent() -> None:
    batch = trades(0, jump_ms=400, jump=1.5)
    found = of(analysed(batch), "KITEUSDT")
    top = int(np.argmax(batch.price))
    assert found["peak"]["price"] == batch.price[top]
    assert found["peak"]["at_ns"] == batch.timestamp[top]
    assert found["peak"]["change_percent"] == pytest.approx(50, abs=0.2)
    before = batch.price[batch.timestamp < ANNOUNCED_NS]
    assert found["price_before"] == before[-1]


def test_a_market_that_does_not_move_has_no_abnormal_trade() -> None:
    result = analysed(trades(0, jump_ms=None))
    assert of(result, "KITEUSDT")["first_abnormal"] is None
    assert result["overall"]["order"] == []


def test_a_burst_at_the_old_price_is_abnormal_by_volume() -> None:
    quiet = trades(0, jump_ms=None, rate=5)
    burst = trades(0, jump_ms=None, rate=400, from_s=2, to_s=4, seed=9)
    burst = replace(burst, price=np.full(len(burst), 0.1), quantity=burst.quantity * 20)
    first = of(analysed(quiet, burst), "KITEUSDT")["first_abnormal"]
    assert first["reasons"] == ["volume"]
    assert 2000 <= first["after_announcement_ms"] <= 3000


def test_venues_are_ordered_by_who_moved_first() -> None:
    result = analysed(trades(0, jump_ms=900), trades(1, jump_ms=100), trades(2, jump_ms=None))
    order = result["overall"]["order"]
    assert [row["market_type"] for row in order] == ["futures", "spot"]
    assert order[0]["behind_first_ms"] == 0
    assert order[1]["behind_first_ms"] == pytest.approx(800, abs=300)
    assert [row["symbol"] for row in result["instruments"]] == ["1000KITEUSDT", "KITEUSDT", "KITE-USDT"]


def test_volumes_before_and_after_add_up_by_side() -> None:
    batch = trades(0, jump_ms=400)
    result = analysed(batch)
    found = of(result, "KITEUSDT")
    bought = batch.take(batch.side == BUY)
    assert found["before"]["trades"] + found["after"]["trades"] == found["trades"] == len(batch)
    assert found["before"]["buy_quantity"] + found["after"]["buy_quantity"] == pytest.approx(bought.quantity.sum())
    for part in ("before", "after"):
        assert found[part]["buy_value"] + found[part]["sell_value"] == pytest.approx(found[part]["value"])
    assert result["overall"]["value_after"] == pytest.approx(found["after"]["value"])


def test_a_coin_without_trades_before_is_judged_by_what_came() -> None:
    found = of(analysed(trades(0, jump_ms=400, from_s=1)), "KITEUSDT")
    assert (found["price_before"], found["before"]["trades"]) == (None, 0)
    assert found["peak"] is not None


def test_with_too_few_trades_before_the_floor_alone_counts() -> None:
    few = trades(0, jump_ms=None, rate=0.2, from_s=-20, to_s=-3)
    assert len(few) < RULE["baseline_trades"]
    found = of(analysed(few, trades(0, jump_ms=0, from_s=0.01)), "KITEUSDT")
    assert found["first_abnormal"]["reasons"] == ["price"]


def test_trades_that_no_public_order_made_are_counted_and_not_judged() -> None:
    calm = trades(0, jump_ms=None)
    odd = replace(calm, price=np.where(np.arange(len(calm)) == 900, 99.0, calm.price),
                  flags=np.where(np.arange(len(calm)) == 900, int(Flag.INSURANCE_FUND), 0).astype(np.uint8))
    found = of(analysed(odd), "KITEUSDT")
    assert (found["odd_trades"], found["trades"], found["first_abnormal"]) == (1, len(calm), None)
    assert found["peak"]["price"] < 1


def test_a_venue_without_trades_has_a_row_too() -> None:
    found = of(analysed(TradeBatch.empty()), "KITE-USDT")
    assert (found["trades"], found["peak"], found["first_abnormal"], found["price_before"]) == (0, None, None, None)


PRICES, QUANTITIES = st.sampled_from([0.0, 1e-8, 0.1, 1e9, float("nan")]), st.sampled_from([0.0, 1.0, 1e12])


@given(st.lists(st.tuples(st.integers(-30, 40), PRICES, QUANTITIES), max_size=12))
def test_no_trades_break_it(rows: list[tuple[int, float, float]]) -> None:
    market = trades(0, jump_ms=None).take(slice(0, len(rows)))
    batch = replace(market, timestamp=np.sort(np.array([ANNOUNCED_NS + at * S for at, _, _ in rows], np.int64)),
                    price=np.array([price for _, price, _ in rows], np.float64),
                    quantity=np.array([quantity for _, _, quantity in rows], np.float64))
    assert of(analysed(batch), "KITEUSDT")["trades"] == len(rows)
