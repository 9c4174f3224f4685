"""Each error of the library and of Redis has one clear line."""

from __future__ import annotations

import pytest
from redis import exceptions as errors

from pumpwatch.errors import EXIT_UNAVAILABLE
from pumpwatch.redis.clients import NodeAway
from pumpwatch.redis.errors import KINDS, MEANINGS, OF_THE_COMMAND, explain

WRAPPED = errors.RedisClusterException("Redis Cluster cannot be connected")
WRAPPED.__cause__ = errors.AuthenticationError("WRONGPASS invalid username-password pair or user is disabled.")


@pytest.mark.parametrize(("error", "kind", "said"), [
    (errors.ResponseError("WRONGTYPE Operation against a key holding the wrong kind of value"), "wrong_type", "redis.prefix"),
    (errors.AuthenticationError("Authentication required."), "password", "set redis.password"),
    (WRAPPED, "password", "redis.username or redis.password is wrong"),
    (errors.NoPermissionError("this user has no permissions"), "permission", "redis.username may not"),
    (errors.BusyLoadingError("Redis is loading the dataset in memory"), "loading", "loading its data"),
    (errors.ClusterDownError("CLUSTERDOWN Hash slot not served"), "cluster_down", "some slots have no master"),
    (errors.SlotNotCoveredError('Slot "1" not covered by the cluster.'), "cluster_down", "some slots have no master"),
    (errors.ClusterError("TTL exhausted."), "moved", "they disagree about a slot"),
    (errors.ReadOnlyError("You can't write against a read only replica."), "read_only", "became a replica"),
    (errors.OutOfMemoryError("command not allowed when used memory > 'maxmemory'."), "memory", "out of memory"),
    (errors.ResponseError("MISCONF Redis is configured to save RDB snapshots"), "rejected", "cannot save to its disk"),
    (errors.TimeoutError("Timeout reading from socket"), "timeout", "does not answer"),
    (errors.ConnectionError("Error 111 connecting to 127.0.0.1:1. Connection refused."), "connection", "no connection"),
    (ConnectionResetError("reset"), "connection", "no connection (reset)"),
    (errors.ResponseError("user_script:1: Script attempted to access nonexistent global variable"), "script", "script failed"),
    (errors.ResponseError("ERR unknown command 'NONSENSE'"), "rejected", "rejected a command (ERR unknown command"),
    (NodeAway(("127.0.0.1", 1), "a node does not answer"), "away", "node 127.0.0.1:1"),
])
def test_an_error_is_explained(error: Exception, kind: str, said: str) -> None:
    found = explain(error)
    assert found.kind == kind and said in found.message and found.exit_code == EXIT_UNAVAILABLE


def test_every_meaning_is_a_kind_or_leads_to_one() -> None:
    kinds = {KINDS.get(meaning, meaning) for meaning in MEANINGS}
    assert kinds <= MEANINGS.keys() and kinds | {"late"} >= OF_THE_COMMAND
