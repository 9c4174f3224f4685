"""Old days go from a sink as its disk fills up, never by a clock alone, and never without their copy."""

from __future__ import annotations

import io
import logging
from collections.abc import Callable
from typing import BinaryIO

import pytest

from pumpwatch.clock import FakeClock
from pumpwatch.config_disk import DiskConfig
from pumpwatch.errors import StorageError
from pumpwatch.ops.cold_file import ColdFile
from pumpwatch.ops.cold_tier import ColdTier, due_days, kept_days
from pumpwatch.ops.disk_watch import Level
from tests.ops.scripted_sink import DaySink


class Shelf:
    """A target that keeps facts, and refuses what it is told to."""

    def __init__(self) -> None:
        self.files: dict[str, ColdFile] = {}
        self.refuses = False

    def held(self, name: str) -> ColdFile | None:
        return self.files.get(name)

    def store(self, name: str, trades: int, checksum: int, write: Callable[[BinaryIO], None]) -> ColdFile:
        if self.refuses:
            raise StorageError("no room")
        content = io.BytesIO()
        write(content)
        self.files[name] = ColdFile(name, trades, checksum, "", len(content.getvalue()))
        return self.files[name]


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def sink(clock: FakeClock) -> DaySink:
    return DaySink(clock.now_ns(), 40)


def test_each_level_keeps_fewer_days_and_a_sink_that_keeps_for_ever_keeps_all() -> None:
    options = DiskConfig()
    assert [kept_days(level, 90, options) for level in Level] == [90, 30, 25, 25]
    assert [kept_days(level, 7, options) for level in Level] == [7, 7, 7, 7]
    assert [kept_days(level, 0, options) for level in Level] == [0, 0, 0, 0]


def test_days_go_by_the_level_and_the_sinks_own_setting_comes_back(
        sink: DaySink, clock: FakeClock, caplog: pytest.LogCaptureFixture) -> None:
    tier = ColdTier("questdb", sink, DiskConfig(), clock)
    assert tier.run(Level.OK) == [] and sink.drops == []
    assert len(tier.run(Level.CLEAN_UP)) == 10 and len(sink.held) == 30
    assert len(tier.run(Level.EMERGENCY)) == 5 and len(sink.held) == 25 and sink.kept[-1] == 25
    assert tier.run(Level.EMERGENCY) == []
    assert "level=emergency days=5" in caplog.text and "trades=500 bytes=25000" in caplog.text
    assert tier.run(Level.OK) == [] and sink.kept[-1] == 30
    assert tier.figures() | {"oldest_ns": 0} == {"sink": "questdb", "bytes": 125_000, "days": 25, "keeps_s": 30 * 86_400.0,
                                                 "oldest_ns": 0, "due": 0}


def test_a_clock_that_is_ahead_removes_nothing(sink: DaySink, clock: FakeClock) -> None:
    clock.step(400 * 86_400)
    assert len(ColdTier("questdb", sink, DiskConfig(), clock).run(Level.EMERGENCY)) == 15 and len(sink.held) == 25
    assert due_days([], 25, clock.now_ns()) == []


def test_a_sink_that_keeps_for_ever_is_told_once(clock: FakeClock, caplog: pytest.LogCaptureFixture) -> None:
    sink = DaySink(clock.now_ns(), 400, keeps_days=0)
    tier = ColdTier("questdb", sink, DiskConfig(), clock)
    for _ in range(3):
        assert tier.run(Level.FULL) == []
    assert sink.drops == [] and caplog.text.count("without limit") == 1


def test_a_day_is_copied_before_it_goes_and_before_the_sink_drops_it_by_itself(sink: DaySink, clock: FakeClock) -> None:
    shelf = Shelf()
    tier = ColdTier("questdb", sink, DiskConfig(), clock, shelf)
    tier.run(Level.OK)
    assert len(shelf.files) == 12, "those that are due, and two days ahead"
    tier.run(Level.EMERGENCY)
    assert len(sink.held) == 25 and {f"questdb/{name}" for names in sink.drops for name in names} <= shelf.files.keys()
    written = len(sink.written)
    tier.run(Level.EMERGENCY)
    assert len(sink.written) == written, "a copy is made once"


def test_a_day_without_a_copy_stays(sink: DaySink, clock: FakeClock, caplog: pytest.LogCaptureFixture) -> None:
    shelf = Shelf()
    shelf.refuses = True
    tier = ColdTier("questdb", sink, DiskConfig(), clock, shelf)
    assert tier.run(Level.EMERGENCY) == [] and sink.drops == [] and sink.kept == [30]
    assert "day not copied, so it is kept" in caplog.text
    shelf.refuses = False
    assert len(tier.run(Level.FULL, only_recording=True)) == 0 and not shelf.files, "a copy would fill the disk"
    assert len(tier.run(Level.EMERGENCY)) == 15


def test_a_day_that_got_more_trades_since_its_copy_is_copied_again(sink: DaySink, clock: FakeClock) -> None:
    caught = Shelf()
    tier = ColdTier("questdb", sink, DiskConfig(), clock, caught)
    tier.run(Level.OK)
    first = sink.held[0]
    caught.files[f"questdb/{first.name}"] = ColdFile(f"questdb/{first.name}", first.trades - 1, 7, "", 4)
    tier.run(Level.CLEAN_UP)
    assert sink.written.count(first.name) == 2


def test_a_day_that_came_back_with_a_few_trades_does_not_replace_its_fuller_copy(sink: DaySink, clock: FakeClock) -> None:
    shelf, first = Shelf(), sink.held[0]
    shelf.files[f"questdb/{first.name}"] = ColdFile(f"questdb/{first.name}", first.trades + 1, 7, "", 4)
    dropped = ColdTier("questdb", sink, DiskConfig(), clock, shelf).run(Level.CLEAN_UP)
    assert first in dropped
    assert shelf.files[f"questdb/{first.name}"].trades == first.trades + 1
    assert shelf.files[f"questdb/{first.name}-{first.trades}"].trades == first.trades


def test_a_sink_that_was_shortened_keeps_its_days_again_while_the_next_ones_cannot_be_copied(
        sink: DaySink, clock: FakeClock) -> None:
    shelf = Shelf()
    tier = ColdTier("questdb", sink, DiskConfig(), clock, shelf)
    tier.run(Level.EMERGENCY)
    assert sink.kept[-1] == 25
    shelf.files.pop(f"questdb/{sink.held[0].name}")  # a day that the sink would drop by itself tomorrow
    tier.run(Level.FULL, only_recording=True)
    assert sink.kept[-1] == 30 and len(sink.held) == 25
    tier.run(Level.EMERGENCY)
    assert sink.kept[-1] == 25


@pytest.fixture(autouse=True)
def _every_line(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
