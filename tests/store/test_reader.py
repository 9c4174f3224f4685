"""One file, read by id and by time, and a journal read from another process."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

import pytest

from pumpwatch.catalogue import Catalogue
from pumpwatch.model import TradeBatch
from pumpwatch.store import reader
from pumpwatch.store.reader import JournalReader, SegmentReader, by_time, in_order
from pumpwatch.store.segment import Segment, read_segment
from tests.store.small_journal import HOUR_NS, NAMES, START_NS, segments_of, small_journal
from tests.trades import batch_of


class Opened:
    """A reader of the first segment of three, and what it reported."""

    def __init__(self, folder: Path) -> None:
        small_journal(folder)
        self.segment = segments_of(folder)[0]
        self.damage: list[tuple[int, str]] = []
        self.catalogue = Catalogue()
        self.reader = SegmentReader(self.segment.path, self.catalogue, self._damaged)

    def _damaged(self, path: Path, number: int, why: str) -> None:
        self.damage.append((number, why))

    def change(self, statement: str) -> None:
        connection = sqlite3.connect(self.segment.path)
        connection.execute(statement)
        connection.commit()
        connection.close()


@pytest.fixture
def opened(tmp_path: Path) -> Opened:
    return Opened(tmp_path)


def test_batches_come_by_id_with_the_catalogues_numbers(opened: Opened) -> None:
    (number, batch), = opened.reader.after(0, opened.segment.last_id)
    assert (number, len(batch), opened.damage) == (1, 50, [])
    assert set(opened.catalogue.names(batch.instrument)) == set(NAMES)


@pytest.mark.parametrize("by_index", [True, False])
def test_a_coins_trades_of_a_time_are_found_with_and_without_the_index(opened: Opened, by_index: bool) -> None:
    found = opened.reader.find(NAMES[:2], START_NS, START_NS + HOUR_NS, 1, by_index=by_index)
    assert 0 < len(found) < 50 and set(opened.catalogue.names(found.instrument)) == set(NAMES[:2])
    assert len(opened.reader.find(NAMES, START_NS, START_NS + 1, 1, by_index=by_index)) == 1
    assert len(opened.reader.find([("a", "spot", "X")], 0, 2**62, 1, by_index=by_index)) == 0


def test_a_batch_that_is_missing_or_no_blob_is_reported_and_left_out(opened: Opened) -> None:
    assert [number for number, _ in opened.reader.after(0, 3)] == [1]
    assert opened.damage == [(2, "it is not in the file"), (3, "it is not in the file")]
    opened.damage.clear()
    opened.change("UPDATE batches SET body = 'x'")
    assert list(opened.reader.after(0, 1)) == [] and "not a blob" in opened.damage[0][1]


def test_trades_whose_name_cannot_be_read_are_reported_and_left_out(opened: Opened) -> None:
    opened.change("UPDATE instruments SET symbol = 'OTHER' WHERE id = 0")
    (_, batch), = opened.reader.after(0, 1)
    assert 0 < len(batch) < 50 and "symbol cannot be read" in opened.damage[0][1]


def test_a_folder_is_read_from_outside_and_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    paths = small_journal(tmp_path)
    paths[1].write_bytes(b"no database")
    reader = JournalReader(tmp_path, catalogue := Catalogue())
    reader.load_instruments()
    assert len(catalogue) == 8
    assert len(reader.query(NAMES, 0, 2**62)) == 100
    assert all(line.startswith(paths[1].name) for line in reader.unreadable)


def test_the_summary_of_a_closed_file_is_read_once_and_again_when_it_has_changed(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    small_journal(tmp_path)
    read: list[str] = []
    monkeypatch.setattr(reader, "read_segment", lambda path: read.append(path.name) or read_segment(path))
    journal = JournalReader(tmp_path, Catalogue())
    first = [(segment.path, segment.first_id, segment.last_id) for segment in journal.segments()]
    closed = [path.name for path, _, _ in first]
    read.clear()
    assert [(segment.path, segment.first_id, segment.last_id) for segment in journal.segments()] == first
    assert read == [] and len(closed) == 3
    os.utime(first[1][0], ns=(1, 1))
    journal.segments()
    assert read == [closed[1]]
    first[0][0].unlink()
    assert [segment.path.name for segment in journal.segments()] == closed[1:]
    assert journal.unreadable == []


def test_a_segment_ends_where_the_next_begins() -> None:
    late, early = Segment(Path("b"), 5, 9), Segment(Path("a"), 1, 7)
    assert [(one.first_id, one.last_id) for one in in_order([late, early])] == [(1, 4), (5, 9)]


def test_rows_come_in_order_of_time_and_equal_ones_as_they_were() -> None:
    later, sooner = batch_of(3, first_id=1, start_ns=100, step_ns=0), batch_of(2, first_id=10, start_ns=50, step_ns=50)
    assert by_time([later, TradeBatch.empty(), sooner]).trade_id.tolist() == [10, 1, 2, 3, 11]
