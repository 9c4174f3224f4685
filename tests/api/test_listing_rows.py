"""The rows of listings, read at most once a second."""

from __future__ import annotations

from pathlib import Path

from gevent.threadpool import ThreadPool

from pumpwatch.api.listing_rows import ListingRows
from pumpwatch.clock import FakeClock
from tests.api.archived import archived
from tests.api.desk import config_of


def test_listings_are_found_by_coin_notice_and_archive_and_by_nothing_else(tmp_path: Path) -> None:
    archive = archived(tmp_path, "C0")
    rows = ListingRows(config_of(tmp_path), FakeClock(), ThreadPool(1))
    for wanted in ("C0", "upbit:C0-1", "C0-1", archive.name):
        assert [row["coin"] for row in rows.matching(wanted)] == ["C0"]
    for wanted in ("", "c", "..", "/", str(archive), "C0/.."):
        assert rows.matching(wanted) == []


def test_they_are_read_again_after_a_second(tmp_path: Path) -> None:
    clock = FakeClock()
    rows = ListingRows(config_of(tmp_path), clock, ThreadPool(1))
    assert rows.all() == []
    archived(tmp_path, "C0")
    assert rows.all() == []
    clock.advance(1.1)
    assert len(rows.all()) == 1
