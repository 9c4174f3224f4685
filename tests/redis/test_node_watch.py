"""The watch finds out what every node does, and says it once."""

from __future__ import annotations

import time
from collections.abc import Iterator

import gevent
import pytest
from redis.crc import key_slot

from pumpwatch.config_redis import RedisConfig
from pumpwatch.redis.connection import RedisConnection
from tests.redis.waiting import PATIENT_S, connected, eventually, in_thread, kind_of, patient
from tests.redis_server import RedisNode, RedisNodes, single, six_nodes

KEY = "{x}key"


@pytest.fixture
def connection(redis_cluster: RedisNodes) -> Iterator[RedisConnection]:
    found = connected(redis_cluster.addresses)
    patient(found, lambda client: client.set(KEY, "v"))
    yield found
    found.close()


def other_key(nodes: RedisNodes) -> str:
    """Return a key of another master than KEY's."""
    master = nodes.master_of(KEY)
    return next(key for key in map(str, range(100)) if nodes.master_of(key) is not master)


def told(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.name == "pumpwatch.redis.node_watch"]


def test_a_fail_over_is_followed(connection: RedisConnection, redis_cluster: RedisNodes) -> None:
    in_thread(redis_cluster.fail_over, KEY)
    assert eventually(lambda: kind_of(connection, lambda client: client.incr("{x}n")) == "ok", "the new master is written to")
    assert patient(connection, lambda client: client.get(KEY)) == b"v"


def test_a_moved_slot_is_followed_while_it_moves_and_after(connection: RedisConnection, redis_cluster: RedisNodes) -> None:
    old, new = in_thread(redis_cluster.begin_move, KEY)
    assert patient(connection, lambda client: client.get(KEY)) == b"v"  # still on the old node
    assert patient(connection, lambda client: client.set("{x}new", "w"))  # ASK
    in_thread(redis_cluster.end_move, KEY, old, new)
    assert patient(connection, lambda client: client.mget(KEY, "{x}new")) == [b"v", b"w"]  # MOVED
    assert connection.up


def hold_out(connection: RedisConnection, key: str, redis_cluster: RedisNodes, old: RedisNode) -> tuple[set[str], list[float]]:
    """Ask for a key until it has another master; return how calls ended and how long those took that failed at once."""
    kinds, took = set(), []
    waiting = gevent.get_hub().threadpool.spawn(redis_cluster.wait_for_fail_over, key, old)
    while not waiting.ready():
        began = time.monotonic()
        kind = kind_of(connection, lambda client: client.get(key), 0.05)
        kinds.add(kind)
        if kind == "away":
            took.append(time.monotonic() - began)
        gevent.sleep(0.01)
    waiting.get()
    eventually(lambda: kind_of(connection, lambda client: client.get(key)) == "ok", "the new master answers")
    return kinds, took


def test_a_killed_master_is_away_until_its_replica_takes_over(connection: RedisConnection, redis_cluster: RedisNodes,
                                                              caplog: pytest.LogCaptureFixture) -> None:
    old = redis_cluster.master_of(KEY)
    old.kill()
    kinds, took = hold_out(connection, KEY, redis_cluster, old)
    eventually(lambda: connection.up, "all is well")
    assert kinds & {"connection", "away"} and max(took, default=0.0) < PATIENT_S
    lines = told(caplog)
    assert len(lines) == 2 and "local state answers instead reason=" in lines[0] and lines[1].startswith("redis is back")


def test_a_master_that_hangs_is_left_for_its_replica(connection: RedisConnection, redis_cluster: RedisNodes) -> None:
    old, other = redis_cluster.master_of(KEY), other_key(redis_cluster)
    old.hang()
    kinds, _ = hold_out(connection, KEY, redis_cluster, old)
    assert kinds & {"late", "timeout", "away"}
    eventually(lambda: connection.up, "all is well")
    assert kind_of(connection, lambda client: client.get(other)) == "ok"


def test_while_one_master_is_replaced_the_others_answer() -> None:
    with six_nodes({"cluster-require-full-coverage": "no", "cluster-node-timeout": "60000"}) as nodes:
        connection, old, other = connected(nodes.addresses), nodes.master_of(KEY), other_key(nodes)
        old.hang()
        eventually(lambda: kind_of(connection, lambda client: client.get(KEY), 0.05) == "away", "the node is known to be away")
        assert f"node 127.0.0.1:{old.port}: a node does not answer" in connection.trouble and not connection.up
        assert patient(connection, lambda client: client.set(other, "v"))
        old.unhang()
        eventually(lambda: connection.up, "it is back")
        assert patient(connection, lambda client: client.set(KEY, "v"))
        connection.close()


def test_a_cluster_without_a_majority_is_down_and_comes_back(connection: RedisConnection, redis_cluster: RedisNodes,
                                                             caplog: pytest.LogCaptureFixture) -> None:
    redis_cluster.stop_all()
    eventually(lambda: kind_of(connection, lambda client: client.get(KEY)) == "away", "everything is away")
    assert "no connection" in connection.trouble
    in_thread(redis_cluster.start_all)
    eventually(lambda: connection.up, "it is back")
    assert patient(connection, lambda client: client.get(KEY)) == b"v"  # kept by appendonly
    assert len(told(caplog)) == 2


def test_a_cluster_that_lost_slots_is_named(connection: RedisConnection, redis_cluster: RedisNodes) -> None:
    master = redis_cluster.master_of(KEY)
    replica = redis_cluster.replica_of(master)
    replica.kill()
    master.kill()
    eventually(lambda: "the cluster is down: some slots have no master" in connection.trouble, "it says so")
    assert kind_of(connection, lambda client: client.get("any")) == "away"


def test_nodes_that_send_a_command_to_each_other_are_named(connection: RedisConnection, redis_cluster: RedisNodes) -> None:
    """Each says that the other has the slot, as after a move that was broken off; the library follows sixteen times."""
    slot, old = key_slot(b"empty"), redis_cluster.master_of("empty")
    one, other = [node for node in redis_cluster.masters() if node is not old]
    old.ask("CLUSTER SETSLOT", slot, "NODE", one.cluster_id())
    one.ask("CLUSTER SETSLOT", slot, "NODE", other.cluster_id())
    other.ask("CLUSTER SETSLOT", slot, "NODE", one.cluster_id())
    kind = kind_of(connection, lambda client: client.get("empty"), 10.0)
    for node in (old, one, other):
        node.ask("CLUSTER SETSLOT", slot, "NODE", old.cluster_id())
    assert kind in ("moved", "ok")  # nodes may have agreed before sixteen answers


def test_a_server_that_loads_its_data_is_named() -> None:
    with single() as node:
        pipe = node.client.pipeline(transaction=False)
        for number in range(3000):
            pipe.set(f"k{number}", "v")
        pipe.execute()
        node.ask("SAVE")
        node.kill()
        node.run({"key-load-delay": "500", "loading-process-events-interval-bytes": "1024"})
        connection = RedisConnection(RedisConfig(nodes=[node.address]))
        connection.connect(20)
        eventually(lambda: "loading its data" in connection.trouble, "it loads")
        eventually(lambda: connection.up, "it has loaded")
        connection.close()
