"""Check the order of trades within a frame, and the steps between ids.

Two wrong facts raise no error. A missing `newest_first` stores the trades of each frame in reverse order. CONTIGUOUS for ids that
skip records a gap with every trade.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from typing import Any

from pumpwatch.model import IdKind
from pumpwatch.plugin_kit.check_frames import columns_of
from pumpwatch.plugin_kit.results import Check, Problems, counted
from pumpwatch.plugin_kit.samples import Samples
from pumpwatch.plugin_kit.sandbox import attempt
from pumpwatch.venue import Venue

MOST_FRAMES = 2000
NEAR_NS = 10 * 10**9  # trades of one symbol this close in time should be neighbours in a recording
FEWEST_STEPS = 3
SKIPS_SHARE = 4  # one step in 4 may skip a trade that the recording missed, or a row that is not a trade
Row = tuple[int, int]  # timestamp in ns, id


def check_order(venue: Venue, samples: Samples) -> Check:
    """Return one row about the order of trades in frames and the steps between ids."""
    problems = Problems(venue.name, "order and ids")
    frames = [found for frame in samples.trades[:MOST_FRAMES]
              if (found := attempt(columns_of, venue, b"[" + frame + b"]").value)]
    up, down = _directions(venue, frames)
    if venue.newest_first:
        problems.must(up <= down, f"newest_first is set, but {counted(up, 'frame')} of {up + down} have the oldest trade first")
    else:
        problems.must(down <= up, f"{counted(down, 'frame')} of {up + down} have the newest trade first: set newest_first")
    steps = _require_steps(problems, venue, _by_symbol(venue, frames), "frames")
    order = f"{counted(up + down, 'frame')} with trades in order" if up + down else "no frame shows an order"
    return problems.row(f"{order}; {counted(steps, 'step')} between ids")


def require_contiguous(problems: Problems, venue: Venue, symbol: str, columns: Mapping[str, Sequence[Any]]) -> None:
    """Fail if the ids of a history answer skip although the venue's are declared contiguous."""
    rows = sorted(zip(_times(venue, columns), columns["trade_id"], strict=True), key=lambda row: (row[0], row[1]))
    _require_steps(problems, venue, {symbol: rows}, "history")


def _times(venue: Venue, columns: Mapping[str, Sequence[Any]]) -> list[int]:
    return [at * venue.timestamp_unit_ns for at in columns["timestamp"]]


def _directions(venue: Venue, frames: Iterable[Mapping[str, Sequence[Any]]]) -> tuple[int, int]:
    """Return the numbers of frames in which every symbol's trades ascend in time, and in which they descend."""
    up = down = 0
    for columns in frames:
        steps: set[bool] = set()
        last: dict[str, Row] = {}
        ordered = venue.id_kind in (IdKind.CONTIGUOUS, IdKind.MONOTONIC)
        ids = columns["trade_id"] if ordered else [0] * len(columns["symbol"])
        for symbol, at, number in zip(columns["symbol"], _times(venue, columns), ids, strict=True):
            before = last.get(symbol)
            last[symbol] = (at, number)
            if before is not None and before != (at, number):
                steps.add(before < (at, number))
        up, down = up + (steps == {True}), down + (steps == {False})
    return up, down


def _by_symbol(venue: Venue, frames: Iterable[Mapping[str, Sequence[Any]]]) -> dict[str, list[Row]]:
    """Return each symbol's live trades in order of arrival, oldest first within a frame."""
    found: dict[str, list[Row]] = {}
    for columns in frames:
        past = set(columns["past"])
        rows = list(zip(columns["symbol"], _times(venue, columns), columns["trade_id"], strict=True))
        live = [row for number, row in enumerate(rows) if number not in past]
        for symbol, at, number in reversed(live) if venue.newest_first else live:
            found.setdefault(symbol, []).append((at, number))
    return found


def _require_steps(problems: Problems, venue: Venue, rows_of: Mapping[str, Sequence[Row]], where: str) -> int:
    """Fail or warn if ids of neighbouring trades skip although `id_kind` is contiguous; return the number of steps."""
    if venue.id_kind != IdKind.CONTIGUOUS:
        return 0
    steps, example = [], ""
    for symbol, rows in rows_of.items():
        for (before_ns, before), (at_ns, number) in pairwise(rows):
            if isinstance(number, int) and isinstance(before, int) and number > before and at_ns - before_ns <= NEAR_NS:
                steps.append(number - before)
                if number - before > 1 and not example:
                    example = f"{symbol} {before} then {number}"
    skips = sum(step > 1 for step in steps)
    found = f"{where}: {skips} of {counted(len(steps), 'step')} between ids skip some ({example}), but id_kind is contiguous"
    systematic = len(steps) >= FEWEST_STEPS and skips * SKIPS_SHARE > len(steps)
    problems.must(not systematic, f"{found}: is it monotonic?")
    problems.should(systematic or not skips, f"{found}: did the recording miss trades?")
    return len(steps)
