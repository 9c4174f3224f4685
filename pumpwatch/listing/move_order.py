"""Order venues by who moved first, with the bounds that the resolution of their timestamps allows.

A timestamp t may mean any moment in [t, t + resolution). So two venues whose trades are stamped `a` and `b` differ by more than
b - a - resolution(a) and by less than b - a + resolution(b). A venue that may have moved before or with the first is tied with
it. The bounds do not include differences between the venues' clocks, which are unknown.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from pumpwatch.clock import NS_PER_MS, NS_PER_S
from pumpwatch.model import Int64

UNITS_NS = (NS_PER_S, NS_PER_MS, 1000)
TELLING = 3  # fewer timestamps may be whole seconds by chance


def resolution_ns(timestamps: Int64) -> int:
    """Return the largest unit of which all timestamps are multiples: 1 s, 1 ms, 1 µs or 1 ns.

    1 s needs TELLING different timestamps. Without timestamps the result is 1 ns.
    """
    found = 1
    for unit in reversed(UNITS_NS):
        if not len(timestamps) or np.any(timestamps % unit):
            break
        if unit < NS_PER_S or len(np.unique(timestamps)) >= TELLING:
            found = unit
    return found


def order_of(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the venues that moved, earliest first, one row per venue: its earliest instrument.

    rows: those of an analysis that have a first abnormal trade. behind_first_ms: the difference of the timestamps, between the
    bounds behind_least_ms and behind_most_ms. tied_with_first: this venue may have moved before or with the first.
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
