"""Aggregate shorter candles into longer ones: 5m from 1m, 15m from 5m, and so on up to 1d from 4h.

Only changed candles are recomputed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from pumpwatch.market.candle_columns import CandleColumns, CandleOrigin, Series
from pumpwatch.market.interfaces import CandleStore, Flaw
from pumpwatch.market.intervals import INTERVALS_NS, MINUTE, interval_ns
from pumpwatch.model import Int64

Lost = Sequence[tuple[int, int, int]]  # place of a series, from_ns, to_ns: trades may be missing there
_LEVELS = list(INTERVALS_NS)
_NUMBER_BITS = 36  # of a key: an interval's number since 1970; the place of the series lies above them
MOST_READ = 200_000  # candles read at a time


def aggregate(rows: CandleColumns, interval: str, over_ns: int, lost: Lost = ()) -> CandleColumns:
    """Return the candles of an interval, made of shorter ones that are in ascending order by series and time.

    A sum is unknown if one of its parts is. A candle is complete if it ended at or before `over_ns`, all its parts are complete,
    and it overlaps none of `lost`, which also covers parts without a candle.
    """
    if not len(rows):
        return CandleColumns.empty()
    length = interval_ns(interval)
    start = rows.timestamp // length * length
    firsts = np.flatnonzero(np.append(True, (rows.series[1:] != rows.series[:-1]) | (start[1:] != start[:-1])))
    lasts = np.append(firsts[1:], len(rows)) - 1
    series, start = rows.series[firsts], start[firsts]
    complete = np.logical_and.reduceat(rows.complete, firsts) & (start + length <= over_ns)
    complete &= ~_in_lost(series, start, start + length, lost)
    kinds = np.minimum.reduceat(rows.origin, firsts)
    mixed = kinds != np.maximum.reduceat(rows.origin, firsts)
    return CandleColumns(
        series, start, rows.open[firsts], np.maximum.reduceat(rows.high, firsts), np.minimum.reduceat(rows.low, firsts),
        rows.close[lasts], np.add.reduceat(rows.volume, firsts), np.add.reduceat(rows.quote_volume, firsts),
        np.add.reduceat(rows.taker_buy_volume, firsts),
        np.where(np.minimum.reduceat(rows.trades, firsts) < 0, -1, np.add.reduceat(rows.trades, firsts)), complete,
        np.where(mixed, np.uint8(CandleOrigin.MIXED), kinds).astype(np.uint8))


def _in_lost(series: NDArray[np.int32], start: Int64, end: Int64, lost: Lost) -> NDArray[np.bool_]:
    """Return which candles [start, end) overlap a lost time of their series."""
    found = np.zeros(len(series), np.bool_)
    if not lost:
        return found
    spans = np.array(lost, np.int64)
    order = np.argsort(spans[:, 0], kind="stable")
    places, from_ns, to_ns = spans[order].T
    firsts, ends = np.searchsorted(places, series, "left"), np.searchsorted(places, series, "right")
    for nth in range(int((ends - firsts).max(initial=0))):  # the nth lost time of every series at once
        rows = np.flatnonzero(firsts + nth < ends)
        at = firsts[rows] + nth
        found[rows] |= (start[rows] < to_ns[at]) & (end[rows] > from_ns[at])
    return found


def continuity_flaws(store: CandleStore, from_ns: int, to_ns: int) -> list[Flaw]:
    """Return the longer candles between two midnights (UTC) that disagree with the shorter ones of their time.

    Only times with a stored shorter candle are compared, since longer ones are kept longer. Raises StorageError.
    """
    found = []
    for series in store.series():
        with store.snapshot():
            rows = {interval: store.read(series, interval, from_ns, to_ns) for interval in _LEVELS}
        for shorter, interval in pairwise(_LEVELS):
            made, kept = aggregate(rows[shorter], interval, to_ns), rows[interval]
            for at in np.setdiff1d(made.timestamp, kept.timestamp).tolist():
                found.append(Flaw("continuity", series, interval, at, f"missing, though candles of {shorter} are there"))
            made, kept = (candles.take(np.isin(candles.timestamp, other.timestamp))
                          for candles, other in ((made, kept), (kept, made)))
            differs = ~_alike(made, kept)
            for at in kept.timestamp[differs].tolist():
                found.append(Flaw("continuity", series, interval, at, f"not what its candles of {shorter} make"))
    return found


def _alike(rows: CandleColumns, other: CandleColumns) -> NDArray[np.bool_]:
    """Return whether each candle has the same figures; sums may differ in their last bits."""
    alike: NDArray[np.bool_] = rows.trades == other.trades
    for name in ("open", "high", "low", "close", "volume", "quote_volume", "taker_buy_volume"):
        alike &= np.isclose(getattr(rows, name), getattr(other, name), rtol=1e-9, atol=0.0, equal_nan=True)
    return alike


def write_minutes(store: CandleStore, series: Sequence[Series], rows: CandleColumns, over_ns: int, *,
                  was_over_ns: int | None = None, marks: dict[str, str] | None = None,
                  removed: Sequence[tuple[Series, int]] = (), lost: Lost = (),
                  kept_from_ns: Mapping[str, int] | None = None, again: Sequence[tuple[Series, int]] = ()) -> None:
    """Store minutes, and recompute the longer candles that contain a changed one.

    All of it and the marks are one transaction: after a kill everything is there, or nothing. Longer candles that ended between
    `was_over_ns`, the `over_ns` of the call before, and `over_ns` are made again for every series of the store, since they are
    complete now. `lost` names places in `series`; what is lost must be named each time. kept_from_ns: for each interval
    the time before which candles are removed; those that would be made of such are left as they are. again: series and minutes
    (ns) whose longer candles are made again though no minute changes. Raises StorageError.
    """
    places: dict[Series, int] = {name: place for place, name in enumerate(series)}
    for name in [*(name for name, _ in (*removed, *again)), *(store.series() if was_over_ns is not None else ())]:
        places.setdefault(name, len(places))
    everyone = list(places)
    named = [*removed, *again]
    changed = (np.concatenate([rows.series.astype(np.int64), [places[name] for name, _ in named]]).astype(np.int64),
               np.concatenate([rows.timestamp, [at for _, at in named]]).astype(np.int64))
    with store.transaction():
        store.write(MINUTE, series, rows, marks, removed)
        for shorter, interval in pairwise(_LEVELS):
            touched = _touched(changed, interval, (kept_from_ns or {}).get(shorter, 0))
            if was_over_ns is not None:
                touched |= _ended(len(everyone), interval, was_over_ns, over_ns)
            made, gone = _again(store, everyone, shorter, interval, touched, over_ns, lost)
            store.write(interval, everyone, made, removed=gone)


def _touched(changed: tuple[Int64, Int64], interval: str, kept_ns: int) -> set[tuple[int, int]]:
    """Return the place of the series and the start of each candle that holds a changed minute."""
    place, at = changed
    length = INTERVALS_NS[interval]
    number = at // length
    kept = number * length >= kept_ns
    keys = np.unique(place[kept] << _NUMBER_BITS | number[kept])
    starts = (keys & (1 << _NUMBER_BITS) - 1) * length
    return set(zip((keys >> _NUMBER_BITS).tolist(), starts.tolist(), strict=True))


def _ended(count: int, interval: str, was_over_ns: int, over_ns: int) -> set[tuple[int, int]]:
    length = INTERVALS_NS[interval]
    starts = range(was_over_ns // length * length, over_ns // length * length, length)
    return {(place, start) for start in starts for place in range(count)}


def _again(store: CandleStore, series: Sequence[Series], shorter: str, interval: str, touched: set[tuple[int, int]], over_ns: int,
           lost: Lost) -> tuple[CandleColumns, list[tuple[Series, int]]]:
    """Return the touched candles as they are now, and those of which nothing is left."""
    parts = []
    for start, end, places in _together(touched, INTERVALS_NS[interval], INTERVALS_NS[shorter]):
        found = store.read_many([series[place] for place in places], shorter, start, end)
        if len(found):
            found.series[:] = np.array(places, np.int32)[found.series]
            parts.append(aggregate(found, interval, over_ns, lost))
    made = CandleColumns.concat(parts)
    keys = list(zip(made.series.tolist(), made.timestamp.tolist(), strict=True))
    made = made.take(np.array([key in touched for key in keys], np.bool_))
    return made, [(series[place], start) for place, start in touched.difference(keys)]


def _together(touched: set[tuple[int, int]], length: int, part: int) -> Iterator[tuple[int, int, list[int]]]:
    """Yield times [start, end) and places that hold all touched candles: following ones together, if most places are the same.

    One question of a store is then about a longer time, and about MOST_READ candles of the length `part` at most.
    """
    by_start = dict[int, set[int]]()
    for place, start in touched:
        by_start.setdefault(start, set()).add(place)
    begin = end = 0
    places = set[int]()
    for start in sorted(by_start):
        both = places | by_start[start]
        few = len(both) * (start + length - begin) // part <= MOST_READ
        if places and start == end and few and 2 * len(places & by_start[start]) >= len(both):
            end, places = start + length, both
            continue
        if places:
            yield begin, end, sorted(places)
        begin, end, places = start, start + length, by_start[start]
    if places:
        yield begin, end, sorted(places)
