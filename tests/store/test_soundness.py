"""A check of a closed segment finds every kind of damage, in steps of any length."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from pumpwatch.store.segment import Segment
from pumpwatch.store.soundness import Soundness, check_segments
from tests.store.small_journal import segments_of, small_journal


@pytest.fixture
def segment(tmp_path: Path) -> Segment:
    small_journal(tmp_path, segments=1)
    return segments_of(tmp_path)[0]


def checked(segment: Segment, statement: str = "") -> Soundness:
    if statement:
        connection = sqlite3.connect(segment.path)
        connection.execute(statement)
        connection.commit()
        connection.close()
    look = Soundness(segment)
    assert look.step(10.0)
    return look


def test_a_sound_file_is_good(segment: Segment) -> None:
    look = checked(segment)
    assert look.good and look.lines() == []


@pytest.mark.parametrize(("statement", "line"), [
    ("UPDATE batches SET body = zeroblob(100)", "batch 1: a stored batch is damaged"),
    ("DELETE FROM batches", "batch 1: it is not in the file"),
    ("UPDATE instruments SET symbol = 'X' WHERE id = 0", "batch 1: trades whose symbol cannot be read"),
    ("UPDATE batches SET trades = 3", "its time index is damaged")])
def test_damage_is_found_and_named(segment: Segment, statement: str, line: str) -> None:
    look = checked(segment, statement)
    assert not look.good and look.lines()[0].startswith(line)


def test_a_file_that_is_no_database_is_named_as_a_whole(segment: Segment) -> None:
    segment.path.write_bytes(b"no database" * 100)
    look = checked(segment)
    assert look.whole and not look.good


def test_a_file_that_is_locked_is_not_damaged(segment: Segment) -> None:
    other = sqlite3.connect(segment.path, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    assert checked(segment).good
    other.close()


def test_files_are_checked_newest_first_until_the_time_is_over(tmp_path: Path) -> None:
    small_journal(tmp_path, segments=2)
    segments = segments_of(tmp_path)
    assert [(one.first_id, lines) for one, lines in check_segments(segments, 10.0)] == [(2, []), (1, [])]
    assert [lines for _, lines in check_segments(segments, -1.0)] == [None, None]
