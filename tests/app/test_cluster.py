"""Whole collectors of a cluster: every trade is stored once, whoever reads it. More of them: tests/soak/cluster_handover.py."""

from __future__ import annotations

import time
from pathlib import Path

from pumpwatch.sim.process import SimProcess
from tests.app.cluster_crew import Crew
from tests.app.collector import CollectorProcess
from tests.postgres_server import Database
from tests.redis_server import RedisNode, free_port

RULES = {"all": {"connects_per_5_minutes": 100_000, "connects_per_minute": 0, "connects_per_second": 0}}


def test_a_member_is_killed_comes_back_and_leaves_and_every_trade_is_stored_once(tmp_path: Path, postgres: Database,
                                                                                 single_redis: RedisNode) -> None:
    with SimProcess(venues=["binance.spot", "phemex.futures"], symbols=6, rate=300.0, paused=True, rules=RULES,
                    folder=str(tmp_path / "venues")) as sim, Crew(tmp_path, sim, [single_redis.address], postgres.dsn) as crew:
        crew.start("a", "b")
        crew.wait_shared(["a", "b"])
        sim.resume()
        time.sleep(1.0)
        crew.members["a"].kill()
        crew.wait_shared(["b"])
        crew.start("a")
        crew.wait_shared(["a", "b"])
        assert crew.members["b"].stop() == 0, crew.members["b"].log()
        crew.wait_shared(["a"])
        crew.start("b")  # what it has fetched since it was killed may have to be sent yet
        crew.settle(["a", "b"])
        assert crew.members["a"].stop() == crew.members["b"].stop() == 0, crew.members["a"].log()
        counted = crew.compare(sim.truth())
        assert counted.equal and counted.sent > 300, counted.figures()
        assert any("collector ended" in gap.reason and gap.symbols for gap in crew.gaps("b"))


def test_a_member_that_never_reaches_redis_reads_everything_and_says_so_once(tmp_path: Path) -> None:
    away = {"redis": {"nodes": [f"127.0.0.1:{free_port()}"]}, "cluster": {"name": "crew", "lease_s": 1.0}}
    with SimProcess(venues=["binance.spot"], symbols=3, rate=200.0, rules=RULES, folder=str(tmp_path / "venues")) as sim, \
            CollectorProcess(sim, tmp_path, **away) as collector:
        figures = collector.wait_until(lambda figures: figures["venues"][0]["trades_total"] > 50)
        assert figures["venues"][0]["elsewhere"] == 0 and figures["cluster"]["state"] == "alone"
        assert collector.stop() == 0, collector.log()
        assert collector.log().count("this collector reads everything") == 1 and "Traceback" not in collector.log()
