"""Calls, posts and scripts on real servers: a cluster of six nodes and a single one."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import gevent
import pytest

from pumpwatch.config_redis import RedisConfig
from pumpwatch.redis.connection import QUEUED, RedisConnection, connection_of
from pumpwatch.redis.errors import RedisUnavailable
from pumpwatch.stats import Stats
from tests.redis.waiting import connected, eventually, in_thread, kind_of, patient
from tests.redis_server import RedisNode, RedisNodes, free_port, single

ROOT = Path(__file__).resolve().parent.parent.parent


@pytest.fixture
def cluster(redis_cluster: RedisNodes) -> Iterator[RedisConnection]:
    connection = connected(redis_cluster.addresses[:2])
    yield connection
    connection.close()


@pytest.fixture
def alone(single_redis: RedisNode) -> Iterator[RedisConnection]:
    connection = connected([single_redis.address])
    yield connection
    connection.close()


def test_a_cluster_is_found_from_any_of_its_nodes(cluster: RedisConnection) -> None:
    assert cluster.is_cluster and cluster.server_version.startswith("7.")
    assert len(cluster.figures()["masters"]) == 3
    for number in range(20):  # keys of every node
        assert patient(cluster, lambda client, key=f"key{number}": client.set(key, "v")) is True
    assert patient(cluster, lambda client: client.get("key7")) == b"v"


def test_a_single_server_works_alike(alone: RedisConnection) -> None:
    assert not alone.is_cluster
    patient(alone, lambda client: client.set("a", "1"))
    assert patient(alone, lambda client: client.get("a")) == b"1"
    assert {row["operation"] for row in alone.figures()["calls"]} == {"connect", "test"}


def test_the_connections_are_those_that_the_server_knows(single_redis: RedisNode) -> None:
    def known() -> set[str]:
        return {line.split()[0] for line in str(single_redis.ask("CLIENT", "LIST")).splitlines() if "name=pumpwatch" in line}

    before, connection = known(), connected([single_redis.address])
    connection.listen("channel", lambda body: None)
    patient(connection, lambda client: client.ping())
    eventually(lambda: connection.figures()["connections"] == len(known() - before) >= 3, "a thread, the watch, and the listener")
    single_redis.ask("CLIENT", "KILL", "TYPE", "pubsub")
    eventually(lambda: connection.figures()["connections"] == len(known() - before) >= 3, "a lost one does not count")
    connection.close()
    eventually(lambda: connection.figures()["connections"] == 0, "all are closed")


def test_other_greenlets_run_while_one_waits(alone: RedisConnection) -> None:
    ticks: list[int] = []
    ticker = gevent.spawn(lambda: [(ticks.append(n), gevent.sleep(0.005)) for n in range(1000)])
    patient(alone, lambda client: client.execute_command("BLPOP", "nothing", "0.2"))
    ticker.kill()
    assert len(ticks) > 3


def test_a_call_that_takes_too_long_is_late_and_the_next_one_works(alone: RedisConnection) -> None:
    with pytest.raises(RedisUnavailable, match="took longer than 50 ms") as late:
        alone.call("slow", lambda client: client.execute_command("BLPOP", "nothing", "0.3"), 0.05)
    assert late.value.kind == "late"
    assert patient(alone, lambda client: client.ping())
    assert alone.figures()["errors"] == {"late": 1}


def test_errors_of_a_function_come_through(alone: RedisConnection) -> None:
    with pytest.raises(ZeroDivisionError):
        patient(alone, lambda client: 1 // 0)


def test_a_key_of_another_type_is_named_and_opens_no_circuit(alone: RedisConnection) -> None:
    patient(alone, lambda client: client.set("text", "1"))
    with pytest.raises(RedisUnavailable, match="a key holds another type") as wrong:
        patient(alone, lambda client: client.hgetall("text"))
    assert wrong.value.kind == "wrong_type" and alone.up


def test_a_server_that_is_full_is_up_and_the_log_says_once_that_it_takes_nothing(caplog: pytest.LogCaptureFixture) -> None:
    with single() as node:
        connection = connected([node.address])
        node.ask("CONFIG", "SET", "maxmemory", "1")
        assert [kind_of(connection, lambda client: client.set("a", "1")) for _ in range(5)] == ["memory"] * 5
        assert connection.up and connection.figures()["errors"] == {"memory": 5}
        assert kind_of(connection, lambda client: client.get("a")) == "ok"
        connection.close()
    said = [record.getMessage() for record in caplog.records if "rejects commands" in record.getMessage()]
    assert len(said) == 1 and "out of memory" in said[0]


def test_a_script_is_sent_again_to_a_server_that_forgot_it(cluster: RedisConnection, redis_cluster: RedisNodes) -> None:
    script = cluster.script("return redis.call('INCRBY', KEYS[1], ARGV[1])")
    assert patient(cluster, lambda client: script(client, ["n"], [2])) == 2
    redis_cluster.flush()
    assert patient(cluster, lambda client: script(client, ["n"], [3])) == 3
    assert kind_of(cluster, lambda client: cluster.script("return nonsense()")(client, ["n"])) == "script"


def test_a_pipeline_of_one_slot_works_on_a_cluster(cluster: RedisConnection) -> None:
    def both(client: object) -> list[object]:
        pipe = client.pipeline()  # type: ignore[attr-defined]
        pipe.hset("{x}a", "f", "1")
        pipe.zadd("{x}b", {"m": 2.0})
        return list(pipe.execute())

    assert patient(cluster, both) == [1, 1]


def test_posts_run_in_order_and_never_wait(alone: RedisConnection) -> None:
    for number in range(50):
        alone.post("push", lambda client, n=number: client.rpush("list", n))
    assert eventually(lambda: patient(alone, lambda client: client.llen("list")) == 50, "all are there")
    assert patient(alone, lambda client: client.lrange("list", 0, 2)) == [b"0", b"1", b"2"]


def test_posts_that_fail_or_are_too_many_are_counted(alone: RedisConnection) -> None:
    alone.post("bad", lambda client: client.execute_command("NONSENSE"))
    eventually(lambda: alone.figures()["counts"].get("dropped") == 1, "the failure is counted")
    for _ in range(QUEUED + 5):
        alone.post("ping", lambda client: client.ping())
    assert alone.figures()["counts"]["dropped"] == 6 and alone.figures()["queued"] == QUEUED
    alone._posts.clear()


def test_another_thread_may_call_and_blocks_itself(alone: RedisConnection) -> None:
    found: list[object] = []
    thread = threading.Thread(target=lambda: found.append(alone.call("ping", lambda client: client.ping())))
    thread.start()
    in_thread(thread.join)
    assert found == [True]


def test_nothing_that_listens_is_away_at_once() -> None:
    connection = RedisConnection(RedisConfig(nodes=[f"127.0.0.1:{free_port()}"]))
    assert not connection.connect(20)
    assert "no connection" in connection.trouble
    assert kind_of(connection, lambda client: client.ping()) == "away"
    connection.post("ping", lambda client: client.ping())
    assert connection.figures()["counts"] == {"dropped": 1}
    connection.close()


def test_another_kind_of_server_is_named() -> None:
    """One that speaks HTTP, on a port that was meant for Redis."""
    with HTTPServer(("127.0.0.1", 0), BaseHTTPRequestHandler) as other:
        threading.Thread(target=other.serve_forever, daemon=True).start()
        connection = RedisConnection(RedisConfig(nodes=[f"127.0.0.1:{other.server_port}"]))
        assert not connection.connect(20) and connection.trouble
        connection.close()
        in_thread(other.shutdown)


def test_a_wrong_password_is_named_and_not_tried_again_and_again() -> None:
    with single({"requirepass": "right"}) as node:
        for password, said in (("wrong", "redis.password is wrong"), ("", "set redis.password")):
            connection = RedisConnection(RedisConfig(nodes=[node.address], password=password))
            assert not connection.connect(20) and said in connection.trouble
            gevent.sleep(0.5)
            assert int(node.client.info("clients")["connected_clients"]) < 5
            connection.close()
        right = connected([node.address], password="right")
        assert patient(right, lambda client: client.ping())
        right.close()


def test_a_server_that_comes_back_is_used_again(caplog: pytest.LogCaptureFixture) -> None:
    with single() as node:
        stats = Stats()
        connection = RedisConnection(RedisConfig(nodes=[node.address]), stats)
        assert connection.connect(20)
        node.kill()
        eventually(lambda: kind_of(connection, lambda client: client.ping()) == "away", "it is away")
        in_thread(node.start)
        eventually(lambda: connection.up, "it is back")
        assert patient(connection, lambda client: client.ping())
        connection.close()
        assert stats.get("redis_away_total") == 1
        assert kind_of(connection, lambda client: client.ping()) == "away"  # it was closed
        connection.post("ping", lambda client: client.ping())
    told = [record.message for record in caplog.records if record.name.startswith("pumpwatch.redis")]
    assert len(told) == 2 and told[0].startswith("redis is away, local state answers instead reason=no connection")
    assert told[1].startswith("redis is back after_s=")


def test_without_nodes_there_is_no_connection_and_the_library_is_not_loaded() -> None:
    assert connection_of(RedisConfig()) is None
    code = "import sys, pumpwatch.app.collector, pumpwatch.market.opened; assert 'redis' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, check=False).returncode == 0


PATCHED = """
from gevent import monkey
monkey.patch_all()
import sys, gevent
from tests.redis.waiting import connected, eventually, patient
redis = connected([sys.argv[1]])
assert patient(redis, lambda client: client.set("{x}a", "1"))
heard = []
redis.listen("{x}news", heard.append, lambda: redis.publish("{x}news", b"hello"))
eventually(lambda: heard, "the message came")
redis.close()
print(heard)
"""


def test_it_works_in_a_patched_process_as_the_collector_is(redis_cluster: RedisNodes) -> None:
    done = subprocess.run([sys.executable, "-c", PATCHED, redis_cluster.addresses[0]], text=True, capture_output=True, timeout=60,
                          cwd=ROOT, check=False)
    assert (done.stdout, done.stderr, done.returncode) == ("[b'hello']\n", "", 0)
