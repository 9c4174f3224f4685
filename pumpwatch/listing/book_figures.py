"""The price of a market buy by the recorded order book. `market_figures` has the estimate by the trades of others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from pumpwatch.clock import NS_PER_MS, NS_PER_S
from pumpwatch.listing.books import INTERVAL_S, Snapshot
from pumpwatch.listing.market_figures import BUY_DELAYS_MS, BUY_VALUES, percent

AWAY_NS = int(INTERVAL_S * NS_PER_S)  # snapshots further away in time are not used


def book_buys(snapshots: Sequence[Snapshot], before: float | None, announced_at_ns: int) -> list[dict[str, Any]] | None:
    """Return the estimated price of a market buy, for each of BUY_VALUES (quote units) and BUY_DELAYS_MS after the publication.

    The estimate uses the snapshot nearest to that time, at most AWAY_NS away, and sums its asks from the best one on, until their
    value reaches the wanted one; the last level counts only as far as needed. book_after_ms: the snapshot's time minus that time,
    null without a snapshot. price: the wanted value / the quantity bought, null if the recorded levels have less (value_found is
    then their value). worst_price: of the last level. over_before_percent: relative to the last price before the publication.
    slippage_percent: relative to the best ask. Returns None without snapshots.
    """
    if not snapshots:
        return None
    moments = np.array([snapshot.moment_ns for snapshot in snapshots], np.int64)
    rows = []
    for wanted in BUY_VALUES:
        for delay_ms in BUY_DELAYS_MS:
            at_ns = announced_at_ns + delay_ms * NS_PER_MS
            nearest = int(np.argmin(np.abs(moments - at_ns)))
            row = {"value": wanted, "delay_ms": delay_ms, "book_after_ms": None, "value_found": 0.0, "price": None,
                   "worst_price": None, "over_before_percent": None, "slippage_percent": None}
            away_ns = int(moments[nearest]) - at_ns
            if abs(away_ns) <= AWAY_NS:
                row |= {"book_after_ms": away_ns / NS_PER_MS, **_bought(snapshots[nearest], wanted, before)}
            rows.append(row)
    return rows


def _bought(snapshot: Snapshot, wanted: float, before: float | None) -> dict[str, Any]:
    """Return the figures of a buy at one snapshot."""
    price, quantity = (np.array(column) for column in snapshot.levels[2:])
    total = np.cumsum(price * quantity)
    end = int(np.searchsorted(total, wanted))
    if end == len(total):
        return {"value_found": float(total[-1]) if len(total) else 0.0}
    already = float(total[end - 1]) if end else 0.0
    paid = wanted / (float(quantity[:end].sum()) + (wanted - already) / float(price[end]))
    return {"value_found": wanted, "price": paid, "worst_price": float(price[end]),
            "over_before_percent": percent(paid, before) if before else None,
            "slippage_percent": percent(paid, float(price[0]))}
