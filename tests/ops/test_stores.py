"""Every store has a row: the files with their sizes, each sink as it answers now and with the times of the collector."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pumpwatch.config_redis import RedisConfig
from pumpwatch.errors import ServiceUnavailable
from pumpwatch.ops.stores import StoreRow, describe, redis_row
from pumpwatch.redis.connection import RedisConnection
from pumpwatch.redis.errors import RedisUnavailable
from pumpwatch.sink_abilities import ServerFacts
from tests.redis_server import RedisNode, RedisNodes

CALL = {"operation": "read", "total": 3, "failed": 1, "running": 0, "seconds": 0.1, "p50_ms": 1.0, "p99_ms": 2.0,
        "errors": {"ServiceUnavailable": 1}}


class Described:
    def __init__(self, trouble: str = "", away: bool = False) -> None:
        self._trouble, self._away = trouble, away

    def facts(self) -> ServerFacts:
        if self._away:
            raise ServiceUnavailable("does not answer")
        return ServerFacts("Server 1", 10, 2, 3.5, 0.99)

    def server(self) -> str:
        return "Server 1 at a.example"

    def trouble(self) -> str:
        return self._trouble


def rows(folder: Path, sink: Any, status: Any = None) -> dict[str, StoreRow]:
    return {row.name: row for row in describe(folder, {"server": sink}, status)}


def test_files_have_their_size_with_what_lies_beside_them(tmp_path: Path) -> None:
    (tmp_path / "journal").mkdir()
    for name, size in (("journal/1.sqlite", 100), ("journal/1.sqlite-wal", 20), ("journal/2.sqlite", 3), ("ledger.sqlite", 7),
                       ("ledger.sqlite-wal", 1)):
        (tmp_path / name).write_bytes(bytes(size))
    found = rows(tmp_path, Described())
    assert (found["journal"].facts.size_bytes, found["journal"].facts.parts) == (123, 2)
    assert found["ledger.sqlite"].facts.size_bytes == 8 and "coverage.sqlite" not in found
    assert all(row.works for row in found.values())


def test_a_store_that_was_found_damaged_is_not_up_and_one_set_aside_does_not_count(tmp_path: Path) -> None:
    for name in ("market_data.sqlite3", "market_data.sqlite3-wal", "market_data.sqlite3.damaged-20261128T000000Z"):
        (tmp_path / name).write_bytes(bytes(5))
    row = rows(tmp_path, Described())["market_data.sqlite3"]
    assert (row.state, row.works, row.facts.size_bytes) == ("up", True, 10)
    (tmp_path / "market_data.sqlite3.damaged").touch()
    row = rows(tmp_path, Described())["market_data.sqlite3"]
    assert (row.state, row.works) == ("damaged: the collector builds it again", False)


def test_a_sink_has_the_collectors_state_and_times_and_its_servers_figures(tmp_path: Path) -> None:
    status = {"journal": {}, "sinks": [{"name": "server", "state": "refilling 10 trades", "calls": [CALL]}]}
    row = rows(tmp_path, Described(), status)["server"]
    assert (row.state, row.works, row.facts.version, list(row.calls)) == ("refilling 10 trades", True, "Server 1", [CALL])


def test_the_reason_is_said_where_a_sink_has_a_trouble_or_does_not_answer(tmp_path: Path) -> None:
    troubled = rows(tmp_path, Described("table trades is suspended"))["server"]
    away = rows(tmp_path, Described(away=True), {"sinks": [{"name": "server", "state": "up", "calls": [CALL]}]})["server"]
    assert (troubled.state, troubled.works) == ("table trades is suspended", False)
    assert (away.state, away.works, list(away.calls)) == ("down: does not answer", False, [CALL])


def test_what_the_collector_holds_is_shown_with_what_the_server_answers_now(tmp_path: Path) -> None:
    status = {"sinks": [{"name": "server", "state": "up", "calls": []}],
              "stores": [{"store": "server", "connections": 3, "busy": 1, "failed_in_a_row": 2}]}
    row = rows(tmp_path, Described(), status)["server"]
    assert (row.facts.connections, row.facts.busy, row.failed_in_a_row, row.facts.version) == (3, 1, 2, "Server 1")


def test_redis_has_its_masters_memory_and_hits(redis_cluster: RedisNodes, single_redis: RedisNode) -> None:
    for nodes, masters in ((redis_cluster.addresses, 3), ([single_redis.address], 1)):
        redis = RedisConnection(RedisConfig(nodes=nodes))
        redis.connect(20)
        redis.count("hits", 3)
        redis.count("misses")
        row = redis_row(redis)
        assert row.facts.connections and row.facts.busy is not None, "the watch has its own"
        assert (row.state, row.works, row.facts.parts, row.hits, row.misses) == ("up", True, masters, 3, 1)
        assert row.facts.version.startswith("Redis ") and row.facts.cache_hit_ratio == 0.75
        assert row.facts.size_bytes is None or row.facts.size_bytes > 0, "a busy machine may answer late"
        redis.close()


def test_a_redis_that_is_away_has_the_reason() -> None:
    redis = RedisConnection(RedisConfig(nodes=["127.0.0.1:1"]))
    redis.connect(20)
    row = redis_row(redis)
    redis.close()
    assert not row.works and "127.0.0.1:1" in row.state and row.facts.size_bytes is None and row.failed_in_a_row > 0


def test_rejected_commands_are_no_failed_looks_at_redis(single_redis: RedisNode) -> None:
    redis = RedisConnection(RedisConfig(nodes=[single_redis.address]))
    redis.connect(20)
    for _ in range(5):
        with pytest.raises(RedisUnavailable):
            redis.call("wrong", lambda client: client.execute_command("NOSUCH"), 20)
    redis.call("right", lambda client: client.ping(), 20)
    assert redis_row(redis).failed_in_a_row == 0
    redis.close()


def test_trades_that_the_disk_did_not_take_are_a_trouble_of_the_journal(tmp_path: Path) -> None:
    assert not rows(tmp_path, Described(), {"journal": {"dropped_trades": 5}})["journal"].works
