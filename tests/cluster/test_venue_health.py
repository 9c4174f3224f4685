"""The table of health has one row of a venue and a minute, which is of all members and not of the last one that wrote."""

from __future__ import annotations

from typing import Any

from pumpwatch.cluster.venue_health import FRESH_S, VenueHealth
from tests.cluster.asking import AskedDirectly
from tests.redis_server import RedisNode

NOW_US = 1_795_000_000_000_000


def row(market_type: str = "spot", **figures: Any) -> dict[str, Any]:
    return {"exchange": "one", "market_type": market_type, "connections": 2, "trades": 10, "lag_ms": 20.0, "gaps": 1,
            "status": "connected", "last_trade_time": 5, "message_count": 7, "error_message": "", **figures}


def test_a_row_is_of_every_member_that_has_left_one_lately(single_redis: RedisNode) -> None:
    asked = AskedDirectly(single_redis.port)
    asked.lose_everything(NOW_US)
    a, b = (VenueHealth(asked, "crew", name) for name in "ab")
    assert a.exchange([row()]) == [row()]
    other = row(connections=1, trades=5, lag_ms=90.0, gaps=0, status="degraded", last_trade_time=9, error_message="late")
    both, = b.exchange([other])
    assert both == row(connections=3, trades=15, lag_ms=90.0, status="degraded", last_trade_time=9, message_count=14,
                       error_message="b: late")
    asked.set_clock(NOW_US + (FRESH_S + 1) * 1_000_000)
    assert b.exchange([other]) == [{**other, "error_message": "b: late"}], "a has died"


def test_a_member_that_has_nothing_of_a_venue_to_read_does_not_make_it_worse(single_redis: RedisNode) -> None:
    asked = AskedDirectly(single_redis.port)
    asked.lose_everything(NOW_US)
    idle = row(connections=0, trades=0, lag_ms=None, status="disconnected", last_trade_time=0)
    VenueHealth(asked, "crew", "a").exchange([idle, row("futures", connections=0, status="error")])
    asked.client.hset("test:{cluster:crew}:health", "c", f"{NOW_US // 1_000_000} not rows")
    futures, spot = VenueHealth(asked, "crew", "b").exchange([row(), row("futures")])
    assert (spot["status"], spot["lag_ms"], futures["status"]) == ("connected", 20.0, "degraded")
