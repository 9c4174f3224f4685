"""The order in which symbols of gaps are worked on."""

from __future__ import annotations

from collections.abc import Iterable
from operator import attrgetter

from pumpwatch.backfill.work import GapWork, Rank
from pumpwatch.clock import NS_PER_S

UNLISTED = 1 << 30
TOGETHER_NS = 120 * NS_PER_S  # gaps of one such time are filled together: their look-ups read the same part of the store


def rank(work: GapWork, volume: float, window: int) -> Rank:
    """Return a work's place: the least comes first.

    window: the place of the coin's listing window, the oldest first; UNLISTED without one. Then come jumps in ids, which say
    exactly what is missing and settle other gaps of their symbol; then the newest gaps, which short histories still reach; of
    these the symbols that trade most, where histories move on fastest.
    """
    return window, 0 if work.by_jump else 1, -(work.gap.from_ns // TOGETHER_NS), -volume, work.gap.from_ns


def ordered(works: Iterable[GapWork]) -> list[GapWork]:
    """Return works by their ranks."""
    return sorted(works, key=attrgetter("rank"))
