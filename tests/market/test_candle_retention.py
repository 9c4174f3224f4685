"""Candles are removed when their interval is not kept any longer."""

from __future__ import annotations

from pathlib import Path

from pumpwatch.market.candle_retention import DAY_NS, KEPT_DAYS, kept_from, remove_expired
from pumpwatch.market.intervals import INTERVALS_NS
from pumpwatch.market.sqlite_store import SqliteCandleStore
from tests.market.store_contract import ALL, START, A, candles


def test_minutes_go_after_a_month_and_hours_never(tmp_path: Path) -> None:
    store = SqliteCandleStore(tmp_path)
    for interval, length in INTERVALS_NS.items():
        days = [0, 1, 59, 60, 90]
        store.write(interval, [A], candles([day * DAY_NS // length for day in days], step=length))
    now_ns = START + 90 * DAY_NS + 7
    assert kept_from(now_ns) == {interval: START + (90 - days) * DAY_NS for interval, days in KEPT_DAYS.items()}
    assert remove_expired(store, now_ns) == {"1m": 3, "5m": 0, "15m": 0}
    assert remove_expired(store, now_ns + DAY_NS) == {"1m": 1, "5m": 1, "15m": 1}
    assert [len(store.read(A, interval, *ALL)) for interval in INTERVALS_NS] == [1, 4, 4, 5, 5, 5]
    store.close()


def test_other_days_may_be_kept() -> None:
    assert kept_from(10 * DAY_NS, {"1h": 3, "unknown": 1}) == {"1h": 7 * DAY_NS}
