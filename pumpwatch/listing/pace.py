"""Decide when a source is polled next, by the hour of its country.

Boards publish by day, and many notices come right after a minute that 5 divides. So a source is polled more often around these
minutes, and seldom at night: that is as polite as a slower pace at any hour, and sooner where it counts.
"""

from __future__ import annotations

from pumpwatch.clock import NS_PER_S
from pumpwatch.hookspecs import Pace

DAY_S = 86_400


def next_poll_s(interval_s: float, pace: Pace | None, now_ns: int) -> float:
    """Return in how many seconds a source that is polled now is polled again.

    A longer wait ends where the day, or the next quick time of the day, begins.
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
