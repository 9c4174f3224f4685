"""The order in which symbols of gaps are worked on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping

from pumpwatch.backfill.work import GapWork

Rank = tuple[int, int, float, int]
UNLISTED = 1 << 30


def rank(work: GapWork, volume: float, window: int) -> Rank:
    """Return a work's place: the least comes first.

    window: the place of the coin's listing window, the oldest first; UNLISTED without one. Then come jumps in ids, which say
    exactly what is missing and settle other gaps of their symbol; then the symbols that trade most, as short histories move on
    fastest there; then older gaps.
    """
    return window, 0 if work.by_jump else 1, -volume, work.gap.from_ns


def ordered(works: Iterable[GapWork], volume_of: Callable[[int], float], windows: Mapping[int, int]) -> list[GapWork]:
    """Return works in order. windows: the place of the listing window of an instrument's coin, by the instrument's number."""
    return sorted(works, key=lambda work: rank(work, volume_of(work.number), windows.get(work.number, UNLISTED)))
