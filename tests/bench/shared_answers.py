"""What Redis costs and saves: order books read and written, messages between processes, and what need not be asked again.

A cluster of six real nodes on this machine. Calls are made as the collector makes them, by its greenlets, in a patched process; a
book has 50 levels a side. Times are those of the calmest of five rounds: other programs of the machine add to them.
`_cpu_us` is CPU of this process an answer. The hit rate is that of three processes' services that ask
for books of 100 coins, often for some and rarely for others: a hit of Redis is a book that another one has asked the venue for.
"""

from __future__ import annotations

import json
import random
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

LEVELS, COINS, PROCESSES, ROUNDS = 50, 100, 3, 5
ROOT = Path(__file__).resolve().parent.parent.parent
CHANNEL = "pumpwatch:{bench}"


def shared_answers(repeats: int, messages: int) -> dict[str, Any]:
    """Measure in a patched process, and return its figures."""
    from tests.redis_server import six_nodes

    with six_nodes() as nodes:
        words = [sys.executable, "-m", "tests.bench.shared_answers", "measure", nodes.addresses[0], str(repeats), str(messages)]
        done = subprocess.run(words, cwd=ROOT, check=True, capture_output=True, text=True)
    figures: dict[str, Any] = json.loads(done.stdout)
    return figures


def measure(node: str, repeats: int, messages: int) -> dict[str, Any]:
    """Return every figure."""
    from pumpwatch.config_redis import RedisConfig
    from pumpwatch.order_book import OrderBook
    from pumpwatch.redis.connection import RedisConnection
    from pumpwatch.redis.order_books import RedisOrderBooks
    from pumpwatch.redis.tickers import LastPrices

    redis = RedisConnection(RedisConfig(nodes=[node]))
    assert redis.connect(20.0), redis.trouble
    redis.within_s = 5.0
    books, prices = RedisOrderBooks(redis), LastPrices(redis)
    book = OrderBook(bids=[(100 - at * 0.013, 1 + at / 7) for at in range(LEVELS)],
                     asks=[(100.1 + at * 0.013, 2 + at / 7) for at in range(LEVELS)], sequence=1)
    books.put("binance.spot", "C0USDT", book)
    now_ns, symbols = time.time_ns(), [f"C{at}USDT" for at in range(400)]
    prices.put("binance.spot", dict.fromkeys(symbols, (now_ns, 1.5)))
    asked: dict[str, Callable[[], Any]] = {
        "ping": lambda: redis.call("ping", lambda client: client.get("x")),
        "book_read": lambda: books.read("binance.spot", "C0USDT"),
        "book_best": lambda: books.best("binance.spot", "C0USDT"),
        "book_put": lambda: books.put("binance.spot", "C0USDT", book),
        "prices_of_400": lambda: prices.of([("binance.spot", symbol) for symbol in symbols])}
    figures: dict[str, Any] = {}
    for name, ask in asked.items():
        cpu = time.process_time()
        p99_ms, p50_ms = min(_round(ask, repeats // ROUNDS) for _ in range(ROUNDS))
        figures[f"{name}_cpu_us"] = round((time.process_time() - cpu) / repeats * 1e6, 1)
        figures |= {f"{name}_ms_p50": p50_ms, f"{name}_ms_p99": p99_ms}
    figures |= _delivery(redis, node, messages) | {"hit_rate": _hit_rate(node)}
    redis.close()
    return figures


def _round(ask: Callable[[], Any], repeats: int) -> tuple[float, float]:
    """Return p99 and p50 in ms."""
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        ask()
        times.append((time.perf_counter() - began) * 1000)
    p99_ms, p50_ms = np.percentile(times, (99, 50)).round(3).tolist()
    return p99_ms, p50_ms


def _delivery(redis: Any, node: str, messages: int) -> dict[str, float]:
    """Return the ms from `publish` in another process to the function that gets the message here."""
    import gevent

    took: list[float] = []
    ready = gevent.event.Event()
    redis.listen(CHANNEL, lambda body: took.append((time.time_ns() - int(body)) / 1e6), ready.set)
    ready.wait(20)
    other = subprocess.Popen([sys.executable, "-m", "tests.bench.shared_answers", "publish", node, str(messages)], cwd=ROOT)
    while other.poll() is None or len(took) < messages:
        gevent.sleep(0.05)
        if other.poll() not in (None, 0):
            raise RuntimeError("the publisher failed")
    return {"delivery_ms_p50": round(float(np.median(took)), 3), "delivery_ms_p99": round(float(np.percentile(took, 99)), 3),
            "delivery_ms_max": round(max(took), 3)}


def publish(node: str, messages: int) -> None:
    """Publish the time, 200 times a second."""
    import gevent

    from pumpwatch.config_redis import RedisConfig
    from pumpwatch.redis.connection import RedisConnection

    redis = RedisConnection(RedisConfig(nodes=[node]))
    assert redis.connect(20.0), redis.trouble
    for _ in range(messages):
        redis.publish(CHANNEL, str(time.time_ns()).encode())
        gevent.sleep(0.005)
    redis.close()


def _hit_rate(node: str) -> float:
    """Return the part of the questions that memory could not answer and Redis could."""
    from pumpwatch.clock import Clock
    from pumpwatch.config_redis import RedisConfig
    from pumpwatch.market.disk_cache import BOOK_S, TICKER_S
    from pumpwatch.market.service import MarketService
    from pumpwatch.redis.connection import RedisConnection
    from pumpwatch.redis.market_tiers import shared_market
    from tests.market.market_parts import KeptTrades, asker
    from tests.trades import catalogue_of

    def answer(request: Any) -> bytes:
        return json.dumps({"lastUpdateId": 1, "bids": [["100", "1"]], "asks": [["101", "1"]]}).encode()

    draw, clock, trades = random.Random(1), Clock(), KeptTrades(catalogue=catalogue_of(COINS))
    connections = [RedisConnection(RedisConfig(nodes=[node])) for _ in range(PROCESSES)]
    services = []
    for redis in connections:
        assert redis.connect(20.0), redis.trouble
        redis.within_s = 5.0
        services.append(MarketService(trades, None, asker(answer, clock), clock,
                                      shared=shared_market(redis, TICKER_S, BOOK_S, clock)))
    for _ in range(3_000):
        coin = min(int(draw.paretovariate(0.6)) - 1, COINS - 1)
        draw.choice(services).get_orderbook(f"C{coin}", market="spot")
    figures = [service.figures()["books redis"] for service in services]
    for redis in connections:
        redis.close()
    hits, misses = (sum(each[key] for each in figures) for key in ("hits", "misses"))
    return round(hits / (hits + misses), 3)


if __name__ == "__main__":
    from gevent import monkey

    monkey.patch_all()
    if sys.argv[1] == "publish":
        publish(sys.argv[2], int(sys.argv[3]))
    else:
        print(json.dumps(measure(sys.argv[2], int(sys.argv[3]), int(sys.argv[4]))))
