"""The daily backup of a collector: when it is due, and how it went."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace

import pytest

from pumpwatch.app.backup_job import AGAIN_S, last_due_ns, next_ns, release_checkpoint
from pumpwatch.app.collector import Collector
from pumpwatch.backup.plan import BackupPlan, QuestDBSource
from pumpwatch.backup.questdb import MARKER
from pumpwatch.backup.shelf import FolderShelf
from pumpwatch.backup.state import BackupState, record_result
from pumpwatch.clock import NS_PER_S, FakeClock
from pumpwatch.config_backup import BackupConfig
from tests.ops.data_folder import store
from tests.questdb_server import QuestDBServer

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


def test_one_member_of_a_cluster_backs_up_what_all_share(collector: Collector) -> None:
    config = collector.config
    config.backup.questdb_parquet, config.backup.redis = True, True
    job, asked = collector.jobs.backup, list[str]()
    collector.clock = FakeClock(NOON)
    alone = job._plan()
    assert alone.database and alone.redis

    def does(what: str, for_s: float) -> bool:
        asked.append(what)
        return len(asked) == 1

    collector.cluster = SimpleNamespace(does=does)  # type: ignore[assignment]
    assert job._plan() == alone
    other = job._plan()
    assert (other.database, other.sinks, other.redis) == (None, None, None) and other.data == alone.data
    assert asked == [f"backup:{DUE // S}"] * 2
    config.backup.questdb_folder, config.backup.questdb_parquet = "/here", False
    assert job._plan().database, "its files are on this host"
