"""Bound the times of unreadable batches by their rows, the time index, or their neighbours.

A batch's times are in its row and in the time index, without a checksum. Both count, within the times of the whole file. If
neither is readable, the nearest readable neighbours bound the batch.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Protocol

from pumpwatch.model import DISORDER_NS
from pumpwatch.store.segment import Segment
from pumpwatch.store.sqlite import DAMAGED, connect

Times = tuple[int, int]  # first and last moment of a batch
NEAR = 50  # ids that are searched on either side for a readable neighbour


class Spanned(Protocol):
    """The known times of a segment."""

    created_ns: int
    first_timestamp: int
    last_timestamp: int


def of_segment(segment: Spanned) -> Times:
    """Return the known time range [from, to) of a segment's trades, in ns."""
    if segment.first_timestamp <= segment.last_timestamp:
        return segment.first_timestamp, segment.last_timestamp + 1
    return segment.created_ns - DISORDER_NS, segment.created_ns + 1


def of_batches(segment: Segment, ids: Sequence[int]) -> Times:
    """Return the time range [from, to), in ns, in which these batches (ascending ids) of a file may have trades."""
    lowest, end = of_segment(segment)
    highest = end - 1
    known = _times(segment, ids[0] - NEAR, ids[-1] + NEAR, lowest, highest)
    first_ns, last_ns = highest, lowest
    unknown = []
    for number in ids:
        if number in known:
            first_ns, last_ns = min(first_ns, known[number][0]), max(last_ns, known[number][1])
        else:
            unknown.append(number)
    if unknown:
        inside = set(ids)
        before = [times for number, times in known.items() if number < unknown[0] and number not in inside]
        after = [times for number, times in known.items() if number > unknown[-1] and number not in inside]
        first_ns = min(first_ns, before[-1][0] - DISORDER_NS if before else lowest)
        last_ns = max(last_ns, after[0][1] if after else highest)
    return first_ns, max(last_ns, first_ns) + 1


def _times(segment: Segment, first: int, last: int, lowest: int, highest: int) -> dict[int, Times]:
    """Return the known times of the batches in [first, last], by id in ascending order."""
    found: dict[int, Times] = {}
    for number, first_ns, last_ns in _rows(segment.path, max(first, segment.first_id), min(last, segment.last_id)):
        if not isinstance(first_ns, int) or not isinstance(last_ns, int):
            continue
        first_ns, last_ns = max(first_ns, lowest), min(last_ns, highest)
        if first_ns <= last_ns:
            known = found.get(number, (first_ns, last_ns))
            found[number] = min(known[0], first_ns), max(known[1], last_ns)
    return dict(sorted(found.items()))


def _rows(path: Path, first: int, last: int) -> list[tuple[int, object, object]]:
    """Return the id, first and last time of each batch; twice if both its row and the index are readable."""
    rows: list[tuple[int, object, object]] = []
    try:
        connection = connect(path, read_only=True)
    except sqlite3.Error:
        return rows
    try:
        with suppress(*DAMAGED):
            rows += connection.execute("SELECT id, first_timestamp, last_timestamp FROM batches INDEXED BY batches_time"
                                       " WHERE id BETWEEN ? AND ?", (first, last)).fetchall()
        for number in range(first, last + 1):
            with suppress(*DAMAGED):
                rows += connection.execute("SELECT id, first_timestamp, last_timestamp FROM batches NOT INDEXED WHERE id = ?",
                                           (number,)).fetchall()
    finally:
        connection.close()
    return rows
