"""Compute when to poll a source next, by the local time of its country.

Boards publish by day, and many notices appear just after a multiple of five minutes. So a source is polled more often around
these minutes, and rarely at night. That needs no more requests than a constant pace, and detects most notices earlier.
"""

from __future__ import annotations

from pumpwatch.clock import NS_PER_S
from pumpwatch.hookspecs import Pace

DAY_S = 86_400


def next_poll_s(interval_s: float, pace: Pace | None, now_ns: int) -> float:
    """Return how many seconds to wait between a poll now and the next one.

    A wait ends early when the day, or the next quick time, begins.
    """
    if pace is None:
        return interval_s
    at_s = (now_ns / NS_PER_S + pace.utc_offset_min * 60) % DAY_S
    start_s, end_s = pace.day[0] * 60, pace.day[1] * 60
    if not start_s <= at_s < end_s:
        return min(pace.night_s, (start_s - at_s) % DAY_S)
    since_mark_s = (at_s + pace.before_s) % (pace.mark_min * 60)
    if since_mark_s < pace.before_s + pace.after_s:
        return pace.quick_s
    return min(interval_s, max(pace.quick_s, pace.mark_min * 60 - since_mark_s))
