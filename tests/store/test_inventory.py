"""The files of an open journal: read, remembered in the list, and removed."""

from __future__ import annotations

from pathlib import Path

from pumpwatch.catalogue import Catalogue
from pumpwatch.clock import FakeClock
from pumpwatch.store.inventory import LIST_S, Inventory
from pumpwatch.store.manifest import SegmentManifest
from tests.store.small_journal import NAMES, START_NS, NotedDamage, files, segments_of, small_journal
from tests.trades import VENUES


class Opened:
    """The inventory of three segments of 50 trades."""

    def __init__(self, folder: Path) -> None:
        small_journal(folder)
        self.folder, self.clock, self.damage = folder, FakeClock(START_NS), NotedDamage()
        segments = segments_of(folder)
        for segment in segments:
            segment.venues = set(VENUES)
        self.files = Inventory(segments, SegmentManifest.read(folder), self.damage, Catalogue(), self.clock, "run")

    def listed(self) -> list[str]:
        return list(SegmentManifest.read(self.folder).segments)


def test_reading_after_an_id_stops_at_about_the_rows_wanted(tmp_path: Path) -> None:
    opened = Opened(tmp_path)
    assert [number for number, _ in opened.files.read_after(0, 60)] == [1, 2]
    assert [number for number, _ in opened.files.read_after(2, 1)] == [3]
    assert opened.files.read_after(3, 1) == []


def test_damage_that_a_query_meets_is_a_gap_before_it_answers_and_is_in_the_list(tmp_path: Path) -> None:
    opened = Opened(tmp_path)
    files(tmp_path)[0].write_bytes(b"no database")
    assert len(opened.files.query(NAMES, 0, 2**62)) == 100
    assert len(opened.damage.gaps) == 2
    assert [known.unreadable for known in SegmentManifest.read(tmp_path).segments.values()] == [True, False, False]


def test_what_expires_leaves_the_folder_and_the_list_and_is_explained(tmp_path: Path) -> None:
    opened = Opened(tmp_path)
    removed = opened.files.expire(2**62, 2**62, None, float("inf"))
    assert [removed_segment.segment.first_id for removed_segment in removed] == [1, 2] and opened.damage.gaps == []
    assert opened.listed() == [path.name for path in files(tmp_path)] and len(files(tmp_path)) == 1
    assert opened.files.read_after(0, 10**9)[0][0] == 3


def test_the_list_is_written_now_and_then_while_the_newest_file_grows(tmp_path: Path) -> None:
    opened = Opened(tmp_path)
    opened.files.segments[-1].state = ""
    opened.files.maintain()
    (tmp_path / "segments.json").unlink()
    opened.files.maintain()
    assert opened.listed() == []
    opened.clock.advance(LIST_S + 1)
    opened.files.maintain()
    assert len(opened.listed()) == 3
