"""The order in which symbols of gaps are worked on."""

from __future__ import annotations

from collections.abc import Iterable
from operator import attrgetter

from pumpwatch.backfill.work import GapWork, Rank

UNLISTED = 1 << 30


def rank(work: GapWork, volume: float, window: int) -> Rank:
    """Return a work's place: the least comes first.

    window: the place of the coin's listing window, the oldest first; UNLISTED without one. Then come jumps in ids, which say
    exactly what is missing and settle other gaps of their symbol; then the symbols that trade most, as short histories move on
    fastest there; then older gaps.
    """
    return window, 0 if work.by_jump else 1, -volume, work.gap.from_ns


def ordered(works: Iterable[GapWork]) -> list[GapWork]:
    """Return works by their ranks."""
    return sorted(works, key=attrgetter("rank"))
