"""Whole collectors of a cluster: every trade is stored once, whoever reads it. More of them: tests/soak/cluster_handover.py."""

from __future__ import annotations

import logging
import time
from pathlib import Path

import pytest

from pumpwatch.app.cluster import ClusterMember
from pumpwatch.app.collector import Collector
from pumpwatch.cluster.facts import settings_of
from pumpwatch.cluster.leases import Leases
from pumpwatch.config import Config, StoreConfig, VenueConfig
from pumpwatch.config_cluster import ClusterConfig
from pumpwatch.config_redis import RedisConfig
from pumpwatch.errors import StorageError
from pumpwatch.redis.connection import RedisConnection
from pumpwatch.sim.process import SimProcess
from tests.app.cluster_crew import Crew
from tests.app.collector import CollectorProcess
from tests.cluster.crew import ShiftedClock
from tests.cluster.joined import joined
from tests.postgres_server import Database
from tests.redis.waiting import connected
from tests.redis_server import RedisNode, free_port

RULES = {"all": {"connects_per_5_minutes": 100_000, "connects_per_minute": 0, "connects_per_second": 0}}


def test_a_member_leaves_and_comes_back_another_is_killed_and_every_trade_is_stored_once(tmp_path: Path, postgres: Database,
                                                                                         single_redis: RedisNode) -> None:
    with SimProcess(venues=["binance.spot", "phemex.futures"], symbols=6, rate=150.0, paused=True, rules=RULES,
                    folder=str(tmp_path / "venues")) as sim, Crew(tmp_path, sim, [single_redis.address], postgres.dsn) as crew:
        crew.start("a", "b")
        crew.wait_shared(["a", "b"])
        sim.resume()
        time.sleep(1.0)
        assert crew.members["a"].stop() == 0, crew.members["a"].log()
        crew.start("a")
        crew.wait_shared(["a", "b"])
        crew.members["b"].kill()
        crew.wait_shared(["a"])
        crew.settle(["a"])
        assert crew.members["a"].stop() == 0, crew.members["a"].log()
        counted = crew.compare(sim.truth())
        assert counted.equal and counted.sent > 150, counted.figures()
        assert any("collector ended" in gap.reason and gap.symbols for gap in crew.gaps("a"))


def test_a_member_that_never_reaches_redis_reads_everything_and_says_so_once(tmp_path: Path) -> None:
    away = {"redis": {"nodes": [f"127.0.0.1:{free_port()}"]}, "cluster": {"name": "crew", "lease_s": 1.0}}
    with SimProcess(venues=["binance.spot"], symbols=3, rate=200.0, rules=RULES, folder=str(tmp_path / "venues")) as sim, \
            CollectorProcess(sim, tmp_path, **away) as collector:
        figures = collector.wait_until(lambda figures: figures["venues"][0]["trades_total"] > 50)
        assert figures["venues"][0]["elsewhere"] == 0 and figures["cluster"]["state"] == "alone"
        assert collector.stop() == 0, collector.log()
        assert collector.log().count("this collector reads everything") == 1 and "Traceback" not in collector.log()


def test_a_second_start_on_one_folder_does_not_push_the_running_member_out(tmp_path: Path, single_redis: RedisNode) -> None:
    config = Config(store=StoreConfig(dir=str(tmp_path)), redis=RedisConfig(nodes=[single_redis.address]),
                    cluster=ClusterConfig(name="folder", member="a"))
    running, second, asked = Collector(config), Collector(config), RedisConnection(config.redis)
    try:
        running.cluster.join()
        running.journal.open()
        with pytest.raises(StorageError, match="another process"):
            second.start()
        asked.connect(20.0)
        assert Leases(asked, "folder", "", 20.0).view().living().keys() == {"a"}, "the second one never joined"
        running.cluster.coordinator._round()
        assert running.cluster.status()["state"] == "in"
    finally:
        running.cluster.stop()
        running.journal.close()
        for redis in (running.redis, second.redis, asked):
            redis.close()


def test_a_member_names_what_others_have_set_in_another_way_in_one_line(
        collector: Collector, single_redis: RedisNode, caplog: pytest.LogCaptureFixture) -> None:
    nodes = [single_redis.address]
    collector.config.cluster, collector.redis = ClusterConfig(name="x", member="me"), connected(nodes)
    joined(nodes, "b", settings_of(collector.config.cluster, ["a.spot"]), chosen={"a.spot": "1"})
    joined(nodes, "c", prefix="other")
    collector.clock = ShiftedClock(30.0)
    member = ClusterMember(collector, {"a.spot": VenueConfig()})
    with caplog.at_level(logging.WARNING):
        assert member.join()
    member.stop()
    collector.redis.close()
    lines = [line for line in caplog.messages if "settings" in line or "clock" in line]
    assert len(lines) == 2 and "this clock is +30." in lines[1]
    assert "other symbols of a.spot are chosen by b, redis.prefix is pumpwatch here and other of c; give every member" in lines[0]
