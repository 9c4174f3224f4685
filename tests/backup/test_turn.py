"""A backup of shared stores counts where no other member of the cluster has made it, and always where Redis does not say."""

from __future__ import annotations

from pathlib import Path

import msgspec
import pytest

from pumpwatch.backup import turn
from pumpwatch.backup.make import make
from pumpwatch.backup.plan import BackupPlan, QuestDBSource, Shared
from pumpwatch.backup.state import read_state
from pumpwatch.backup.turn import finished, may_finish, shares, without_shared, work_of
from pumpwatch.cluster.work_claims import Turn, WorkClaims
from pumpwatch.config_redis import RedisConfig
from tests.redis.waiting import connected
from tests.redis_server import RedisNode, free_port


def test_files_of_this_host_are_shared_with_nobody(plan: BackupPlan) -> None:
    here, there = QuestDBSource(url="http://a", folder="/here"), QuestDBSource(url="http://a")
    assert not shares(plan) and not shares(msgspec.structs.replace(plan, database=here))
    for shared in (msgspec.structs.replace(plan, database=there), msgspec.structs.replace(plan, redis=RedisConfig())):
        assert shares(shared) and without_shared(shared) == plan
    assert work_of(msgspec.structs.replace(plan, database=there, redis=RedisConfig())) == "backup:questdb:redis"
    assert without_shared(msgspec.structs.replace(plan, database=here, redis=RedisConfig())).database == here


def test_what_another_member_has_made_is_left_out_and_what_is_whole_is_told(plan: BackupPlan, single_redis: RedisNode) -> None:
    redis = connected([single_redis.address])
    a, b = WorkClaims(redis, "day", "a", 60.0), WorkClaims(redis, "day", "b", 60.0)
    mine = a.claim("backup", "monday")
    assert mine
    of_a = Shared(redis.config, "day", mine)
    full = msgspec.structs.replace(plan, redis=redis.config, occasion="monday", shared=of_a)
    made = make(full)
    assert made.shared and not made.fenced and read_state(Path(plan.data)).shared == "monday"
    assert b.state("backup", "monday") == "done"
    late = make(msgspec.structs.replace(full, shared=Shared(redis.config, "day", Turn("backup", "monday", "b@late"))))
    assert late.fenced and not late.shared and late.problems == [] and late.files == made.files - 2
    redis.close()


def test_a_redis_that_does_not_answer_lets_a_backup_count(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(turn, "PATIENT_S", 0.0)
    away = Shared(RedisConfig(nodes=[f"127.0.0.1:{free_port()}"], password="secret"), "day", Turn("backup", "monday", "a@1"))
    assert may_finish(away) and may_finish(None) and "secret" not in repr(away)
    finished(away)
