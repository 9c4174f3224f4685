"""The daily backup of a collector: when it is due, and how it went."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import msgspec
import pytest

from pumpwatch.app.backup_job import AGAIN_S, last_due_ns, next_ns, release_checkpoint
from pumpwatch.app.collector import Collector
from pumpwatch.backup.manifest import decode
from pumpwatch.backup.plan import BackupPlan, QuestDBSource
from pumpwatch.backup.questdb import MARKER
from pumpwatch.backup.shelf import FolderShelf
from pumpwatch.backup.state import BackupState, read_state, record_result
from pumpwatch.clock import NS_PER_S, FakeClock
from pumpwatch.cluster.work_claims import WorkClaims
from pumpwatch.config_backup import BackupConfig
from pumpwatch.redis.connection import RedisConnection
from tests.ops.data_folder import store
from tests.questdb_server import QuestDBServer
from tests.redis.waiting import connected, eventually, in_thread, kind_of
from tests.redis_server import RedisNode, single

PART = BackupConfig(at="03:30")
S, DAY = NS_PER_S, 86_400 * NS_PER_S


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp()) * S


NOON, DUE = at("2026-11-28T12:00:00"), at("2026-11-28T03:30:00")


def test_it_is_due_at_its_time_of_day() -> None:
    assert last_due_ns(PART, NOON) == DUE and last_due_ns(PART, DUE) == DUE and last_due_ns(PART, DUE - 1) == DUE - DAY


@pytest.mark.parametrize(("state", "due"), [
    (BackupState(last_ok_ns=DUE + 5), DUE + DAY),
    (BackupState(last_ok_ns=DUE - 5), DUE),  # missed
    (BackupState(), DUE),
    (BackupState(last_ok_ns=DUE - DAY, last_try_ns=DUE + 60 * S, last_error="disk"), DUE + 60 * S + int(AGAIN_S) * S),
    (BackupState(last_ok_ns=DUE - DAY, last_try_ns=DUE - 60 * S, last_error="disk"), DUE),
])
def test_a_missed_one_is_due_at_once_and_a_failed_one_after_an_hour(state: BackupState, due: int) -> None:
    assert next_ns(PART, state, NOON) == due


def test_a_due_backup_is_made_and_the_next_is_tomorrow(collector: Collector, tmp_path: Path) -> None:
    store(collector.folder)
    collector.config.backup.enabled, collector.config.backup.folder = True, str(tmp_path / "backups")
    clock = collector.clock = FakeClock(NOON)
    job = collector.jobs.backup
    collector.started_at_ns = NOON
    job._began = clock.monotonic()
    job.run()
    assert FolderShelf(tmp_path / "backups").manifests() == [], "a start has enough to do"
    clock.advance(600)
    job.run()
    assert len(FolderShelf(tmp_path / "backups").manifests()) == 1
    figures = collector.backup_status()
    assert figures["last_error"] == "" and figures["last_name"] and not figures["running"]


def test_a_backup_that_fails_is_in_the_figures_and_tried_again_later(
        collector: Collector, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    collector.folder.mkdir(exist_ok=True)
    collector.config.backup.enabled, collector.config.backup.folder = True, str(tmp_path / "backups")
    collector.clock = FakeClock(NOON)
    collector.started_at_ns = 0
    job = collector.jobs.backup
    job.run()
    assert "nothing is stored" in collector.backup_status()["last_error"] and "backup failed" in caplog.text
    caplog.clear()
    record_result(collector.folder, NOON, "", "still nothing")
    job.run()
    assert caplog.text == "" and collector.backup_status()["next"] == NOON + int(AGAIN_S) * S


def test_without_it_the_figures_tell_of_backups_made_by_hand(collector: Collector) -> None:
    collector.folder.mkdir(exist_ok=True)
    record_result(collector.folder, 7, "by-hand", "")
    collector.jobs.backup.run()
    assert collector.backup_status() == {"enabled": False, "running": False, "last_ok_ns": 7, "last_name": "by-hand",
                                         "last_error": "", "next": 0}


def test_the_checkpoint_of_a_killed_backup_is_released_while_no_backup_runs(
        questdb_server: QuestDBServer, tmp_path: Path) -> None:
    plan = BackupPlan(data=str(tmp_path), folder=str(tmp_path / "backups"), archives=str(tmp_path),
                      database=QuestDBSource(url=f"http://{questdb_server.addr}"))
    in_progress = "SELECT in_progress FROM checkpoint_status()"
    assert release_checkpoint(plan) is False, "there is nothing to release"
    questdb_server.sql("CHECKPOINT CREATE")
    with FolderShelf(tmp_path / "backups").locked():
        (tmp_path / "backups" / MARKER).touch()
        assert release_checkpoint(plan) is False, "a backup runs, and needs it"
        assert questdb_server.value(in_progress) is True
    assert release_checkpoint(plan) is True
    assert questdb_server.value(in_progress) is False and not (tmp_path / "backups" / MARKER).exists()


@pytest.fixture
def redis(single_redis: RedisNode) -> Iterator[RedisConnection]:
    connection = connected([single_redis.address])
    yield connection
    connection.close()


def member_of(collector: Collector, redis: RedisConnection, folder: Path) -> WorkClaims:
    """Make a collector the member b, with Redis in its backup, which is made at noon."""
    store(collector.folder)
    config = collector.config
    config.redis = redis.config
    config.backup.enabled, config.backup.redis, config.backup.folder = True, True, str(folder)
    collector.clock, collector.started_at_ns = FakeClock(NOON), 0
    once = WorkClaims(redis, "day", "b", 60.0)
    collector.cluster = SimpleNamespace(once=once, name="day")  # type: ignore[assignment]
    return once


def snapshots(folder: Path) -> list[bool]:
    """Return for each backup of a folder whether Redis is in it."""
    shelf = FolderShelf(folder)
    return [any(row.name.startswith("redis/") for row in decode(shelf.read(name), name).files) for name in shelf.manifests()]


def test_one_member_of_a_cluster_backs_up_what_all_share(collector: Collector, redis: RedisConnection, tmp_path: Path) -> None:
    once, config, job = member_of(collector, redis, tmp_path / "b"), collector.config, collector.jobs.backup
    config.backup.questdb_parquet = True
    plan = job._plan()
    assert plan.database and plan.redis and plan.shared and plan.shared.turn.id.startswith("b@")
    other = job._plan()
    assert (other.database, other.sinks, other.redis, other.shared) == (None, None, None, None) and other.data == plan.data
    config.backup.questdb_folder, config.backup.questdb_parquet = "/here", False
    assert job._plan().database, "its files are on this host"
    config.backup.questdb_folder = ""
    assert once.finish(plan.shared.turn, 60.0) and once.state("backup:questdb:redis", "2026-11-28") == "done"


def test_a_member_that_backs_up_other_stores_does_not_rely_on_this_one(
        collector: Collector, redis: RedisConnection, tmp_path: Path) -> None:
    config = member_of(collector, redis, tmp_path / "b") and collector.config
    assert collector.jobs.backup._plan().shared, "this member backs up Redis alone"
    config.sinks["postgres"], config.backup.sinks = {"dsn": "postgresql://x"}, ["postgres"]
    plan = collector.jobs.backup._plan()
    assert plan.sinks and plan.redis and plan.shared, "and that one PostgreSQL too, which nobody else does"


MAKER = """
import os, sys, msgspec
from pumpwatch.backup.make import make
from pumpwatch.backup.plan import BackupPlan, Shared
from pumpwatch.backup import redis as snapshots
from pumpwatch.cluster.work_claims import WorkClaims
from tests.redis.waiting import connected
plan = msgspec.json.decode(sys.stdin.buffer.read(), type=BackupPlan)
once = WorkClaims(connected(plan.redis.nodes), "day", "a", 1.0)
turn = once.claim("backup:redis", plan.occasion)
def stopped(redis):  # as everything is read, and before it may count
    print("here", flush=True)
    os.kill(os.getpid(), 19)
snapshots.masters_of, real = lambda config: (stopped(config), real(config))[1], snapshots.masters_of
made = make(msgspec.structs.replace(plan, shared=Shared(plan.redis, "day", turn)))
print(made.fenced, made.shared, flush=True)
"""


@pytest.mark.parametrize("wakes", [False, True])
def test_another_member_makes_the_backup_where_the_one_that_began_it_dies_or_stands_still(
        collector: Collector, redis: RedisConnection, tmp_path: Path, wakes: bool) -> None:
    once, job = member_of(collector, redis, tmp_path / "b"), collector.jobs.backup
    plan = BackupPlan(data=str(collector.folder), archives=str(collector.folder), folder=str(tmp_path / "a"), redis=redis.config,
                occasion="2026-11-28")
    maker = subprocess.Popen([sys.executable, "-c", MAKER], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                             env=os.environ | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))})
    assert maker.stdin and maker.stdout
    maker.stdin.write(msgspec.json.encode(plan))
    maker.stdin.close()
    try:
        assert in_thread(maker.stdout.readline) == b"here\n"
        job.run()
        assert snapshots(tmp_path / "b") == [False], "another one is at it, so this is of what b alone has"
        if not wakes:
            maker.kill()
        eventually(lambda: once.state("backup:redis", "2026-11-28") == "free", "the lease of a has ended")
        collector.clock.advance(60)  # type: ignore[attr-defined]
        job.run()
        assert snapshots(tmp_path / "b") == [False], "at the first look it may be told yet that it is done"
        job.run()
        assert snapshots(tmp_path / "b") == [False, True] and once.state("backup:redis", "2026-11-28") == "done"
        assert read_state(collector.folder).shared == "2026-11-28"
        job.run()
        assert len(snapshots(tmp_path / "b")) == 2, "one a day"
        if wakes:
            maker.send_signal(signal.SIGCONT)
            assert in_thread(maker.stdout.readline) == b"True False\n"
            assert snapshots(tmp_path / "a") == [False], "what it has of the shared stores came too late"
    finally:
        maker.kill()
        maker.wait()
    if not wakes:
        assert snapshots(tmp_path / "a") == [], "a half one is not there"


def test_each_member_makes_it_while_redis_is_away_and_tells_it_afterwards(collector: Collector, tmp_path: Path) -> None:
    with single() as node:
        redis = connected([node.address])
        once, job = member_of(collector, redis, tmp_path / "b"), collector.jobs.backup
        node.kill()
        eventually(lambda: kind_of(redis, lambda client: client.ping()) == "away", "it is away")
        assert job._plan().redis and job._plan().shared is None
        job._must_make_up()
        node.start()
        eventually(lambda: kind_of(redis, lambda client: client.ping()) == "ok", "it is back")
        job._state = BackupState(shared="2026-11-28")
        assert not job._must_make_up() and once.state("backup:redis", "2026-11-28") == "done"
        redis.close()
