"""A collector's newest prices reach Redis, each once."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from pumpwatch.app.price_sharing import PriceSharing
from pumpwatch.clock import NS_PER_S
from pumpwatch.redis.tickers import LastPrices
from pumpwatch.sim.process import SimProcess
from tests.app.collector import CollectorProcess
from tests.market.market_parts import trades_at
from tests.redis.waiting import connected, eventually
from tests.redis_server import RedisNode, single, until
from tests.trades import catalogue_of


def test_prices_that_changed_are_shared_once(single_redis: RedisNode) -> None:
    redis, reader = connected([single_redis.address]), connected([single_redis.address])
    sharing, prices, now_ns = PriceSharing(redis, catalogue_of()), LastPrices(reader), 1_764_000_000 * NS_PER_S
    sharing.add(trades_at((now_ns, 5.0, 1.0), (now_ns + 1, 6.0, 1.0)))
    sharing.add(trades_at((now_ns, 9.0, 1.0), instrument=1))
    sharing.share()
    wanted = [("binance.spot", "C0USDT"), ("binance.futures", "C0USDT")]
    found = eventually(lambda: len(read := prices.of(wanted)) == 2 and read, "both are there")
    assert found == {wanted[0]: (now_ns + 1, 6.0), wanted[1]: (now_ns, 9.0)}
    single_redis.ask("FLUSHALL")
    sharing.share()
    assert redis.figures()["queued"] == 0 and prices.of(wanted) == {}
    redis.close()
    reader.close()


def test_without_redis_nothing_happens() -> None:
    sharing, started = PriceSharing(None, catalogue_of()), list[str]()
    sharing.add(trades_at((1, 5.0, 1.0)))
    sharing.share()
    sharing.start(lambda name, body: started.append(name))
    assert started == []


def test_a_collector_shares_prices_and_goes_on_without_redis(tmp_path: Path) -> None:
    """Also a server that hangs holds nothing up; the log says once that it is away, and once that it is back."""
    with single() as node, SimProcess(venues=["binance.spot"], symbols=4, rate=200.0, folder=str(tmp_path / "venues")) as sim, \
            CollectorProcess(sim, tmp_path, redis={"nodes": [node.address]}) as collector:
        collector.wait_until(lambda figures: figures["redis"]["up"] and figures["journal"]["durable_trades"] > 100)
        until(lambda: len(node.ask("HGETALL", "pumpwatch:{last:binance.spot}")) == 4, "every symbol has a price")
        done = cli(collector, "ticker", "BTC", "--no-ask", "--json")
        assert json.loads(done)["price"] > 0
        node.hang()
        collector.wait_until(lambda figures: figures["redis"]["trouble"])
        stored = collector.figures()["journal"]["durable_trades"]
        collector.wait_until(lambda figures: figures["journal"]["durable_trades"] > stored + 100)
        node.unhang()
        collector.wait_until(lambda figures: figures["redis"]["up"])
        assert collector.stop() == 0
    log = (tmp_path / "collector.log").read_text()
    assert log.count("redis is away, local state answers instead reason=") == log.count("redis is back") == 1
    assert "Traceback" not in log


def cli(collector: CollectorProcess, *words: str) -> str:
    done = subprocess.run([sys.executable, "-m", "pumpwatch", *words, "-c", str(collector.config_file)], text=True,
                          capture_output=True, timeout=60, check=False)
    assert done.returncode in (0, 69), done.stderr
    return done.stdout
