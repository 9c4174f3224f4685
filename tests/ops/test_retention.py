"""The journal stays within its age and size, and keeps what a sink still needs."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from pumpwatch.clock import FakeClock
from pumpwatch.config import StoreConfig
from pumpwatch.errors import StorageError
from pumpwatch.ops.retention import Retention
from pumpwatch.stats import Stats
from pumpwatch.store.journal import Journal
from tests.trades import batch_of, catalogue_of

HOURS = 8


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def journal(tmp_path: Path, clock: FakeClock) -> Journal:
    """A journal of eight hours, a segment each."""
    one = Journal(tmp_path, catalogue_of(), clock, Stats())
    one.open()
    for hour in range(HOURS):
        one.commit([batch_of(3000, first_id=hour * 3000, start_ns=clock.now_ns())])
        clock.advance(3600)
    return one


def files(folder: Path) -> int:
    return len(list((folder / "journal").glob("*.sqlite")))


def retention(journal: Journal, clock: FakeClock, options: StoreConfig, *sinks: str) -> Retention:
    return Retention(journal, options, sinks, clock, Stats(), lambda job: job())


def test_without_a_sink_the_journal_is_kept_for_its_hours(journal: Journal, clock: FakeClock, tmp_path: Path) -> None:
    job = retention(journal, clock, StoreConfig(retention_hours=5.5))
    assert len(job.run()) == HOURS - 5
    assert job.run() == []
    assert files(tmp_path) == 5


def test_without_a_sink_the_oldest_go_when_it_grows_too_large(journal: Journal, clock: FakeClock) -> None:
    size = journal.size_bytes()
    retention(journal, clock, StoreConfig(max_bytes=size // 2)).run()
    assert 0 < journal.size_bytes() <= size // 2
    assert journal.read_after(0, 10**9)[-1][1].trade_id.max() == HOURS * 3000 - 1


def test_with_a_sink_only_what_it_has_goes_and_the_last_two_hours_stay(
        journal: Journal, clock: FakeClock, tmp_path: Path) -> None:
    job = retention(journal, clock, StoreConfig(), "questdb")
    assert job.run() == []
    journal.acknowledge("questdb", journal.read_after(0, 10**9)[-1][0])
    assert len(job.run()) == HOURS - 2
    assert files(tmp_path) == 2


def test_a_sink_that_lags_keeps_its_files_beyond_the_size_and_that_is_said_once(
        journal: Journal, clock: FakeClock, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    job = retention(journal, clock, StoreConfig(max_bytes=1), "questdb")
    with caplog.at_level(logging.WARNING):
        assert job.run() == job.run() == []
    assert len([record for record in caplog.records if "max_bytes" in record.message]) == 1
    assert files(tmp_path) == HOURS


class RefusingJournal:
    """A journal whose disk refuses."""

    def expire(self, now_ns: int, retention_s: float, max_bytes: int, sinks: object) -> list[Path]:
        raise StorageError("disk: remove failed")

    def size_bytes(self) -> int:
        return 0


def test_a_disk_that_refuses_is_said_once_and_tried_again(clock: FakeClock, caplog: pytest.LogCaptureFixture) -> None:
    job = Retention(RefusingJournal(), StoreConfig(), (), clock, Stats(), lambda job: job())
    assert job.run() == job.run() == []
    assert len(caplog.records) == 1
