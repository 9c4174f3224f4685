"""One file of the journal: what is written is read, what is left by a crash is recovered, anything else is refused."""

from __future__ import annotations

import shutil
import sqlite3
from pathlib import Path

import pytest

from pumpwatch.errors import StorageError
from pumpwatch.store.segment import CLEAN, RECOVERED, Segment, Writer, check_schema, read_segment, recover_segment, unlink
from tests.store.small_journal import START_NS
from tests.trades import catalogue_of

ROWS = [(7, 100, 200, 110, 210, 3, b"head", b"body"), (8, 90, 180, 100, 230, 2, b"head", b"body")]


@pytest.fixture
def written(tmp_path: Path) -> Writer:
    writer = Writer(tmp_path / "a.sqlite", 7, "run", START_NS, 4)
    writer.commit(ROWS, [0, 1], catalogue_of(), {"sink": 5}, None)
    return writer


def test_the_summary_of_an_open_file_is_that_of_its_rows(written: Writer) -> None:
    found = read_segment(written.segment.path)
    assert (found.first_id, found.last_id, found.trades, found.state, found.ordinal) == (7, 8, 5, "", 4)
    assert (found.first_timestamp, found.last_timestamp, found.last_received) == (90, 200, 230)
    written.abandon()


def test_a_closed_file_stands_alone_with_the_same_summary(written: Writer) -> None:
    written.close()
    found = read_segment(written.segment.path)
    assert (found.last_id, found.trades, found.state) == (8, 5, CLEAN)
    assert [path.name for path in written.segment.path.parent.iterdir()] == ["a.sqlite"]


def test_a_file_left_by_a_crash_is_recovered_completely(written: Writer, tmp_path: Path) -> None:
    copied = tmp_path / "crashed" / "a.sqlite"
    copied.parent.mkdir()
    for path in tmp_path.glob("a.sqlite*"):
        shutil.copy(path, copied.parent)
    found, lost = recover_segment(copied)
    assert (found.last_id, found.trades, found.state, lost) == (8, 5, RECOVERED, 0)
    written.abandon()


def test_a_commit_that_fails_leaves_nothing(written: Writer) -> None:
    with pytest.raises(sqlite3.Error):
        written.commit([(9, 1, 2, 1, 2, 1, b"", b""), ROWS[0]], [], catalogue_of(), {}, None)
    assert (written.segment.last_id, read_segment(written.segment.path).last_id) == (8, 8)
    written.abandon()


def test_a_file_that_was_replaced_is_not_in_place(written: Writer) -> None:
    assert written.in_place()
    unlink(written.segment.path)
    assert not written.in_place()
    written.segment.path.touch()
    assert not written.in_place()
    written.abandon()


@pytest.mark.parametrize(("schema", "error"), [
    (99, StorageError), (0, sqlite3.Error), ("x", sqlite3.Error), (None, sqlite3.Error)])
def test_a_schema_that_is_newer_or_not_one_is_refused(schema: object, error: type[Exception]) -> None:
    with pytest.raises(error):
        check_schema(Path("a.sqlite"), schema)


def test_an_empty_segment_ends_before_it_begins() -> None:
    segment = Segment(Path("a"), 5, 4)
    segment.count_written(ROWS)
    assert (segment.last_id, segment.trades, segment.first_timestamp, segment.last_timestamp) == (8, 5, 90, 200)
