"""An analysis has the first abnormal trade, the peak and the volumes of each market, and the order of venues."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pumpwatch.clock import NS_PER_MS, NS_PER_S
from pumpwatch.listing.abnormal import RULE
from pumpwatch.listing.analysis import analyse
from pumpwatch.model import BUY, SELL, Flag, TradeBatch
from tests.listing.market import ANNOUNCED_NS, catalogue_of_venues, trades
from tests.listing.tape import calm, tape

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
    assert len(few) < RULE["baseline_seconds"]
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


def test_a_window_whose_figures_follow_from_arithmetic_has_these_figures() -> None:
    """100 a second at 1.00; at +250 ms 1.10, at +500 ms 1.32 (the peak), at +900 ms 1.20; at +1,500 ms 1.254."""
    jump = tape(0, [(250, 1.1, 500, BUY), (500, 1.32, 100, BUY), (900, 1.2, 50, SELL), (1500, 1.254, 1000, BUY)])
    found = of(analysed(calm(0, from_s=-20, to_s=0), jump), "KITEUSDT")
    assert (found["price_before"], found["price_after"], found["change_percent"]) == (1.0, 1.254, 25.4)
    assert found["first_abnormal"]["after_announcement_ms"] == 250
    assert found["first_abnormal"]["change_percent"] == 10
    assert found["first_abnormal"]["price_score"] == pytest.approx(np.log(1.1) / RULE["price_deviation_floor"], abs=1e-4)
    assert (found["peak"]["after_announcement_ms"], found["peak"]["change_percent"]) == (500, 32)
    assert (found["drawdown"]["after_peak_ms"], found["drawdown"]["percent"]) == (400, -9.0909)
    spike, fade = found["phases"][1:]
    assert (spike["phase"], spike["trades"], spike["value"], spike["change_percent"]) == ("spike", 1, 550, 20)
    assert (fade["phase"], fade["trades"], fade["value"], fade["change_percent"]) == ("fade", 3, 1446, -5)
    assert fade["buy_share"] == pytest.approx(1386 / 1446, abs=1e-4)
    assert found["per_second"]["second"][-2:] == [0, 1]
    assert found["per_second"]["value"][-2:] == [pytest.approx(742), pytest.approx(1254)]
    assert found["per_second"]["buy_share"][-2:] == [pytest.approx(682 / 742, abs=1e-4), 1]


def test_the_twenty_minutes_before_the_window_say_what_is_normal() -> None:
    wild = tape(0, [(ms, 1.02 if ms % 2000 else 1.0, 100, BUY) for ms in range(-1_200_000, -20_000, 1000)])
    step = tape(0, [(-20_000, 1.0, 100, BUY), (300, 1.03, 100, BUY)])
    alone = analyse(step, CATALOGUE, [0], ANNOUNCED_NS, DETECTED_NS)
    beside = analyse(step, CATALOGUE, [0], ANNOUNCED_NS, DETECTED_NS, wild)
    assert of(alone, "KITEUSDT")["first_abnormal"]["after_announcement_ms"] == 300
    assert of(beside, "KITEUSDT")["first_abnormal"] is None
    assert of(beside, "KITEUSDT")["trades"] == 2
    assert of(beside, "KITEUSDT")["baseline"]["return_deviation"] == pytest.approx(1.4826 * np.log(1.02))


def test_a_jump_before_the_publication_is_a_suspected_leak_and_not_the_first_abnormal_trade() -> None:
    early = tape(0, [(-30_000, 1.05, 100, BUY)])
    later = calm(0, from_s=-29, to_s=2, price=1.05)
    result = analysed(calm(0, from_s=-60, to_s=-31), early, later, calm(1, from_s=-60, to_s=2))
    leak = of(result, "KITEUSDT")["leak"]
    assert (leak["suspected"], leak["first"]["after_announcement_ms"]) == (True, -30_000)
    assert of(result, "KITEUSDT")["first_abnormal"] is None
    assert of(result, "1000KITEUSDT")["leak"] == {"suspected": False, "abnormal_trades": 0, "first": None}
    assert [row["market_type"] for row in result["overall"]["leak"]] == ["spot"]


def test_a_venue_that_counts_in_milliseconds_does_not_lead_one_that_counts_in_ns_by_less() -> None:
    coarse = tape(0, [(250, 1.1, 500, BUY)])
    fine = tape(1, [(250.4, 1.1, 500, BUY)], shift_ns=17)
    before = [calm(0, from_s=-20, to_s=0), calm(1, from_s=-20, to_s=0, shift_ns=17)]
    order = analysed(*before, coarse, fine)["overall"]["order"]
    assert [row["market_type"] for row in order] == ["spot", "futures"]
    assert (order[1]["tied_with_first"], order[1]["behind_first_ms"]) == (True, pytest.approx(0.400017))
    assert (order[1]["behind_least_ms"], order[1]["behind_most_ms"]) == (pytest.approx(-0.599983), pytest.approx(0.400018))


def test_a_market_whose_price_follows_another_by_300_ms_has_that_lag() -> None:
    moves = np.random.default_rng(5).normal(0, 0.01, 100).cumsum()
    lead = tape(0, [(-5000 + 100 * k, float(np.exp(moves[k])), 1, BUY) for k in [*range(100), 99]])
    follow = tape(1, [(-4700 + 100 * k, float(np.exp(moves[k])), 1, BUY) for k in range(100)])
    found = analysed(lead, follow)["overall"]["lead_lag"]
    assert found["reference"]["symbol"] == "KITEUSDT"
    (row,) = found["markets"]
    assert (row["symbol"], row["lag_ms"]) == ("1000KITEUSDT", 300)
    assert row["correlation"] > 0.9


PRICES, QUANTITIES = st.sampled_from([0.0, 1e-8, 0.1, 1e9, float("nan")]), st.sampled_from([0.0, 1.0, 1e12])


@given(st.lists(st.tuples(st.integers(-30, 40), PRICES, QUANTITIES), max_size=12))
def test_no_trades_break_it(rows: list[tuple[int, float, float]]) -> None:
    market = trades(0, jump_ms=None).take(slice(0, len(rows)))
    batch = replace(market, timestamp=np.sort(np.array([ANNOUNCED_NS + at * S for at, _, _ in rows], np.int64)),
                    price=np.array([price for _, price, _ in rows], np.float64),
                    quantity=np.array([quantity for _, _, quantity in rows], np.float64))
    assert of(analysed(batch), "KITEUSDT")["trades"] == len(rows)
