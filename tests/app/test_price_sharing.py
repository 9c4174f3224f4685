"""A collector's newest prices reach Redis, each once."""

from __future__ import annotations

from pumpwatch.app.price_sharing import PriceSharing
from pumpwatch.clock import NS_PER_S
from pumpwatch.redis.tickers import LastPrices
from tests.market.market_parts import trades_at
from tests.redis.waiting import connected, eventually
from tests.redis_server import RedisNode
from tests.trades import catalogue_of


def test_prices_that_changed_are_shared_once(single_redis: RedisNode) -> None:
    redis, reader = connected([single_redis.address]), connected([single_redis.address])
    sharing, prices, now_ns = PriceSharing(redis, catalogue_of()), LastPrices(reader), 1_764_000_000 * NS_PER_S
    sharing.note(trades_at((now_ns, 5.0, 1.0), (now_ns + 1, 6.0, 1.0)))
    sharing.note(trades_at((now_ns, 9.0, 1.0), instrument=1))
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
    sharing.note(trades_at((1, 5.0, 1.0)))
    sharing.share()
    sharing.start(lambda name, body: started.append(name))
    assert started == []
