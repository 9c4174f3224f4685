"""The plan of retention names the files and days that would go, as the collector would choose them, and removes none."""

from __future__ import annotations

from pathlib import Path

import pytest

from pumpwatch.clock import FakeClock
from pumpwatch.config import Config, StoreConfig
from pumpwatch.config_disk import DiskConfig
from pumpwatch.errors import ServiceUnavailable
from pumpwatch.ops.disk_watch import Level
from pumpwatch.ops.retention_plan import JOURNAL, plan, run_on_sinks
from pumpwatch.sink_abilities import StoredDay
from pumpwatch.stats import Stats
from pumpwatch.store.journal import Journal
from tests.ops.scripted_sink import DaySink
from tests.trades import batch_of, catalogue_of

HOURS = 8


class DeafSink(DaySink):
    """A sink that does not answer."""

    def days(self) -> list[StoredDay]:
        raise ServiceUnavailable("it does not answer")


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def config(tmp_path: Path, clock: FakeClock) -> Config:
    """A config whose journal has eight hours, a segment each, and is closed."""
    journal = Journal(tmp_path, catalogue_of(), clock, Stats())
    journal.open()
    for _ in range(HOURS):
        journal.commit(batch_of(1000, start_ns=clock.now_ns()))
        clock.advance(3600)
    journal.close()
    return Config(store=StoreConfig(dir=str(tmp_path), retention_hours=5), disk=DiskConfig(emergency_hours=2))


def test_segments_and_days_that_are_too_old_are_named_and_stay(config: Config, clock: FakeClock, tmp_path: Path) -> None:
    sink = DaySink(clock.now_ns(), 40)
    before = sorted((tmp_path / "journal").iterdir())
    found = plan(config, {"days": sink}, clock, assumed=Level.CLEAN_UP)
    segments = [row for row in found.due if row.store == JOURNAL]
    assert [row.trades for row in segments] == [1000] * 2 and {row.why for row in segments} == {"older than 5 h"}
    days = [row for row in found.due if row.store == "days"]
    assert len(days) == 10 and {(row.why, row.copied) for row in days} == {("older than 30 days", None)}
    assert len(sink.held) == 40 and sorted((tmp_path / "journal").iterdir()) == before
    assert found.levels == {JOURNAL: Level.CLEAN_UP, "days": Level.CLEAN_UP} and found.problems == []


def test_a_sink_that_lacks_everything_keeps_the_journal_whole(config: Config, clock: FakeClock) -> None:
    config.sinks = {"days": {}}
    assert plan(config, {}, clock, assumed=Level.FULL).due == []


def test_a_sink_that_does_not_answer_is_named(config: Config, clock: FakeClock) -> None:
    deaf = {"deaf": DeafSink(clock.now_ns(), 3)}
    assert plan(config, deaf, clock).problems == run_on_sinks(config, deaf, clock)[1] == ["deaf: it does not answer"]


def test_without_a_collector_the_days_of_sinks_go(config: Config, clock: FakeClock) -> None:
    sink = DaySink(clock.now_ns(), 40)
    config.disk = DiskConfig(clean_up_percent=0.002, emergency_percent=99.998, full_percent=99.999, back_percent=0.001)
    sink.files_in = lambda: config.store.dir  # type: ignore[method-assign]
    gone, problems = run_on_sinks(config, {"days": sink}, clock)
    assert len(gone) == 10 and problems == [] and len(sink.held) == 30
