"""Score trades against their market's baseline, and find the abnormal ones.

The baseline is the `baseline_s` seconds before the search. The search begins `grace_s` before the publication, because notices
are dated in whole seconds and the venues' clocks differ from ours. Each second with a trade gives two figures: its return,
ln(last price / last price before the second), and ln(value traded in it). The baseline has the median of each figure, and its
deviation: 1.4826 x the median absolute deviation, at least `price_deviation_floor` and `volume_deviation_floor`, because a calm
market repeats its price. With fewer than `baseline_seconds` seconds with trades, the return's median is 0, its deviation is the
floor, and volume is not scored.

A trade's price score is |return - median| / deviation, where its return is ln(price / last price at least one second earlier).
Its volume score is (ln(value of the second that ends with the trade) - median) / deviation. A trade is abnormal if its price
score reaches `price_score`, or its volume score reaches `volume_score` with at least `burst_trades` trades in that second.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pumpwatch.clock import NS_PER_S
from pumpwatch.model import Flag, Float64, Int64, TradeBatch

RULE = {
    "baseline_s": 1200.0, "grace_s": 2.0, "leak_s": 60.0, "baseline_seconds": 10, "price_score": 8.0,
    "price_deviation_floor": 0.000625, "volume_score": 6.0, "volume_deviation_floor": 0.25, "burst_trades": 10,
}
ODD = int(Flag.BLOCK | Flag.INSURANCE_FUND | Flag.ADL | Flag.INTERNAL)
NORMAL_OF_MAD = 1.4826  # x the median absolute deviation = the standard deviation of a normal distribution
SMALLEST = 1e-300  # so that the logarithm of 0 is defined


@dataclass(frozen=True, slots=True)
class Normal:
    """The baseline of a market. seconds: those with trades; median and deviation of their ln returns and ln values.

    value_median: None if there were too few seconds, so that volume is not scored.
    """

    seconds: int = 0
    return_median: float = 0.0
    return_deviation: float = RULE["price_deviation_floor"]
    value_median: float | None = None
    value_deviation: float = RULE["volume_deviation_floor"]

    def as_json(self) -> dict[str, Any]:
        """Return it as plain data."""
        return {"seconds": self.seconds, "return_median": self.return_median, "return_deviation": self.return_deviation,
                "value_median": self.value_median, "value_deviation": self.value_deviation}


@dataclass(frozen=True, slots=True)
class Scores:
    """The scores of trades, one of each per trade. volume: 0 if it is not scored."""

    price: Float64
    volume: Float64

    def abnormal(self) -> NDArray[np.bool_]:
        """Return which trades are abnormal."""
        return np.asarray((self.price >= RULE["price_score"]) | (self.volume >= RULE["volume_score"]), np.bool_)

    def reasons(self, index: int) -> list[str]:
        """Return why a trade is abnormal: `price`, `volume`, or both."""
        return [name for name, score, limit in (("price", self.price, RULE["price_score"]),
                                                ("volume", self.volume, RULE["volume_score"])) if score[index] >= limit]


def odd_rows(trades: TradeBatch) -> NDArray[np.bool_]:
    """Return which trades are not analysed: they have no price, or did not come from a public order."""
    return np.asarray(((trades.flags & ODD) != 0) | ~(np.isfinite(trades.price) & (trades.price > 0)), np.bool_)


def search_ns(announced_at_ns: int) -> int:
    """Return the time (ns) at which the search for the first abnormal trade begins."""
    return announced_at_ns - int(RULE["grace_s"] * NS_PER_S)


def baseline_from_ns(announced_at_ns: int) -> int:
    """Return the start (ns) of a publication's baseline."""
    return search_ns(announced_at_ns) - int(RULE["baseline_s"] * NS_PER_S)


def normal_of(timestamp: Int64, price: Float64, value: Float64, until_ns: int) -> Normal:
    """Return the baseline of the `baseline_s` before `until_ns`. The columns are of one market, ascending in time."""
    edges = until_ns - NS_PER_S * np.arange(int(RULE["baseline_s"]), -1, -1, dtype=np.int64)
    upto = np.searchsorted(timestamp, edges)
    traded = np.diff(upto) > 0
    seconds = int(np.count_nonzero(traded))
    if seconds < RULE["baseline_seconds"]:
        return Normal(seconds)
    logs = np.log(price)[np.maximum(upto - 1, 0)]
    returns = np.diff(logs)[traded & (upto[:-1] > 0)]
    total = np.concatenate(([0.0], np.cumsum(value)))
    values = np.log(np.maximum(np.diff(total[upto])[traded], SMALLEST))
    return_median, return_deviation = _centre(returns, RULE["price_deviation_floor"])
    value_median, value_deviation = _centre(values, RULE["volume_deviation_floor"])
    return Normal(seconds, return_median, return_deviation, value_median, value_deviation)


def _centre(figures: Float64, floor: float) -> tuple[float, float]:
    """Return the median and the robust deviation, at least `floor`."""
    median = float(np.median(figures))
    return median, max(floor, NORMAL_OF_MAD * float(np.median(np.abs(figures - median))))


def scores_of(timestamp: Int64, price: Float64, value: Float64, normal: Normal) -> Scores:
    """Return the scores of every trade. The price score is 0 without a trade at least a second earlier."""
    logs = np.log(price)
    earlier = np.searchsorted(timestamp, timestamp - NS_PER_S, side="right")
    returns = np.where(earlier > 0, logs - logs[np.maximum(earlier - 1, 0)], normal.return_median)
    by_price = np.abs(returns - normal.return_median) / normal.return_deviation
    if normal.value_median is None:
        return Scores(by_price, np.zeros(len(price)))
    total = np.concatenate(([0.0], np.cumsum(value)))
    upto = np.arange(1, len(price) + 1)
    lately = np.log(np.maximum(total[upto] - total[earlier], SMALLEST))
    by_volume = np.where(upto - earlier >= RULE["burst_trades"], (lately - normal.value_median) / normal.value_deviation, 0.0)
    return Scores(by_price, by_volume)
