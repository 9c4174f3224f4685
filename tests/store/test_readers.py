"""The journal's own readers: a few files open, damage noted, nothing passed over."""

from __future__ import annotations

from pathlib import Path

from pumpwatch.catalogue import Catalogue
from pumpwatch.store.readers import KEPT_OPEN, SegmentReaders
from tests.store.small_journal import NAMES, NotedDamage, segments_of, small_journal


def readers() -> tuple[SegmentReaders, NotedDamage]:
    damage = NotedDamage()
    return SegmentReaders(Catalogue(), damage, "run"), damage


def test_batches_come_from_all_files_in_order_and_few_files_stay_open(tmp_path: Path) -> None:
    small_journal(tmp_path, segments=KEPT_OPEN + 2, rows=5)
    one, _ = readers()
    segments = segments_of(tmp_path)
    assert [number for number, _ in one.after(segments, 1)] == list(range(2, KEPT_OPEN + 3))
    assert len(one.query(segments, NAMES, 0, 2**62)) == 5 * (KEPT_OPEN + 2)
    assert len(one._open) == KEPT_OPEN
    one.close()
    assert not one._open


def test_a_file_that_is_gone_or_damaged_is_left_out_and_noted(tmp_path: Path) -> None:
    small_journal(tmp_path)
    one, damage = readers()
    segments = segments_of(tmp_path)
    segments[0].path.unlink()
    segments[1].path.write_bytes(b"no database")
    assert [number for number, _ in one.after(segments, 0)] == [3]
    assert len(one.query(segments, NAMES, 0, 2**62)) == 50
    assert damage.record_found(segments)
    assert [segment.readable for segment in segments] == [False, False, True]
    assert {gap.reason.split(": ")[1] for gap in damage.gaps} == {segment.path.name for segment in segments[:2]}


def test_what_is_known_as_unreadable_is_not_opened(tmp_path: Path) -> None:
    small_journal(tmp_path)
    one, damage = readers()
    segments = segments_of(tmp_path)
    segments[1].readable = False
    segments[1].path.write_bytes(b"no database")
    assert len(one.query(segments, NAMES, 0, 2**62)) == 100
    assert not damage.record_found(segments)
