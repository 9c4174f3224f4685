"""The scripts are what Redis can run."""

from __future__ import annotations

import pytest

from pumpwatch.cluster import scripts
from tests.redis_server import RedisNode


@pytest.mark.parametrize("name", ["BEAT", "TAKE", "RELEASE", "WRITE", "LOOK"])
def test_redis_compiles_every_script(single_redis: RedisNode, name: str) -> None:
    assert len(single_redis.client.script_load(getattr(scripts, name))) == 40


def test_foreign_rows_are_overwritten_and_not_believed(single_redis: RedisNode) -> None:
    keys = [f"pumpwatch:{{cluster:x}}:{name}" for name in ("settings", "members", "leases", "tokens")]
    client = single_redis.client
    client.set(keys[0], "nonsense")
    client.hset(keys[1], "b", "nonsense")
    client.hset(keys[2], "leader", "nonsense")
    client.set(keys[3], "12")
    answer = client.eval(scripts.BEAT, 4, *keys, "a@1", 5_000_000, 0, 1, 0, "folder", "{}", "{}", "leader", 5, 0)
    assert answer[0] == "in"
    assert int(answer[4][0]) > 1_700_000_000_000_000  # a new token, by Redis' clock
    assert list(answer[5][::2]) == ["a"]
    assert all(client.ttl(key) > 600_000 for key in keys)
