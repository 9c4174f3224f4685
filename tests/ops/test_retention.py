"""The journal stays within its age and size, keeps what a sink still needs, and believes no clock that was set."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from pumpwatch.clock import NS_PER_S, FakeClock
from pumpwatch.config import StoreConfig
from pumpwatch.config_disk import DiskConfig
from pumpwatch.errors import StorageError
from pumpwatch.model import GapState
from pumpwatch.ops.disk_watch import DiskUse, Level
from pumpwatch.ops.retention import Retention, allowed_bytes
from pumpwatch.stats import Stats
from pumpwatch.store.expiry import Removed
from pumpwatch.store.journal import Journal
from tests.trades import batch_of, catalogue_of

HOURS = 8
DAY_S = 86_400.0


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


def store_hours(journal: Journal, clock: FakeClock, hours: int = HOURS, every_s: float = 1200, ahead_s: float = 0) -> None:
    """Store trades every 20 minutes, stamped by the true clock, which is `ahead_s` before the machine's."""
    for _ in range(round(hours * 3600 / every_s)):
        journal.commit(batch_of(1000, start_ns=clock.now_ns() - int(ahead_s * NS_PER_S)))
        clock.advance(every_s)


@pytest.fixture
def journal(tmp_path: Path, clock: FakeClock) -> Journal:
    """A journal of eight hours, a segment each."""
    stored = Journal(tmp_path, catalogue_of(), clock, Stats())
    stored.open()
    store_hours(stored, clock)
    return stored


def files(folder: Path) -> int:
    return len(list((folder / "journal").glob("*.sqlite")))


def retention(journal: Journal, clock: FakeClock, options: StoreConfig, *sinks: str) -> Retention:
    return Retention(journal, options, sinks, clock, Stats())


def run_for(job: Retention, journal: Journal, clock: FakeClock, hours: float, ahead_s: float = 0) -> int:
    """Collect and expire for some hours; return how many files went."""
    removed = 0
    for _ in range(round(hours * 6)):
        journal.commit(batch_of(100, start_ns=clock.now_ns() - int(ahead_s * NS_PER_S)))
        clock.advance(600)
        removed += len(job.run())
    return removed


def test_the_journal_is_kept_for_its_hours(journal: Journal, clock: FakeClock, tmp_path: Path) -> None:
    job = retention(journal, clock, StoreConfig(retention_hours=6))
    run_for(job, journal, clock, 30)
    assert 7 <= files(tmp_path) <= 8, "six full hours, the one that is written, and one that is partly due"
    assert not journal.ledger.gaps(), "what was due is no loss"


def test_a_sink_that_has_everything_shortens_nothing(journal: Journal, clock: FakeClock, tmp_path: Path) -> None:
    job = retention(journal, clock, StoreConfig(retention_hours=72), "questdb")
    journal.acknowledge("questdb", journal.read_after(0, 10**9)[-1][0])
    assert run_for(job, journal, clock, 12) == 0


def test_what_a_sink_lacks_is_kept_however_old_it_is(journal: Journal, clock: FakeClock, tmp_path: Path) -> None:
    job = retention(journal, clock, StoreConfig(retention_hours=2), "questdb")
    run_for(job, journal, clock, 12)
    assert files(tmp_path) >= HOURS + 12
    journal.acknowledge("questdb", journal.read_after(0, 10**9)[-1][0])
    run_for(job, journal, clock, 24)
    assert files(tmp_path) > 24, "what came since is not acknowledged"
    journal.acknowledge("questdb", journal.read_after(0, 10**9)[-1][0])


def test_a_clock_set_ahead_removes_nothing(journal: Journal, clock: FakeClock, tmp_path: Path,
                                           caplog: pytest.LogCaptureFixture) -> None:
    job = retention(journal, clock, StoreConfig(retention_hours=72))
    run_for(job, journal, clock, 1)
    clock.step(5 * DAY_S)
    with caplog.at_level(logging.WARNING):
        assert run_for(job, journal, clock, 24, ahead_s=5 * DAY_S) == 0
    assert len([line for line in caplog.records if "by age within the next hour by_s=432000" in line.message]) == 1


def test_a_clock_set_ahead_that_the_trades_follow_removes_at_most_an_hour_an_hour(
        journal: Journal, clock: FakeClock, tmp_path: Path) -> None:
    job = retention(journal, clock, StoreConfig(retention_hours=72))
    run_for(job, journal, clock, 1)
    clock.step(5 * DAY_S)
    assert run_for(job, journal, clock, 5 / 6) == 0
    assert run_for(job, journal, clock, 2.1) <= 3
    assert files(tmp_path) >= HOURS - 3


def test_a_clock_set_back_removes_nothing(journal: Journal, clock: FakeClock) -> None:
    job = retention(journal, clock, StoreConfig(retention_hours=6))
    clock.step(-2 * DAY_S)
    assert run_for(job, journal, clock, 5) == 0


def test_a_few_trades_stamped_ahead_are_not_believed(journal: Journal, clock: FakeClock, tmp_path: Path) -> None:
    job = retention(journal, clock, StoreConfig(retention_hours=72))
    clock.step(5 * DAY_S)
    for _ in range(12):
        for number in range(20):
            ahead_s = 5 * DAY_S if number % 4 else 0  # a quarter of all trades are stamped by the wrong clock
            journal.commit(batch_of(10, start_ns=clock.now_ns() - int(ahead_s * NS_PER_S)))
        clock.advance(3600)
        assert job.run() == []


def test_after_a_long_pause_what_is_due_goes_in_steps(journal: Journal, clock: FakeClock, tmp_path: Path) -> None:
    clock.advance(5 * DAY_S)
    job = retention(journal, clock, StoreConfig(retention_hours=72))
    assert run_for(job, journal, clock, 1 / 6) == 0
    run_for(job, journal, clock, 2)
    assert files(tmp_path) >= HOURS - 2
    run_for(job, journal, clock, 6)
    assert files(tmp_path) <= 10, "all of what was due is gone, and no more than the new hours are there"


def test_a_start_expires_nothing_before_trades_tell_the_time(tmp_path: Path, clock: FakeClock, journal: Journal) -> None:
    journal.close()
    clock.advance(30 * DAY_S)
    again = Journal(tmp_path, catalogue_of(), clock, Stats())
    again.open()
    assert retention(again, clock, StoreConfig()).run() == []


def test_the_oldest_go_when_it_grows_too_large_and_that_is_a_gap(journal: Journal, clock: FakeClock) -> None:
    size = journal.size_bytes()
    kept_from = journal.read_after(0, 10**9)
    job = retention(journal, clock, StoreConfig(max_bytes=size // 2))
    assert job.run()
    assert 0 < journal.size_bytes() <= size // 2
    left = {number for number, _ in journal.read_after(0, 10**9)}
    gone = [batch for number, batch in kept_from if number not in left]
    gaps = [gap for _, gap in journal.ledger.gaps()]
    assert {(gap.exchange, gap.market_type) for gap in gaps} == {("binance", "spot"), ("binance", "futures")}
    for gap in gaps:
        assert gap.state == GapState.LOST
        assert gap.from_ns <= min(int(batch.timestamp.min()) for batch in gone)
        assert gap.to_ns > max(int(batch.timestamp.max()) for batch in gone)
    for _ in range(3):
        store_hours(journal, clock, 2)
        job.run()
    assert len(journal.ledger.gaps()) == 2, "the gap grows, there is no second one"


def test_what_every_sink_has_goes_for_its_size_without_a_gap(journal: Journal, clock: FakeClock) -> None:
    journal.acknowledge("questdb", journal.read_after(0, 10**9)[-1][0])
    assert retention(journal, clock, StoreConfig(max_bytes=journal.size_bytes() // 2), "questdb").run()
    assert not journal.ledger.gaps()


def test_a_sink_that_lags_keeps_its_files_beyond_the_size_and_that_is_said_once(
        journal: Journal, clock: FakeClock, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    job = retention(journal, clock, StoreConfig(max_bytes=1), "questdb")
    with caplog.at_level(logging.WARNING):
        assert job.run() == job.run() == []
    assert len([record for record in caplog.records if "max_bytes" in record.message]) == 1
    assert files(tmp_path) == HOURS


class RefusingJournal:
    """A journal whose disk refuses."""

    def expire(self, before_ns: int, max_bytes: int, sinks: object, span_s: float, counted: int | None) -> list[Removed]:
        raise StorageError("disk: remove failed")

    def newest_trades_ns(self) -> int:
        return 2**62

    def size_bytes(self) -> int:
        return 0


def test_a_disk_that_refuses_is_said_once_and_tried_again(clock: FakeClock, caplog: pytest.LogCaptureFixture) -> None:
    job = Retention(RefusingJournal(), StoreConfig(), (), clock, Stats())
    assert job.run() == job.run() == []
    assert len(caplog.records) == 1


def test_what_is_not_counted_yet_does_not_go_for_its_age(journal: Journal, clock: FakeClock, tmp_path: Path) -> None:
    counted = 0
    job = Retention(journal, StoreConfig(retention_hours=2.0), (), clock, Stats(), lambda: counted)
    assert run_for(job, journal, clock, 1.5) == 0
    counted = 10**9
    assert run_for(job, journal, clock, 0.2) > 0
    journal.close()


class FillingDisk:
    """A disk of which the journal and something else take a part."""

    def __init__(self, journal: Journal, level: Level, over: int) -> None:
        """over: bytes that must go until the emergency ends (for a journal with sinks)."""
        self.journal, self.reached = journal, level
        self.total = 1_000_000_000
        self.others = int(self.total * 0.82) + over - journal.size_bytes()

    def level(self, name: str) -> Level:
        return self.reached

    def use_now(self, name: str) -> DiskUse:
        return DiskUse(self.total, self.total - self.others - self.journal.size_bytes())


def test_in_an_emergency_the_oldest_segments_that_every_sink_has_go_until_it_is_over(
        journal: Journal, clock: FakeClock, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    disk = FillingDisk(journal, Level.EMERGENCY, over=3 * journal.size_bytes() // (HOURS + 1))
    journal.acknowledge("questdb", journal.read_after(0, 10**9)[-1][0])
    job = Retention(journal, StoreConfig(), ["questdb"], clock, Stats(), disks=disk, disk=DiskConfig(emergency_hours=2))
    assert 3 <= len(job.run()) <= 4 and not journal.ledger.gaps(), "the sink has them"
    assert job.run() == [], "there is room again"
    assert caplog.text.count("journal shortened because the disk fills up level=emergency") == 1


def test_in_an_emergency_nothing_goes_that_a_sink_lacks(journal: Journal, clock: FakeClock) -> None:
    disk = FillingDisk(journal, Level.FULL, over=journal.size_bytes())
    job = Retention(journal, StoreConfig(), ["questdb"], clock, Stats(), disks=disk, disk=DiskConfig(emergency_hours=2))
    assert job.run() == []


def test_the_last_hours_stay_in_an_emergency(journal: Journal, clock: FakeClock, tmp_path: Path) -> None:
    disk = FillingDisk(journal, Level.EMERGENCY, over=10 * journal.size_bytes())
    journal.acknowledge("questdb", journal.read_after(0, 10**9)[-1][0])
    job = Retention(journal, StoreConfig(), ["questdb"], clock, Stats(), disks=disk, disk=DiskConfig(emergency_hours=4))
    job.run()
    assert 4 <= files(tmp_path) <= 6


def test_a_journal_that_is_the_only_store_shrinks_on_a_full_disk_alone_and_leaves_a_gap(
        journal: Journal, clock: FakeClock) -> None:
    disk = FillingDisk(journal, Level.EMERGENCY, over=10**9)
    job = Retention(journal, StoreConfig(), [], clock, Stats(), disks=disk, disk=DiskConfig(emergency_hours=4))
    assert job.run() == []
    disk.reached = Level.FULL
    assert job.run() != []
    assert {(gap.reason.partition(":")[0], gap.state) for _, gap in journal.ledger.gaps()} == {
        ("removed before store.retention_hours", GapState.LOST)}


def test_other_options_count_from_the_next_run_on(journal: Journal, clock: FakeClock, tmp_path: Path) -> None:
    job = retention(journal, clock, StoreConfig())
    assert run_for(job, journal, clock, 4) == 0
    job.options_changed(StoreConfig(retention_hours=4), DiskConfig())
    assert run_for(job, journal, clock, 8) > 8


@pytest.mark.parametrize(("level", "in_sinks", "allowed"), [
    (Level.OK, True, 500), (Level.CLEAN_UP, True, 500), (Level.EMERGENCY, True, 410), (Level.FULL, True, 410),
    (Level.EMERGENCY, False, 500), (Level.FULL, False, 500)])
def test_no_more_is_asked_for_than_a_level_needs(level: Level, in_sinks: bool, allowed: int) -> None:
    assert allowed_bytes(500, 100, DiskUse(1000, 90), level, DiskConfig(), in_sinks=in_sinks) == allowed
