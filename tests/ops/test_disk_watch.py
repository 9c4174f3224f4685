"""A disk has a level that comes and goes by itself, and says how long it lasts."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from pumpwatch.clock import FakeClock
from pumpwatch.config_disk import DiskConfig
from pumpwatch.ops.disk_watch import STORE, DiskUse, DiskWatch, Level, disk_use, level_of
from tests.small_disk import fill, small_disk

TOTAL = 1_000_000


class ScriptedDisk:
    """Disks whose used share the test sets, by folder."""

    def __init__(self) -> None:
        self.used: dict[str, float] = {}

    def __call__(self, folder: Path) -> DiskUse:
        share = self.used.get(folder.name)
        if share is None:
            raise OSError(5, "input/output error")
        return DiskUse(TOTAL, round(TOTAL * (1 - share)))


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def disks() -> ScriptedDisk:
    return ScriptedDisk()


@pytest.fixture
def watch(clock: FakeClock, disks: ScriptedDisk) -> DiskWatch:
    return DiskWatch(DiskConfig(), clock, Path("store"), Path("archives"), disks)


@pytest.mark.parametrize(("percent", "before", "level"), [
    (70.0, Level.OK, Level.OK), (70.1, Level.OK, Level.CLEAN_UP), (85.1, Level.OK, Level.EMERGENCY),
    (95.1, Level.OK, Level.FULL), (93.0, Level.FULL, Level.FULL), (91.9, Level.FULL, Level.EMERGENCY),
    (83.0, Level.EMERGENCY, Level.EMERGENCY), (81.9, Level.EMERGENCY, Level.CLEAN_UP), (81.9, Level.CLEAN_UP, Level.CLEAN_UP),
    (66.9, Level.FULL, Level.OK),
])
def test_a_level_begins_above_its_threshold_and_ends_below_it(percent: float, before: Level, level: Level) -> None:
    assert level_of(percent / 100, DiskConfig(), before) is level


def test_each_change_of_a_level_is_logged_once(watch: DiskWatch, disks: ScriptedDisk, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    for share in (0.5, 0.86, 0.86, 0.84, 0.5, 0.5):
        disks.used = {"store": share, "archives": 0.1}
        watch.look()
    assert [record.getMessage().split(" used=")[0] for record in caplog.records] == [
        "disk emergency disk=store", "disk ok disk=store"]
    assert [record.levelno for record in caplog.records] == [logging.WARNING, logging.INFO]


@pytest.mark.parametrize("name", ["store", "archives"])
def test_only_recording_goes_on_while_the_disk_of_the_store_or_the_archives_is_full(
        watch: DiskWatch, disks: ScriptedDisk, name: str) -> None:
    disks.used = {"store": 0.5, "archives": 0.5} | {name: 0.96}
    watch.look()
    assert watch.only_recording and watch.figures()["only_recording"]
    disks.used[name] = 0.93
    watch.look()
    assert watch.only_recording, "it ends 3 % lower"
    disks.used[name] = 0.9
    watch.look()
    assert not watch.only_recording


def test_a_full_disk_of_a_sink_pauses_nothing_here(watch: DiskWatch, disks: ScriptedDisk) -> None:
    disks.used = {"store": 0.5, "archives": 0.5, "sink": 0.99}
    watch.watch("questdb", Path("sink"))
    watch.look()
    assert watch.level("questdb") is Level.FULL and not watch.only_recording
    assert watch.figures()["level"] == "full" and watch.figures()["used_share"] == 0.5
    assert [disk["name"] for disk in watch.figures()["disks"]] == ["store", "archives", "questdb"]


def test_a_disk_that_cannot_be_looked_at_keeps_its_level(watch: DiskWatch, disks: ScriptedDisk) -> None:
    disks.used = {"store": 0.9, "archives": 0.5}
    watch.look()
    disks.used = {}
    watch.look()
    assert watch.level("store") is Level.EMERGENCY


def test_the_days_left_follow_from_the_rate_of_the_last_hours(watch: DiskWatch, disks: ScriptedDisk, clock: FakeClock) -> None:
    def days_left() -> float | None:
        found: float | None = watch.figures()["days_left"]
        return found

    disks.used = {"store": 0.5, "archives": 0.5}
    watch.look()
    assert days_left() is None, "nothing is known yet"
    for minute in range(1, 61):
        clock.advance(60)
        disks.used["store"] = 0.5 + 0.1 * minute / 60
        watch.look()
    assert days_left() == pytest.approx(4 / 24, abs=0.01), "a tenth an hour, and four tenths are free"
    for _ in range(7 * 60):
        clock.advance(60)
        watch.look()
    assert days_left() is None, "it does not grow any more"


def test_a_real_disk_is_measured_and_a_folder_that_is_not_there_yet_counts_with_its_parent(tmp_path: Path) -> None:
    with small_disk(tmp_path / "small", 4) as problem:
        if problem:
            pytest.skip(f"no right to mount a small file system here: {problem}")
        folder = tmp_path / "small" / "not" / "yet"
        empty = disk_use(folder)
        assert empty.total == 4 << 20 and empty.share < 0.1
        watch = DiskWatch(DiskConfig(), FakeClock(), folder, tmp_path / "small")
        ballast = fill(tmp_path / "small")
        watch.look()
        assert watch.level("store") is Level.FULL and disk_use(folder).free == 0
        ballast.unlink()
        watch.look()
        assert watch.level("store") is Level.OK


def test_the_use_at_this_moment_is_newer_than_the_last_look(tmp_path: Path) -> None:
    uses = [DiskUse(100, 60), DiskUse(100, 50), DiskUse(100, 40)]

    def use_of(_: Path) -> DiskUse:
        if not uses:
            raise OSError("gone")
        return uses.pop(0)

    watch = DiskWatch(DiskConfig(), FakeClock(), tmp_path, tmp_path, use_of)
    watch.look()
    assert watch.use_now("archives") == DiskUse(100, 40)
    assert watch.use_now("nothing") is None and watch.use_now(STORE) == DiskUse(100, 60)
