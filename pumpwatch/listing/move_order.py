"""Order venues by who moved first, and say how far their timestamps allow to tell.

A timestamp of a venue that counts in milliseconds stands for any moment of that millisecond: [t, t + resolution). So a venue
whose trade is stamped `a` and another whose trade is stamped `b` differ by more than b - a - resolution(a) and by less than
b - a + resolution(b). A venue that may have moved before or with the first is tied with it. Differences between the venues'
clocks are not known and not in these bounds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pumpwatch.clock import NS_PER_MS, NS_PER_S
from pumpwatch.model import Int64

UNITS_NS = (NS_PER_S, NS_PER_MS, 1000)
TELLING = 3  # with fewer trades a whole second may be chance


def resolution_ns(timestamps: Int64) -> int:
    """Return the coarsest unit of which all timestamps are multiples: 1 s, 1 ms, 1 µs or 1 ns.

    A second needs TELLING different timestamps; without any timestamp it is 1 ns.
    """
    found = 1
    for unit in reversed(UNITS_NS):
        if not len(timestamps) or np.any(timestamps % unit):
            break
        if unit < NS_PER_S or len(np.unique(timestamps)) >= TELLING:
            found = unit
    return found


def order_of(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the venues that moved, the first one first, one row a venue: its earliest instrument.

    The rows are those of an analysis that have a first abnormal trade. behind_first_ms is the difference of the stamps;
    behind_least_ms and behind_most_ms are its bounds; tied_with_first: the first one may not have been first.
    """
    moved = sorted(rows, key=lambda row: (row["first_abnormal"]["at_ns"], row["exchange"], row["market_type"], row["symbol"]))
    order: dict[tuple[str, str], dict[str, Any]] = {}
    for row in moved:
        found, first = row["first_abnormal"], moved[0]["first_abnormal"]
        behind_ns = found["at_ns"] - first["at_ns"]
        leads = row is moved[0]
        least_ns = 0 if leads else behind_ns - first["resolution_ns"]
        most_ns = 0 if leads else behind_ns + found["resolution_ns"]
        order.setdefault((row["exchange"], row["market_type"]), {
            "exchange": row["exchange"], "market_type": row["market_type"], "symbol": row["symbol"],
            "after_announcement_ms": found["after_announcement_ms"], "behind_first_ms": behind_ns / NS_PER_MS,
            "behind_least_ms": least_ns / NS_PER_MS, "behind_most_ms": most_ns / NS_PER_MS,
            "tied_with_first": not leads and least_ns < 0})
    return list(order.values())
