"""Make the daily backup of a running collector in a separate process, and keep the result of the last one.

A backup is due at `backup.at` each day. A backup that was missed or failed is made later. On a full disk it waits. A checkpoint
of QuestDB that a killed backup has left is released.

One member of a cluster backs up the stores that all members share.
"""

from __future__ import annotations

import logging
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
from gevent.threadpool import ThreadPool

from pumpwatch.app.parts import CollectorParts
from pumpwatch.backup.child import backup_in_child
from pumpwatch.backup.plan import BackupPlan, plan_of
from pumpwatch.backup.questdb import MARKER, release_left_over
from pumpwatch.backup.shelf import FolderShelf
from pumpwatch.backup.state import BackupState, read_state, record_result
from pumpwatch.clock import NS_PER_S
from pumpwatch.config_backup import BackupConfig
from pumpwatch.errors import PumpWatchError

log = logging.getLogger(__name__)

CHECK_S = 20.0
AFTER_START_S = 120.0  # a missed backup waits this long, because a start is busy
AGAIN_S = 3600.0  # until the next try after a failure
DAY_S = 86_400.0


class BackupJob:
    """The backups of one collector."""

    def __init__(self, collector: CollectorParts) -> None:
        self._collector, self._part = collector, collector.config.backup
        self._thread = ThreadPool(1)
        self._state = BackupState()
        self._running = False
        self._release_failed = False
        self._began = collector.clock.monotonic()

    def run(self) -> None:
        """Make the backup if it is due; only the calling greenlet waits."""
        self._state = self._thread.apply(read_state, (self._collector.folder,))
        self._release_checkpoint()
        clock = self._collector.clock
        waits = clock.monotonic() - self._began < AFTER_START_S and self._missed_before_start()
        waits = waits or self._collector.disk.only_recording
        if self._part.enabled and not waits and clock.now_ns() >= next_ns(self._part, self._state, clock.now_ns()):
            self._back_up()

    def _release_checkpoint(self) -> None:
        """Release the checkpoint of a backup that was killed, and keep trying while QuestDB does not answer."""
        if not self._part.questdb_folder:
            return
        try:
            released = self._thread.apply(release_checkpoint, (plan_of(self._collector.config),))
        except PumpWatchError as error:
            if not self._release_failed:
                log.warning("QuestDB checkpoint of a killed backup not released yet reason=%s", error)
            self._release_failed = True
            return
        self._release_failed = False
        if released:
            log.warning("QuestDB checkpoint of a killed backup released")

    def _missed_before_start(self) -> bool:
        return last_due_ns(self._part, self._collector.clock.now_ns()) < self._collector.started_at_ns

    def _back_up(self) -> None:
        folder, clock = self._collector.folder, self._collector.clock
        self._running = True
        try:
            plan = self._plan()
            made = self._thread.apply(backup_in_child, (plan,))
        except PumpWatchError as error:
            log.error("backup failed, next try in %.0f s reason=%s", AGAIN_S, error)
            self._thread.apply(record_result, (folder, clock.now_ns(), "", str(error)))
        else:
            problem = made.error or "; ".join(made.problems)
            level = logging.ERROR if problem else logging.INFO
            log.log(level, "backup made name=%s files=%d bytes=%d new_bytes=%d took_s=%.1f%s", made.name, made.files,
                    made.bytes, made.new_bytes, made.took_s, f" problem={problem}" if problem else "")
        finally:
            self._running = False
            self._state = self._thread.apply(read_state, (folder,))

    def _plan(self) -> BackupPlan:
        """Return the plan, without the stores that all members of a cluster share if another member backs those up today."""
        plan, cluster = plan_of(self._collector.config), self._collector.cluster
        own_files = plan.database is not None and bool(plan.database.folder)  # on this host
        if cluster is None or not (plan.sinks or plan.redis or (plan.database and not own_files)):
            return plan
        due_s = last_due_ns(self._part, self._collector.clock.now_ns()) // NS_PER_S
        if cluster.does(f"backup:{due_s}", DAY_S):
            return plan
        log.info("another member backs up the shared stores")
        return msgspec.structs.replace(plan, sinks=None, redis=None, database=plan.database if own_files else None)

    def figures(self) -> dict[str, Any]:
        """Return `backup` of `status.json`; times in ns, 0 for never."""
        state, now_ns = self._state, self._collector.clock.now_ns()
        return {"enabled": self._part.enabled, "running": self._running, "last_ok_ns": state.last_ok_ns,
                "last_name": state.last_name, "last_error": state.last_error,
                "next": next_ns(self._part, state, now_ns) if self._part.enabled else 0}


def release_checkpoint(plan: BackupPlan) -> bool:
    """Release the checkpoint of a killed backup; return whether there was one. A running backup is left alone.

    Blocks. Raises ServiceUnavailable, ConfigError, StorageError.
    """
    marker = Path(plan.folder) / MARKER
    if plan.database is None or not marker.exists():
        return False
    shelf = FolderShelf(Path(plan.folder))
    with shelf.unless_locked() as free:
        if free:
            release_left_over(plan.database, marker)
        return free


def last_due_ns(part: BackupConfig, now_ns: int) -> int:
    """Return the last time of day `backup.at` before or at a moment."""
    now = datetime.fromtimestamp(now_ns // NS_PER_S, UTC)
    hour, minute = map(int, part.at.split(":"))
    due = now.replace(hour=hour, minute=minute, second=0, microsecond=0)
    return int((due if due <= now else due - timedelta(days=1)).timestamp()) * NS_PER_S


def next_ns(part: BackupConfig, state: BackupState, now_ns: int) -> int:
    """Return when the next backup is due, ns since 1970: in the past if it was missed, an hour after a failure."""
    due_ns = last_due_ns(part, now_ns)
    if state.last_ok_ns >= due_ns:
        return due_ns + 86_400 * NS_PER_S
    if state.last_error and state.last_try_ns >= due_ns:
        return state.last_try_ns + int(AGAIN_S * NS_PER_S)
    return due_ns
