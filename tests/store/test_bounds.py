"""The times of batches that cannot be read are bounded by all that is left of them, and never too narrow."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from pumpwatch.clock import FakeClock
from pumpwatch.stats import Stats
from pumpwatch.store.bounds import DISORDER_NS, of_batches, of_segment
from pumpwatch.store.journal import Journal
from pumpwatch.store.segment import Segment, read_segment
from tests.store.small_journal import START_NS, files
from tests.trades import batch_of, catalogue_of

STEP_NS = 10**9
ROWS = 10  # a batch spans 9 steps of its own


@pytest.fixture
def segment(tmp_path: Path) -> Segment:
    journal = Journal(tmp_path, catalogue_of(), FakeClock(START_NS), Stats())
    journal.open()
    for number in range(5):
        journal.commit(batch_of(ROWS, first_id=number * ROWS, start_ns=START_NS + number * ROWS * STEP_NS, step_ns=STEP_NS))
    journal.close()
    return read_segment(files(tmp_path)[0])


def times(batch: int) -> tuple[int, int]:
    return START_NS + (batch - 1) * ROWS * STEP_NS, START_NS + (batch * ROWS - 1) * STEP_NS


def test_a_segment_is_bounded_by_its_trades_or_by_its_beginning(segment: Segment) -> None:
    assert of_segment(segment) == (times(1)[0], times(5)[1] + 1)
    assert of_segment(Segment(Path("a"), 1, 0, created_ns=10**18)) == (10**18 - DISORDER_NS, 10**18 + 1)


def test_batches_whose_row_is_readable_are_bounded_by_it(segment: Segment) -> None:
    assert of_batches(segment, [2, 3]) == (times(2)[0], times(3)[1] + 1)


def test_a_batch_without_row_and_index_lies_between_its_neighbours(segment: Segment) -> None:
    connection = sqlite3.connect(segment.path)
    connection.execute("DELETE FROM batches WHERE id = 3")
    connection.commit()
    connection.close()
    assert of_batches(segment, [3]) == (times(2)[0] - DISORDER_NS, times(4)[1] + 1)


def test_times_beyond_the_file_are_not_believed(segment: Segment) -> None:
    connection = sqlite3.connect(segment.path)
    connection.execute("UPDATE batches SET first_timestamp = 5, last_timestamp = 6 WHERE id = 3")
    connection.commit()
    connection.close()
    first_ns, end_ns = of_batches(segment, [3])
    assert first_ns <= times(3)[0] and end_ns > times(3)[1]


def test_of_a_file_that_cannot_be_opened_all_of_it_counts(segment: Segment) -> None:
    segment.path.write_bytes(b"no database")
    assert of_batches(segment, [3]) == of_segment(segment)
