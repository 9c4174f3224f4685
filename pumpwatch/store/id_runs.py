"""The stored trade ids, as runs without a hole, and the missing ids between them.

Only ids that count by one are kept this way. Ids that rows without a trade use up belong to the runs, so every id between two
runs is a trade that is not stored.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields

import numpy as np
from numpy.typing import NDArray

from pumpwatch.model import Int64
from pumpwatch.pipeline.seen_ids import RESTART_NS


@dataclass(frozen=True, slots=True)
class IdRuns:
    """Columns of one length, sorted by instrument and first id: ids [first, last], and the times of both ids in ns."""

    instrument: NDArray[np.int32]
    first: Int64
    last: Int64
    first_ns: Int64
    last_ns: Int64

    def __len__(self) -> int:
        return len(self.first)

    def take(self, rows: NDArray[np.intp] | NDArray[np.bool_]) -> IdRuns:
        """Return the given rows."""
        return IdRuns(*(getattr(self, field.name)[rows] for field in fields(self)))

    @staticmethod
    def empty() -> IdRuns:
        """Return no runs."""
        none = np.empty(0, np.int64)
        return IdRuns(np.empty(0, np.int32), none, none, none, none)


@dataclass(frozen=True, slots=True)
class MissingIds:
    """Ids [first, last] of an instrument that are not stored, between two trades at from_ns and to_ns."""

    instrument: int
    first: int
    last: int
    from_ns: int
    to_ns: int


def runs_of(instrument: NDArray[np.int32], ids: Int64, times_ns: Int64) -> IdRuns:
    """Return the runs of these ids, which may come in any order and more than once."""
    return union([IdRuns(instrument, ids, ids, times_ns, times_ns)])


def union(parts: Sequence[IdRuns]) -> IdRuns:
    """Return the runs of all parts together; touching or overlapping runs become one."""
    parts = [part for part in parts if len(part)]
    if not parts:
        return IdRuns.empty()
    instrument, first, last, first_ns, last_ns = (
        np.concatenate([getattr(part, field.name) for part in parts]) for field in fields(IdRuns))
    order = _in_order(instrument, first)
    instrument, first, last, first_ns, last_ns = (
        column[order] for column in (instrument, first, last, first_ns, last_ns))
    new = np.ones(len(first), np.bool_)
    new[1:] = instrument[1:] != instrument[:-1]
    reach = _highest_so_far(last, new)
    begins = new.copy()
    begins[1:] |= first[1:] > reach[:-1] + 1
    starts = np.flatnonzero(begins)
    ends = np.append(starts[1:], len(first)) - 1
    highest = reach[ends]
    at = _rows_of_highest(last, reach, starts)
    return IdRuns(instrument[starts], first[starts], highest, first_ns[starts], last_ns[at])


def _in_order(instrument: NDArray[np.int32], first: Int64) -> NDArray[np.intp]:
    """Return the order by instrument and first id. Ids are mostly in order, so sorting 16-bit instruments is enough."""
    small = instrument.astype(np.uint16) if int(instrument.max()) < 1 << 16 else instrument
    order = np.argsort(small, kind="stable")
    who, ids = instrument[order], first[order]
    if ((who[1:] == who[:-1]) & (ids[1:] < ids[:-1])).any():
        return np.lexsort((first, instrument))
    return order


def _highest_so_far(last: Int64, new: NDArray[np.bool_]) -> Int64:
    """Return the running maximum of `last` within each instrument. new: marks the first row of each instrument."""
    starts = np.flatnonzero(new)
    group = np.cumsum(new) - 1
    offset = last - np.minimum.reduceat(last, starts)[group]
    width = int(offset.max()) + 1
    if width < 2**62 // len(starts):
        running: Int64 = np.maximum.accumulate(offset + group * width) - group * width
        return np.asarray(running + np.minimum.reduceat(last, starts)[group], np.int64)
    ends = np.append(starts[1:], len(last)).tolist()
    return np.concatenate([np.maximum.accumulate(last[start:end]) for start, end in zip(starts.tolist(), ends, strict=True)])


def _rows_of_highest(last: Int64, reach: Int64, starts: NDArray[np.intp]) -> NDArray[np.intp]:
    """Return, for each run, a row that has its highest id."""
    rows = np.where(last == reach, np.arange(len(last)), -1)
    found: NDArray[np.intp] = np.maximum.reduceat(rows, starts)
    return found


def missing_between(runs: IdRuns) -> list[MissingIds]:
    """Return the ids between the runs of each instrument, in order.

    If the trade with the higher id is clearly older, the venue has restarted its ids, and no id between the two is missing.
    """
    if len(runs) < 2:
        return []
    rows = np.flatnonzero((runs.instrument[1:] == runs.instrument[:-1]) & (runs.first_ns[1:] >= runs.last_ns[:-1] - RESTART_NS))
    return [MissingIds(*values) for values in zip(
        runs.instrument[rows].tolist(), (runs.last[rows] + 1).tolist(), (runs.first[rows + 1] - 1).tolist(),
        runs.last_ns[rows].tolist(), runs.first_ns[rows + 1].tolist(), strict=True)]
