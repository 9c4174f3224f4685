"""The analysis of a recorded tape, against the same figures reckoned trade by trade with decimals."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import cache
from itertools import pairwise
from statistics import median
from typing import Any

import numpy as np
import pytest

from pumpwatch.catalogue import Catalogue
from pumpwatch.clock import NS_PER_MS, NS_PER_S
from pumpwatch.listing.abnormal import RULE
from pumpwatch.listing.analysis import analyse
from pumpwatch.model import BUY, FUTURES, NO_SEQUENCE, SELL, SPOT, Instrument, TradeBatch
from tests.corpus import needs_corpus, rows

TAPES = ((SPOT, "binance_spot_btcusdt_20240808.jsonl.gz"), (FUTURES, "binance_usdm_btcusdt_20240808.jsonl.gz"))
PUBLISHED_NS = [1723161330 * NS_PER_S, 1723161421 * NS_PER_S + 500_000_000, 1723161517 * NS_PER_S]
WINDOW_NS = 20 * NS_PER_S


@dataclass(frozen=True)
class Row:
    """A recorded trade."""

    at_ns: int
    price: Decimal
    quantity: Decimal
    bought: bool
    number: int

    @property
    def value(self) -> Decimal:
        return self.price * self.quantity


@cache
def tape(name: str) -> list[Row]:
    found = [Row(one["timestamp_ns"], Decimal(one["price"]), Decimal(one["quantity"]), one["side"] == "buy", int(one["trade_id"]))
             for line in rows(name) for one in line["expected"]]
    return sorted(found, key=lambda row: row.at_ns)


def batch(number: int, trades: list[Row]) -> TradeBatch:
    at_ns = np.array([row.at_ns for row in trades], np.int64)
    return TradeBatch(
        timestamp=at_ns, instrument=np.full(len(trades), number, np.int32),
        price=np.array([float(row.price) for row in trades]), quantity=np.array([float(row.quantity) for row in trades]),
        side=np.array([BUY if row.bought else SELL for row in trades], np.uint8),
        trade_id=np.array([row.number for row in trades], np.int64), sequence_number=np.full(len(trades), NO_SEQUENCE, np.int64),
        received_at=at_ns, flags=np.zeros(len(trades), np.uint8))


def by_time(*batches: TradeBatch) -> TradeBatch:
    together = TradeBatch.concat(list(batches))
    return together.take(np.argsort(together.timestamp, kind="stable"))


def jumped(trades: list[Row], published_ns: int, jump: str) -> list[Row]:
    """Return the trades with every price from 700 ms after the publication on multiplied by `jump`."""
    return [replace(row, price=row.price * Decimal(jump)) if row.at_ns >= published_ns + 700 * NS_PER_MS else row
            for row in trades]


@cache
def analysed(published_ns: int, jump: str = "1") -> dict[str, dict[str, Any]]:
    """Return the row of each market."""
    catalogue = Catalogue()
    ids = [catalogue.add(("binance", market), Instrument(symbol="BTCUSDT", base="BTC", quote="USDT")) for market, _ in TAPES]
    inside, earlier = [], []
    for number, (_, name) in zip(ids, TAPES, strict=True):
        trades = jumped(tape(name), published_ns, jump)
        inside.append(batch(number, [row for row in trades if -WINDOW_NS <= row.at_ns - published_ns < WINDOW_NS]))
        earlier.append(batch(number, [row for row in trades if row.at_ns < published_ns - WINDOW_NS]))
    result = analyse(by_time(*inside), catalogue, ids, published_ns, published_ns + NS_PER_S, by_time(*earlier))
    return {row["market_type"]: row for row in result["instruments"]}


def percent(price: Decimal, reference: Decimal) -> Any:
    return pytest.approx(float((price / reference - 1) * 100), abs=0.00006)


cases = pytest.mark.parametrize(("market", "name", "published_ns"), [
    (market, name, published_ns) for market, name in TAPES for published_ns in PUBLISHED_NS])


@needs_corpus
@cases
def test_prices_volumes_and_the_peak_are_those_of_the_recorded_trades(market: str, name: str, published_ns: int) -> None:
    found = analysed(published_ns)[market]
    until = [row for row in tape(name) if row.at_ns < published_ns + WINDOW_NS]
    window = [row for row in until if row.at_ns >= published_ns - WINDOW_NS]
    before = [row for row in until if row.at_ns < published_ns][-1].price
    assert (found["trades"], found["price_before"], found["price_after"]) == (len(window), float(before), float(window[-1].price))
    assert found["change_percent"] == percent(window[-1].price, before)
    for part, trades in (("before", [row for row in window if row.at_ns < published_ns]),
                         ("after", [row for row in window if row.at_ns >= published_ns])):
        assert found[part]["trades"] == len(trades) > 0
        assert found[part]["quantity"] == pytest.approx(float(sum(row.quantity for row in trades)))
        assert found[part]["buy_value"] == pytest.approx(float(sum(row.value for row in trades if row.bought)))
        assert found[part]["sell_value"] == pytest.approx(float(sum(row.value for row in trades if not row.bought)))
    searched = [row for row in window if row.at_ns >= published_ns - int(RULE["grace_s"] * NS_PER_S)]
    highest = max(row.price for row in searched)
    peak = next(index for index, row in enumerate(searched) if row.price == highest)
    lowest = min(row.price for row in searched[peak:])
    assert found["peak"]["after_announcement_ms"] == (searched[peak].at_ns - published_ns) / NS_PER_MS
    assert (found["peak"]["price"], found["peak"]["change_percent"]) == (float(highest), percent(highest, before))
    assert (found["drawdown"]["price"], found["drawdown"]["percent"]) == (float(lowest), percent(lowest, highest))


@needs_corpus
@cases
def test_each_second_has_its_value_and_share_of_buys(market: str, name: str, published_ns: int) -> None:
    found = analysed(published_ns)[market]["per_second"]
    values: dict[int, list[Decimal]] = {}
    for row in tape(name):
        if -WINDOW_NS <= row.at_ns - published_ns < WINDOW_NS:
            of_second = values.setdefault((row.at_ns - published_ns) // NS_PER_S, [Decimal(0), Decimal(0)])
            of_second[0] += row.value
            of_second[1] += row.value if row.bought else 0
    assert found["second"] == sorted(values) and len(values) > 20
    assert found["value"] == [pytest.approx(float(values[second][0])) for second in sorted(values)]
    assert found["buy_share"] == [pytest.approx(float(bought / total), abs=0.00006)
                                  for _, (total, bought) in sorted(values.items())]


@needs_corpus
@cases
def test_a_market_buy_pays_for_the_trades_that_it_would_have_taken(market: str, name: str, published_ns: int) -> None:
    buys = analysed(published_ns)[market]["market_buys"]
    assert len(buys) == 8
    for found in buys:
        at_ns = published_ns + found["delay_ms"] * NS_PER_MS
        left, quantity, worst, last_ns = Decimal(int(found["value"])), Decimal(0), Decimal(0), 0
        for row in tape(name):
            if row.bought and at_ns <= row.at_ns < published_ns + WINDOW_NS and left > 0:
                part = min(left, row.value)
                left, quantity, worst, last_ns = left - part, quantity + part / row.price, max(worst, row.price), row.at_ns
        assert left == 0
        assert found["price"] == pytest.approx(float(Decimal(int(found["value"])) / quantity), rel=1e-12)
        assert (found["worst_price"], found["filled_after_ms"]) == (float(worst), (last_ns - published_ns) / NS_PER_MS)


@needs_corpus
@cases
@pytest.mark.parametrize("jump", ["1", "1.012"])
def test_normal_and_the_first_abnormal_trade_follow_from_medians(market: str, name: str, published_ns: int, jump: str) -> None:
    """Each trade's return is against the last one a second or more before it; the tape is shorter than the baseline."""
    found = analysed(published_ns, jump)[market]
    search_ns = published_ns - int(RULE["grace_s"] * NS_PER_S)
    trades = [row for row in jumped(tape(name), published_ns, jump) if row.at_ns < published_ns + WINDOW_NS]
    seconds: dict[int, list[Row]] = {}
    for row in trades:
        if row.at_ns < search_ns:
            seconds.setdefault((row.at_ns - search_ns) // NS_PER_S, []).append(row)
    order = sorted(seconds)
    returns = [math.log(seconds[second][-1].price / seconds[earlier][-1].price)
               for earlier, second in pairwise(order)]
    values = [math.log(sum(row.value for row in seconds[second])) for second in order]
    normal = found["baseline"]
    assert normal["seconds"] == len(order) > 10
    assert normal["return_median"] == pytest.approx(median(returns), abs=1e-12)
    assert normal["value_median"] == pytest.approx(median(values))
    deviation = max(RULE["price_deviation_floor"], 1.4826 * median(abs(one - median(returns)) for one in returns))
    spread = max(RULE["volume_deviation_floor"], 1.4826 * median(abs(one - median(values)) for one in values))
    assert (normal["return_deviation"], normal["value_deviation"]) == (pytest.approx(deviation), pytest.approx(spread))
    first = None
    earlier = -1  # the last trade that is a second or more older
    for index, row in enumerate(trades):
        while trades[earlier + 1].at_ns <= row.at_ns - NS_PER_S:
            earlier += 1
        if row.at_ns < search_ns:
            continue
        lately = trades[earlier + 1:index + 1]
        by_price = abs(math.log(row.price / trades[earlier].price) - median(returns)) / deviation
        by_volume = (math.log(sum(one.value for one in lately)) - median(values)) / spread if len(lately) >= 10 else 0.0
        if by_price >= RULE["price_score"] or by_volume >= RULE["volume_score"]:
            first = row
            break
    assert (first is not None) is (jump != "1")
    assert (found["first_abnormal"] or {}).get("trade_id") == (str(first.number) if first else None)
