"""The stores that all members of a cluster share: one member backs them up, and Redis says at the end whether that counts."""

from __future__ import annotations

import time

import msgspec

from pumpwatch.backup.plan import BackupPlan, Shared
from pumpwatch.cluster.work_claims import WorkClaims
from pumpwatch.redis.connection import connection_of
from pumpwatch.redis.errors import RedisUnavailable

DAYS_S = 3 * 86_400.0  # so long a finished backup is known to all
FINISHING_S = 60.0  # from the permission to the end of writing; where the process dies in between, another one begins
PATIENT_S = 20.0  # for a Redis that fails over at that moment


def shares(plan: BackupPlan) -> bool:
    """Return whether a plan has stores that all members share. QuestDB's files on this host are not among them."""
    return bool(plan.sinks or plan.redis or (plan.database and not plan.database.folder))


def without_shared(plan: BackupPlan) -> BackupPlan:
    """Return the plan of what this member alone has."""
    own = plan.database if plan.database and plan.database.folder else None
    return msgspec.structs.replace(plan, sinks=None, redis=None, database=own)


def may_finish(shared: Shared | None) -> bool:
    """Return whether the backup of the shared stores may count: no other member has made it meanwhile, or is at it.

    A Redis that does not answer for PATIENT_S counts as yes: two backups are better than none.
    """
    return shared is None or _finish(shared, FINISHING_S, PATIENT_S)


def finished(shared: Shared | None) -> None:
    """Let the others know that the backup is made; where Redis does not answer, the collector does it later."""
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


