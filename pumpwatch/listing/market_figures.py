"""Figures of one market around a publication: drawdown, volume per second, phases, and the price of a market buy.

All functions take the analysed trades of one instrument, ascending in time, and return plain data. Times are in ns, differences
in ms, volumes in base units (quantity) and quote units (value).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from pumpwatch.clock import NS_PER_MS, NS_PER_S
from pumpwatch.model import BUY, SELL, TradeBatch

BUY_DELAYS_MS = (100, 300, 1000, 3000)
BUY_VALUES = (1000.0, 10_000.0)


def volume(trades: TradeBatch) -> dict[str, float]:
    """Return the number, quantity and value of trades; quantity and value also by the taker's side."""
    value = trades.price * trades.quantity
    bought, sold = trades.side == BUY, trades.side == SELL
    return {"trades": len(trades), "quantity": float(trades.quantity.sum()), "value": float(value.sum()),
            "buy_quantity": float(trades.quantity[bought].sum()), "buy_value": float(value[bought].sum()),
            "sell_quantity": float(trades.quantity[sold].sum()), "sell_value": float(value[sold].sum())}


def drawdown(trades: TradeBatch, peak: int) -> dict[str, Any]:
    """Return the lowest price from the trade at index `peak` on: its time, and its distance to the peak in percent (<= 0)."""
    lowest = peak + int(np.argmin(trades.price[peak:]))
    at_ns = int(trades.timestamp[lowest])
    return {"at_ns": at_ns, "after_peak_ms": (at_ns - int(trades.timestamp[peak])) / NS_PER_MS,
            "price": float(trades.price[lowest]), "percent": percent(float(trades.price[lowest]), float(trades.price[peak]))}


def per_second(trades: TradeBatch, announced_at_ns: int) -> dict[str, list[Any]]:
    """Return columns with one entry per second with trades.

    second: whole seconds since the publication; -1 is the second before it. trades: their number. value: sum of price x quantity.
    buy_share: the part of the value that takers bought, 0 to 1, null if the value is 0.
    """
    seconds, where = np.unique((trades.timestamp - announced_at_ns) // NS_PER_S, return_inverse=True)
    value = trades.price * trades.quantity
    total = np.bincount(where, value, len(seconds))
    bought = np.bincount(where, np.where(trades.side == BUY, value, 0.0), len(seconds))
    with np.errstate(invalid="ignore", divide="ignore"):
        share = bought / total
    return {"second": seconds.tolist(), "trades": np.bincount(where, minlength=len(seconds)).tolist(), "value": total.tolist(),
            "buy_share": [round(part, 4) if np.isfinite(part) else None for part in share.tolist()]}


def phases(trades: TradeBatch, first: int, peak: int) -> list[dict[str, Any]]:
    """Return run-up, spike and fade: until the first abnormal trade, from it until the peak, and from the peak on.

    Each phase has its bounds [from_ns, to_ns), the number of trades, their value, the share that takers bought (null without
    value), and the price change in percent from its first trade to the first trade of the next phase (null without a trade). If
    the peak is before the first abnormal trade, the spike is empty.
    """
    peak = max(first, peak)
    bounds = (("run-up", 0, first), ("spike", first, peak), ("fade", peak, len(trades)))
    return [_phase(name, trades, start, end) for name, start, end in bounds]


def _phase(name: str, trades: TradeBatch, start: int, end: int) -> dict[str, Any]:
    last = min(end, len(trades) - 1)
    sums = volume(trades.take(slice(start, end)))
    begun = start < end
    return {"phase": name, "from_ns": int(trades.timestamp[start]),
            "to_ns": int(trades.timestamp[last]) + (1 if end == len(trades) else 0), "trades": sums["trades"],
            "value": sums["value"], "buy_share": round(sums["buy_value"] / sums["value"], 4) if sums["value"] else None,
            "change_percent": percent(float(trades.price[last]), float(trades.price[start])) if begun else None}


def market_buys(trades: TradeBatch, before: float | None, announced_at_ns: int) -> list[dict[str, Any]]:
    """Return the estimated price of a market buy, for each of BUY_VALUES (quote units) and BUY_DELAYS_MS after the publication.

    The estimate sums the trades in which takers bought from that time on, until their value reaches the wanted one; the last
    trade counts only as far as needed. price: the wanted value / the summed quantity, null if the window ends first (value_found
    is then the sum). worst_price: the highest price among these trades. filled_after_ms: since the publication.
    over_before_percent: relative to the last price before the publication. slippage_percent: relative to the last price before
    that time.
    """
    bought = trades.take(trades.side == BUY)
    return [_market_buy(trades, bought, wanted, delay_ms, before, announced_at_ns)
            for wanted in BUY_VALUES for delay_ms in BUY_DELAYS_MS]


def _market_buy(trades: TradeBatch, bought: TradeBatch, wanted: float, delay_ms: int, before: float | None,
                announced_at_ns: int) -> dict[str, Any]:
    at_ns = announced_at_ns + delay_ms * NS_PER_MS
    last = int(np.searchsorted(trades.timestamp, at_ns)) - 1
    rest = bought.take(slice(int(np.searchsorted(bought.timestamp, at_ns)), None))
    total = np.cumsum(rest.price * rest.quantity)
    row: dict[str, Any] = {
        "value": wanted, "delay_ms": delay_ms, "value_found": min(wanted, float(total[-1])) if len(total) else 0.0, "price": None,
        "worst_price": None, "filled_after_ms": None, "over_before_percent": None, "slippage_percent": None}
    end = int(np.searchsorted(total, wanted))
    if end == len(total):
        return row
    already = float(total[end - 1]) if end else 0.0
    quantity = float(rest.quantity[:end].sum()) + (wanted - already) / float(rest.price[end])
    price = wanted / quantity
    return row | {
        "price": price, "worst_price": float(rest.price[:end + 1].max()),
        "filled_after_ms": (int(rest.timestamp[end]) - announced_at_ns) / NS_PER_MS,
        "over_before_percent": percent(price, before) if before else None,
        "slippage_percent": percent(price, float(trades.price[last])) if last >= 0 else None}


def percent(price: float, reference: float) -> float:
    """Return by how many percent a price is above the reference, rounded to 4 digits."""
    return round((price / reference - 1) * 100, 4)
