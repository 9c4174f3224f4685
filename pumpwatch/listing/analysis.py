"""Analyse the effect of a listing on each market: price before it, first abnormal trade, peak, volumes.

The analysis is simple, and its rule and thresholds are part of the result. For each instrument the trades of the `baseline_s`
seconds before the search define what is normal. The search begins `grace_s` before the announcement, because notices are
dated in whole seconds and the venues' clocks differ from ours. The first abnormal trade is the first one for which

- price: |ln(price / median)| exceeds max(price_floor, price_deviations x robust deviation); median and deviation
  (1.4826 x the median absolute deviation of ln(price)) are the baseline's. With fewer than `baseline_trades` trades only the
  floor is used, relative to the last price before the search; or
- volume: the second up to it has at least `burst_trades` trades, with a value above burst_factor x the highest value of the
  second up to any baseline trade (not used without a baseline).

Trades that come from no public order (blocks, insurance fund, ADL, internal ones), or without a price, are counted as
`odd_trades` and not analysed.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from pumpwatch.catalogue import Catalogue
from pumpwatch.clock import NS_PER_MS, NS_PER_S
from pumpwatch.model import BUY, SELL, Flag, Float64, Int64, TradeBatch

RULE = {
    "baseline_s": 20.0, "grace_s": 2.0, "baseline_trades": 5, "price_floor": 0.005, "price_deviations": 8.0,
    "burst_factor": 5.0, "burst_trades": 10,
}
ODD = int(Flag.BLOCK | Flag.INSURANCE_FUND | Flag.ADL | Flag.INTERNAL)


def analyse(batch: TradeBatch, catalogue: Catalogue, ids: list[int], announced_at_ns: int,
            detected_at_ns: int) -> dict[str, Any]:
    """Return the analysis of these instruments' trades as plain data: `rule`, `overall`, and one row for each instrument.

    The batch is sorted by time; instruments without trades have a row too. Times are int ns, UTC; volumes are in base
    units (quantity) and quote units (value); percent are of the price before the announcement.
    """
    rows = []
    for number in ids:
        exchange, market_type = catalogue.venues[number]
        rows.append({"exchange": exchange, "market_type": market_type, "symbol": catalogue.instruments[number].symbol,
                     **_instrument(batch.take(batch.instrument == number), announced_at_ns, detected_at_ns)})
    rows.sort(key=lambda row: (row["first_abnormal"] is None, (row["first_abnormal"] or {}).get("at_ns", 0),
                               row["exchange"], row["market_type"], row["symbol"]))
    return {"rule": RULE, "announced_at_ns": announced_at_ns, "detected_at_ns": detected_at_ns,
            "overall": _overall(rows), "instruments": rows}


def _instrument(trades: TradeBatch, announced_at_ns: int, detected_at_ns: int) -> dict[str, Any]:
    before = int(np.searchsorted(trades.timestamp, announced_at_ns))
    odd = ((trades.flags & ODD) != 0) | ~(np.isfinite(trades.price) & (trades.price > 0))
    row: dict[str, Any] = {
        "trades": len(trades), "odd_trades": int(np.count_nonzero(odd)),
        "before": _volume(trades.take(slice(None, before))), "after": _volume(trades.take(slice(before, None))),
        "price_before": None, "first_abnormal": None, "peak": None,
    }
    judged = trades.take(~odd)
    if not len(judged):
        return row
    search_ns = announced_at_ns - int(RULE["grace_s"] * NS_PER_S)
    start = int(np.searchsorted(judged.timestamp, search_ns))
    before = int(np.searchsorted(judged.timestamp, announced_at_ns))
    reference = float(judged.price[before - 1] if before else judged.price[0])
    row["price_before"] = reference if before else None
    found = _first_abnormal(judged, start, search_ns)
    if found is not None:
        index, reasons = found
        row["first_abnormal"] = {
            **_moment(judged, index, reference, announced_at_ns), "reasons": reasons,
            "after_detection_ms": (int(judged.timestamp[index]) - detected_at_ns) / NS_PER_MS,
            "trade_id": judged.take(slice(index, index + 1)).id_texts()[0],
        }
    if start < len(judged):
        row["peak"] = _moment(judged, start + int(np.argmax(judged.price[start:])), reference, announced_at_ns)
    return row


def _first_abnormal(trades: TradeBatch, start: int, search_ns: int) -> tuple[int, list[str]] | None:
    """Return the index of the first abnormal trade from `start` on, and the reasons."""
    baseline = trades.timestamp[:start] >= search_ns - int(RULE["baseline_s"] * NS_PER_S)
    logs = np.log(trades.price)
    price = np.zeros(len(trades) - start, bool)
    usual = logs[:start][baseline]
    if len(usual) >= RULE["baseline_trades"]:
        median = np.median(usual)
        limit = max(RULE["price_floor"], RULE["price_deviations"] * 1.4826 * float(np.median(np.abs(usual - median))))
        price = np.abs(logs[start:] - median) > limit
    elif start:
        price = np.abs(logs[start:] - logs[start - 1]) > RULE["price_floor"]
    value, count = _last_second(trades.timestamp, trades.price * trades.quantity)
    highest = float(np.max(value[:start][baseline], initial=0.0))
    burst = (value[start:] > RULE["burst_factor"] * highest) & (count[start:] >= RULE["burst_trades"]) \
        if highest else np.zeros(len(trades) - start, bool)
    hits = np.flatnonzero(price | burst)
    if not len(hits):
        return None
    first = int(hits[0])
    return start + first, [name for name, rule in (("price", price), ("volume", burst)) if rule[first]]


def _last_second(timestamp: Int64, value: Float64) -> tuple[Float64, Int64]:
    """Return for each trade the value and the number of trades in the second that ends with it."""
    total = np.concatenate(([0.0], np.cumsum(value)))
    first = np.searchsorted(timestamp, timestamp - NS_PER_S, side="right")
    index = np.arange(1, len(timestamp) + 1)
    return total[index] - total[first], index - first


def _moment(trades: TradeBatch, index: int, reference: float, announced_at_ns: int) -> dict[str, Any]:
    at_ns, price = int(trades.timestamp[index]), float(trades.price[index])
    return {"at_ns": at_ns, "after_announcement_ms": (at_ns - announced_at_ns) / NS_PER_MS, "price": price,
            "change_percent": round((price / reference - 1) * 100, 4)}


def _volume(trades: TradeBatch) -> dict[str, float]:
    value = trades.price * trades.quantity
    bought, sold = trades.side == BUY, trades.side == SELL
    return {"trades": len(trades), "quantity": float(trades.quantity.sum()), "value": float(value.sum()),
            "buy_quantity": float(trades.quantity[bought].sum()), "buy_value": float(value[bought].sum()),
            "sell_quantity": float(trades.quantity[sold].sum()), "sell_value": float(value[sold].sum())}


def _overall(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the order in which the markets moved, the highest peak, and the sums. The rows are in the order of moving."""
    moved = [row for row in rows if row["first_abnormal"]]
    first_ns = moved[0]["first_abnormal"]["at_ns"] if moved else 0
    peaks = [row for row in rows if row["peak"] and row["peak"]["change_percent"] is not None]
    top = max(peaks, key=lambda row: float(row["peak"]["change_percent"]), default=None)
    return {
        "trades": sum(row["trades"] for row in rows),
        "order": [{**_name(row), "after_announcement_ms": row["first_abnormal"]["after_announcement_ms"],
                   "behind_first_ms": (row["first_abnormal"]["at_ns"] - first_ns) / NS_PER_MS} for row in moved],
        "peak": {**_name(top), **top["peak"]} if top else None,
        "value_before": sum(row["before"]["value"] for row in rows),
        "value_after": sum(row["after"]["value"] for row in rows),
        "buy_value_after": sum(row["after"]["buy_value"] for row in rows),
        "sell_value_after": sum(row["after"]["sell_value"] for row in rows),
    }


def _name(row: dict[str, Any]) -> dict[str, str]:
    return {key: row[key] for key in ("exchange", "market_type", "symbol")}
