"""Market data as they are asked for: a kept ticker, order book and list of trades, and the last 1,000 candles of a coin.

All of it goes by the service that programs and the commands use, beside a journal of two days in hourly files. The candles of the
store end a minute ago; those after them come from the journal's trades, of which the service reads those of the coin.
`_cpu_ms` is CPU an answer, all others are times. The store alone, at 100,000 and 8,000,000 candles, and its rivals are in
`candles`.
"""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from pumpwatch.clock import FakeClock
from pumpwatch.market.intervals import MINUTE_NS
from pumpwatch.market.market_file import FILE_NAME
from pumpwatch.market.service import MarketService
from pumpwatch.market.sqlite_store import SqliteCandleStore
from pumpwatch.market.trade_source import JournalTrades
from pumpwatch.stats import Stats
from pumpwatch.store.journal import Journal
from pumpwatch.venue import HttpRequest
from tests.bench.candles import START_NS, forget, made, names_of
from tests.market.market_parts import asker
from tests.trades import batch_of, catalogue_of

HOURS, LAST, COLD, SERIES = 48, 1000, 20, 100
TRADES_AN_HOUR = 20_000  # of the journal, 100 instruments


def market(folder: Path, repeats: int) -> dict[str, Any]:
    """Return p50 and p99 in ms of each kept answer and of the last candles, and the longest of the first ones."""
    folder.mkdir()
    now_ns = START_NS + HOURS * 60 * MINUTE_NS
    _fill(folder, now_ns)
    clock = FakeClock(now_ns)
    with_venue = asker(lambda request: _answer(request, clock), clock)
    store = SqliteCandleStore(folder, read_only=True)
    service = MarketService(JournalTrades(folder), store, with_venue, clock)
    last = now_ns - LAST * MINUTE_NS
    asked: dict[str, Callable[[], Any]] = {
        "ticker": lambda: service.get_ticker("C1", market="spot"),
        "book": lambda: service.get_orderbook("C1", market="spot"),
        "trades": lambda: service.get_trades("C1", market="spot"),
        "candles": lambda: service.get_candles("C1", "1m", last, now_ns, market="spot"),
        "hours": lambda: service.get_candles("C1", "1h", market="spot")}
    figures: dict[str, Any] = {}
    for name, ask in asked.items():
        _source(ask())
        cpu, times = time.process_time(), []
        for _ in range(repeats):
            began = time.perf_counter()
            found = ask()
            times.append((time.perf_counter() - began) * 1000)
        figures[f"{name}_cpu_ms"] = (time.process_time() - cpu) / repeats * 1000
        figures |= {f"{name}_ms_p50": float(np.median(times)), f"{name}_ms_p99": float(np.percentile(times, 99))}
        kept = {"ticker": "journal", "book": "cache", "trades": "cache"}  # the ticker's price is of its own trades
        assert name not in kept or _source(found) == kept[name], (name, _source(found))
    answer = asked["candles"]()
    assert len(answer.rows) >= LAST - 1, len(answer.rows)
    assert answer.problems == [], answer.problems
    store.close()
    figures["candles_cold_ms"] = max(_cold_ms(folder, clock, last, now_ns, number) for number in range(COLD))
    shutil.rmtree(folder)
    return figures


def _fill(folder: Path, now_ns: int) -> None:
    """Make a journal and a store of the same instruments and time. The prices are each one's own."""
    clock, catalogue = FakeClock(START_NS), catalogue_of(SERIES // 2)
    journal = Journal(folder, catalogue, clock, Stats())
    journal.open()
    for hour in range(HOURS):
        journal.commit(batch_of(TRADES_AN_HOUR, first_id=1 + hour * TRADES_AN_HOUR, instruments=SERIES,
                                start_ns=START_NS + hour * 60 * MINUTE_NS, step_ns=60 * MINUTE_NS // TRADES_AN_HOUR))
        clock.advance(3600)
    journal.close()
    store = SqliteCandleStore(folder)
    store.write("1m", names_of(SERIES), made(SERIES, (now_ns - START_NS) // MINUTE_NS - 1))
    store.close()


def _answer(request: HttpRequest, clock: FakeClock) -> bytes:
    """Answer as Binance: a ticker, or a book of 20 levels."""
    now_ms = clock.now_ns() // 10**6
    if "depth" in request.path:
        sides = {"bids": [[str(100 - at), "1"] for at in range(20)], "asks": [[str(101 + at), "1"] for at in range(20)]}
        return json.dumps({"lastUpdateId": 1, "T": now_ms, **sides}).encode()
    return json.dumps({"symbol": request.params["symbol"], "lastPrice": "2", "openPrice": "1", "closeTime": now_ms}).encode()


def _source(found: Any) -> str:
    """Return the source of a single answer."""
    return "" if not isinstance(found, list) else str(found[0].source)


def _cold_ms(folder: Path, clock: FakeClock, from_ns: int, to_ns: int, number: int) -> float:
    """Return the ms of opening a store that the kernel does not hold, and reading one coin's candles from it."""
    trades = JournalTrades(folder)
    forget(folder / FILE_NAME)
    began = time.perf_counter()
    store = SqliteCandleStore(folder, read_only=True)
    found = MarketService(trades, store, None, clock).get_candles(f"C{number * 7 % 50}", "1m", from_ns, to_ns, market="spot")
    took_ms = (time.perf_counter() - began) * 1000
    store.close()
    assert len(found.rows) >= LAST - 1
    return took_ms
