"""The intervals of candles. Times are int nanoseconds since 1970, UTC; the time of a candle is its start."""

from __future__ import annotations

from pumpwatch.errors import UsageError

MINUTE = "1m"
MINUTE_NS = 60 * 10**9
INTERVALS_NS = {MINUTE: MINUTE_NS, "5m": 5 * MINUTE_NS, "15m": 15 * MINUTE_NS, "1h": 60 * MINUTE_NS, "4h": 240 * MINUTE_NS,
                "1d": 1440 * MINUTE_NS}  # each is a multiple of the one before it; days begin at midnight UTC


def interval_ns(name: str) -> int:
    """Return the length of an interval (ns). Raises UsageError for an unknown one."""
    try:
        return INTERVALS_NS[name]
    except KeyError:
        raise UsageError(f"{name!r:.20} is not an interval", f"choose one of {', '.join(INTERVALS_NS)}") from None
