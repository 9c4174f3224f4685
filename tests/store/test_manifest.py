"""The list of segments comes back as it was written, and a damaged one says so."""

from __future__ import annotations

from pathlib import Path

import pytest

from pumpwatch.store.manifest import FILE, SegmentManifest, joined, outside
from pumpwatch.store.segment import CLEAN, Segment


def segment(name: str, first: int, last: int) -> Segment:
    return Segment(Path(name), first, last, trades=9, state=CLEAN, venues={("a", "spot")}, damaged=[(first, first)])


def test_a_list_is_read_as_it_was_written(tmp_path: Path) -> None:
    manifest = SegmentManifest(tmp_path)
    manifest.explain(11, 19)
    assert manifest.write([segment("one", 1, 10), segment("two", 20, 30)])
    again = SegmentManifest.read(tmp_path)
    assert (list(again.segments), again.explained, again.problem) == (["one", "two"], [(11, 19)], "")
    assert [known.name for known in again.missing(["two"])] == ["one"]
    recalled = Segment(Path("two"), 20, 30)
    again.recall(recalled)
    assert (recalled.venues, recalled.damaged) == ({("a", "spot")}, [(20, 20)])


def test_ids_before_the_oldest_segment_need_no_explanation_any_more(tmp_path: Path) -> None:
    manifest = SegmentManifest(tmp_path)
    manifest.explain(1, 5)
    manifest.explain(50, 60)
    manifest.write([segment("one", 30, 49)])
    assert manifest.explained == [(50, 60)]


@pytest.mark.parametrize("content", [b"", b"{}", b'{"checksum": 1, "content": {}}'])
def test_a_damaged_list_is_empty_and_names_its_problem(tmp_path: Path, content: bytes) -> None:
    (tmp_path / FILE).write_bytes(content)
    manifest = SegmentManifest.read(tmp_path)
    assert manifest.segments == {} and "cannot be read" in manifest.problem


def test_a_list_that_cannot_be_written_stays_to_be_written(tmp_path: Path) -> None:
    (tmp_path / FILE).mkdir()
    manifest = SegmentManifest(tmp_path)
    assert not manifest.write([]) and manifest.dirty


def test_ranges_are_joined_and_cut_out() -> None:
    assert joined([(5, 6), (1, 2), (3, 3), (9, 9)]) == [(1, 3), (5, 6), (9, 9)]
    assert outside(1, 10, [(2, 3), (5, 20)]) == [(1, 1), (4, 4)]
    assert outside(4, 6, [(1, 9)]) == []
