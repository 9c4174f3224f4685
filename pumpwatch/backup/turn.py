"""Backups of the stores that all members of a cluster share: one member makes them, and Redis confirms that they count."""

from __future__ import annotations

import time

import msgspec

from pumpwatch.backup.plan import BackupPlan, Shared
from pumpwatch.cluster.work_claims import WorkClaims
from pumpwatch.redis.connection import connection_of
from pumpwatch.redis.errors import RedisUnavailable

DAYS_S = 3 * 86_400.0  # how long all members know of a finished backup
FINISHING_S = 60.0  # time to finish writing after the permission; if the process dies meanwhile, another member starts
PATIENT_S = 20.0  # wait for a Redis that is failing over


def shares(plan: BackupPlan) -> bool:
    """Return whether a plan has stores that all members share. QuestDB's files on this host are not among them."""
    return bool(plan.sinks or plan.redis or (plan.database and not plan.database.folder))


def work_of(plan: BackupPlan) -> str:
    """Return the name of the work of one member: members that back up other stores do not rely on each other."""
    stores = {*(plan.sinks.options if plan.sinks else ()), *(["redis"] if plan.redis else ()),
              *(["questdb"] if plan.database and not plan.database.folder else ())}
    return ":".join(["backup", *sorted(stores)])


def without_shared(plan: BackupPlan) -> BackupPlan:
    """Return the plan without the shared stores."""
    own = plan.database if plan.database and plan.database.folder else None
    return msgspec.structs.replace(plan, sinks=None, redis=None, database=own)


def may_finish(shared: Shared | None) -> bool:
    """Return whether the backup of the shared stores may count: no other member has made it or is making it.

    True as well if Redis does not answer for PATIENT_S: two backups are better than none.
    """
    return shared is None or _finish(shared, FINISHING_S, PATIENT_S)


def finished(shared: Shared | None) -> None:
    """Record in Redis that the backup is made; if Redis does not answer, the collector does this later."""
    if shared is not None:
        _finish(shared, DAYS_S, 0.0)


def _finish(shared: Shared, for_s: float, patience_s: float) -> bool:
    redis = connection_of(shared.redis, quiet=True)
    assert redis is not None, "a cluster has nodes"
    deadline = time.monotonic() + patience_s
    try:
        redis.connect()
        while True:
            try:
                return WorkClaims(redis, shared.cluster, "", 1.0).finish(shared.turn, for_s)
            except RedisUnavailable:
                if time.monotonic() >= deadline:
                    return True
                time.sleep(0.2)
    finally:
        redis.close()


