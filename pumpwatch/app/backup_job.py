"""Make the daily backup of a running collector in a separate process, and keep the result of the last one.

A backup is due at `backup.at` each day. A backup that was missed or failed is made later. On a full disk it waits. A checkpoint
of QuestDB that a killed backup has left is released.

Of the members of a cluster that back up the same shared stores, one makes their daily backup. If it dies before the end, another
member makes it.
"""

from __future__ import annotations

import logging
from contextlib import AbstractContextManager, nullcontext
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
from gevent.threadpool import ThreadPool

from pumpwatch.app.parts import CollectorParts
from pumpwatch.backup.child import backup_in_child
from pumpwatch.backup.plan import BackupPlan, Shared, plan_of
from pumpwatch.backup.questdb import MARKER, release_left_over
from pumpwatch.backup.shelf import FolderShelf
from pumpwatch.backup.state import BackupState, read_state, record_result
from pumpwatch.backup.turn import DAYS_S, shares, without_shared, work_of
from pumpwatch.clock import NS_PER_S
from pumpwatch.config_backup import BackupConfig
from pumpwatch.errors import PumpWatchError
from pumpwatch.redis.errors import RedisUnavailable

log = logging.getLogger(__name__)

CHECK_S = 20.0
AFTER_START_S = 120.0  # a missed backup waits this long, because a start is busy
AGAIN_S = 3600.0  # until the next try after a failure
FREE_LOOKS = 2  # looks that find nobody at it; meanwhile a member that has made it restores its mark in an emptied Redis


class BackupJob:
    """The backups of one collector."""

    def __init__(self, collector: CollectorParts) -> None:
        self._collector, self._part = collector, collector.config.backup
        self._thread = ThreadPool(1)
        self._state = BackupState()
        self._running = False
        self._release_failed = False
        self._free_looks = 0
        self._began = collector.clock.monotonic()

    def run(self) -> None:
        """Make the backup if it is due; only the calling greenlet waits."""
        self._state = self._thread.apply(read_state, (self._collector.folder,))
        self._release_checkpoint()
        clock = self._collector.clock
        waits = clock.monotonic() - self._began < AFTER_START_S and self._missed_before_start()
        waits = waits or self._collector.disk.only_recording
        if not self._part.enabled or waits:
            return
        if clock.now_ns() >= next_ns(self._part, self._state, clock.now_ns()) or self._must_make_up():
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
        self._running, self._free_looks = True, 0
        try:
            plan = self._plan()
            with self._kept(plan):
                made = self._thread.apply(backup_in_child, (plan,))
        except PumpWatchError as error:
            log.error("backup failed, next try in %.0f s reason=%s", AGAIN_S, error)
            self._thread.apply(record_result, (folder, clock.now_ns(), "", str(error)))
        else:
            problem = made.error or "; ".join(made.problems)
            level = logging.ERROR if problem else logging.INFO
            log.log(level, "backup made name=%s files=%d bytes=%d new_bytes=%d took_s=%.1f%s", made.name, made.files,
                    made.bytes, made.new_bytes, made.took_s, f" problem={problem}" if problem else "")
            if made.fenced:
                log.warning("another member has backed up the shared stores, this backup does not contain them")
        finally:
            self._running = False
            self._state = self._thread.apply(read_state, (folder,))

    def _plan(self) -> BackupPlan:
        """Return the plan, without the stores that all members of a cluster share if another member backs those up today."""
        plan, cluster = plan_of(self._collector.config), self._collector.cluster
        if cluster is None or not shares(plan):
            return plan
        plan = msgspec.structs.replace(plan, occasion=self._occasion())
        try:
            turn = cluster.once.claim(work_of(plan), plan.occasion)
        except RedisUnavailable:
            return plan  # each member makes it then
        if turn is None:
            log.info("another member backs up the shared stores")
            return without_shared(plan)
        return msgspec.structs.replace(plan, shared=Shared(self._collector.config.redis, cluster.name, turn))

    def _kept(self, plan: BackupPlan) -> AbstractContextManager[None]:
        """Keep the lease while the backup is made."""
        cluster = self._collector.cluster
        return cluster.once.kept(plan.shared.turn) if cluster and plan.shared else nullcontext()

    def _occasion(self) -> str:
        due_ns = last_due_ns(self._part, self._collector.clock.now_ns())
        return datetime.fromtimestamp(due_ns // NS_PER_S, UTC).date().isoformat()

    def _must_make_up(self) -> bool:
        """Return whether today's backup of the shared stores is missing and no member is making it.

        If this member has made it, it records that in Redis again, because Redis may have been emptied.
        """
        cluster, state, now_ns = self._collector.cluster, self._state, self._collector.clock.now_ns()
        plan = plan_of(self._collector.config)
        if cluster is None or not shares(plan):
            return False
        try:
            if state.shared == self._occasion():
                cluster.once.record_done(work_of(plan), state.shared, DAYS_S)
                return False
            found = cluster.once.state(work_of(plan), self._occasion())
        except RedisUnavailable:
            return False
        self._free_looks = self._free_looks + 1 if found == "free" else 0
        failed = bool(state.last_error) and now_ns < state.last_try_ns + AGAIN_S * NS_PER_S
        return self._free_looks >= FREE_LOOKS and not failed

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
