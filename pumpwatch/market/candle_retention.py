"""Retention of candles: minutes for a month, 5m and 15m for 90 days, longer ones without a limit."""

from __future__ import annotations

from collections.abc import Mapping

from pumpwatch.market.interfaces import CandleStore
from pumpwatch.market.intervals import INTERVALS_NS

DAY_NS = 86_400 * 10**9
KEPT_DAYS: Mapping[str, int] = {"1m": 30, "5m": 90, "15m": 90}  # other intervals are kept without a limit


def kept_from(now_ns: int, kept_days: Mapping[str, int] = KEPT_DAYS) -> dict[str, int]:
    """Return the time (ns, a midnight UTC) before which candles of each interval are removed."""
    return {interval: (now_ns // DAY_NS - days) * DAY_NS for interval, days in kept_days.items() if interval in INTERVALS_NS}


def remove_expired(store: CandleStore, now_ns: int, kept_days: Mapping[str, int] = KEPT_DAYS) -> dict[str, int]:
    """Remove expired candles; return their number by interval. Raises StorageError."""
    return {interval: store.remove_before(interval, before_ns) for interval, before_ns in kept_from(now_ns, kept_days).items()}
