"""A collector's candles are those that pandas computes of the trades that the venues sent."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from pumpwatch.market.intervals import MINUTE, MINUTE_NS
from pumpwatch.market.sqlite_store import SqliteCandleStore
from pumpwatch.model import Flag
from pumpwatch.sim.ground_truth import Truth
from pumpwatch.sim.process import SimProcess
from tests.app.collector import CollectorProcess


def test_the_candles_of_a_minute_are_those_of_the_trades_that_were_sent(tmp_path: Path) -> None:
    with SimProcess(symbols=3, rate=200) as sim, CollectorProcess(sim, tmp_path) as collector:
        up = collector.wait_until_up()
        first = up["written_at_ns"] // MINUTE_NS + 1  # the first minute that is recorded whole
        figures = collector.wait_until(lambda now: now["market"].get("last_pass_ns", 0) > (first + 1) * MINUTE_NS, 200)
        assert {row["name"] for row in figures["jobs"]} >= {"candles", "candle retention", "candle check"}
        sim.pause()
        truth = sim.truth()
        collector.stop()
    store = SqliteCandleStore(collector.data, read_only=True)
    found = {}
    for series in store.series():
        rows = store.read(series, MINUTE, first * MINUTE_NS, (first + 1) * MINUTE_NS)
        if len(rows):
            found[series] = (rows.open[0], rows.high[0], rows.low[0], rows.close[0], rows.volume[0], rows.trades[0])
    store.close()
    wanted = by_pandas(truth, first)
    assert len(wanted) > 10
    assert found.keys() == wanted.keys()
    for series, figures in wanted.items():
        assert found[series] == pytest.approx(figures, rel=1e-9), series


def by_pandas(truth: Truth, minute: int) -> dict[tuple[str, str, str], tuple[float, ...]]:
    """Return open, high, low, close, volume and number of the trades that were sent of a minute."""
    records, found = truth.trades(), {}
    frame = pd.DataFrame({name: records[name] for name in ("venue", "symbol", "timestamp", "price", "quantity", "trade_id", "flags")})
    frame = frame[(frame.timestamp // MINUTE_NS == minute) & ((frame["flags"] & int(Flag.outside_market())) == 0)]
    for (venue, symbol), group in frame.sort_values(["timestamp", "trade_id"]).groupby(["venue", "symbol"]):
        series = (*truth.venues[venue].split("."), truth.symbols[venue][symbol])
        found[series] = (group.price.iloc[0], group.price.max(), group.price.min(), group.price.iloc[-1], group.quantity.sum(),
                         len(group))
    return found
