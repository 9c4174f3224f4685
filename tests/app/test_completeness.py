"""A collector through a cut, a kill and a whole minute: what `verify` says of the minutes, and the candles of that minute.

No minute that lacks a trade is called complete, what somebody deletes is found, and the candles are those of the trades sent.
"""

from __future__ import annotations

import json
import shutil
import signal
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from pumpwatch.market.intervals import MINUTE
from pumpwatch.market.sqlite_store import SqliteCandleStore
from pumpwatch.model import Flag
from pumpwatch.sim.ground_truth import Truth
from pumpwatch.sim.process import SimProcess
from pumpwatch.store.minutes import MINUTE_NS
from pumpwatch.store.sqlite import connect
from tests.app.collector import CollectorProcess
from tests.app.coverage import missing
from tests.app.reckoning import counted_in_journal
from tests.conftest import Cli

VENUES = ("binance.spot", "binance.futures", "okx.spot", "bybit.futures")
WHOLE = ("complete", "filled", "quiet")


def verified(forked_cli: Cli, config: Path, first: int, end: int, *options: str) -> tuple[int, list[dict[str, Any]]]:
    done = forked_cli("verify", "-c", config, "--from", str(first * MINUTE_NS), "--to", str(end * MINUTE_NS), "--json", *options)
    assert done.returncode in (0, 1), done.stderr
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()]


@dataclass(frozen=True)
class Ended:
    """A collector that has ended, and what its venues sent.

    The rest are minutes since 1970: when the run began, when it was up first, when it was killed, and the first one that was
    recorded whole after that.
    """

    collector: CollectorProcess
    truth: Truth
    began: int
    up: int
    killed: int
    whole: int


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ended]:
    """Cut a venue, kill the collector and let the next one record a whole minute; the venues still answer."""
    folder = tmp_path_factory.mktemp("minutes")
    rules = {venue: {"connects_per_5_minutes": 10_000} for venue in VENUES}
    with SimProcess(symbols=6, rate=60.0, folder=str(folder / "venues"), venues=list(VENUES), rules=rules) as sim:
        began = time.time_ns() // MINUTE_NS
        collector = CollectorProcess(sim, folder)
        collector.start()
        collector.wait_until_up()
        up = time.time_ns() // MINUTE_NS
        time.sleep(3.0)
        sim.fault("cut", venue="okx.spot")
        time.sleep(3.0)
        killed = time.time_ns() // MINUTE_NS
        collector.kill(signal.SIGKILL)
        collector.start()
        collector.wait_until_up()
        whole = time.time_ns() // MINUTE_NS + 1
        time.sleep(max(0.0, (whole + 1) * MINUTE_NS / 1e9 + 2.0 - time.time()))
        sim.pause()
        figures = collector.wait_until(lambda now: now["market"].get("last_pass_ns", 0) > (whole + 1) * MINUTE_NS, 200)
        assert {row["name"] for row in figures["jobs"]} >= {"candles", "candle retention", "candle check"}
        assert collector.stop() == 0
        yield Ended(collector, sim.truth(), began, up, killed, whole)


def test_the_candles_of_a_minute_are_those_of_the_trades_that_were_sent(ended: Ended) -> None:
    store, found = SqliteCandleStore(ended.collector.data, read_only=True), {}
    for series in store.series():
        rows = store.read(series, MINUTE, ended.whole * MINUTE_NS, (ended.whole + 1) * MINUTE_NS)
        if len(rows):
            found[series] = (rows.open[0], rows.high[0], rows.low[0], rows.close[0], rows.volume[0], rows.trades[0])
    store.close()
    wanted = by_pandas(ended.truth, ended.whole)
    assert len(wanted) > 10
    assert found.keys() == wanted.keys()
    for series, figures in wanted.items():
        assert found[series] == pytest.approx(figures, rel=1e-9), series


def by_pandas(truth: Truth, minute: int) -> dict[tuple[str, str, str], tuple[float, ...]]:
    """Return open, high, low, close, volume and number of the trades that were sent of a minute."""
    records, found = truth.trades(), {}
    names = ("venue", "symbol", "timestamp", "price", "quantity", "trade_id", "flags")
    frame = pd.DataFrame({name: records[name] for name in names})
    frame = frame[(frame.timestamp // MINUTE_NS == minute) & ((frame["flags"] & int(Flag.outside_market())) == 0)]
    for (venue, symbol), group in frame.sort_values(["timestamp", "trade_id"]).groupby(["venue", "symbol"]):
        series = (*truth.venues[venue].split("."), truth.symbols[venue][symbol])
        found[series] = (group.price.iloc[0], group.price.max(), group.price.min(), group.price.iloc[-1], group.quantity.sum(),
                         len(group))
    return found


def test_no_minute_that_lacks_a_trade_is_complete_and_a_deleted_batch_is_found(ended: Ended, forked_cli: Cli) -> None:
    truth, clean, folder, data = ended.truth, ended.whole, ended.collector.folder, ended.collector.data
    symbols = [option for names in truth.symbols for name in names for option in ("--symbol", name)]
    code, rows = verified(forked_cli, ended.collector.config_file, ended.began, clean + 1, "--against", "venue", "--top", "0",
                          *symbols)
    counted = counted_in_journal(truth, data)
    runs = [row for row in rows if row["kind"] == "run"]
    lost = list(missing(truth, counted))
    for exchange, market_type, symbol, _, at_ns in lost:
        said = [run["state"] for run in runs if (run["exchange"], run["market_type"], run["symbol"]) == (
            exchange, market_type, symbol) and run["from_ns"] <= at_ns < run["to_ns"]]
        assert not set(said) & set(WHOLE), (exchange, market_type, symbol, at_ns, said)
    assert code == 0 and not rows[0]["contradicted"], [row for row in rows if row["kind"] != "run"]
    venues = {f"{row['exchange']}.{row['market_type']}": row["minutes"] for row in rows if row["kind"] == "venue"}
    assert venues.keys() == set(VENUES)
    hit = [run for run in runs if run["state"] in ("gap", "filled")]
    if ended.killed > ended.up:  # nothing is claimed of the minute in which it first came up
        assert {f"{run['exchange']}.{run['market_type']}" for run in hit} == set(VENUES), "the kill hit every venue"
    whole = [run for run in runs if run["state"] in WHOLE and run["to_ns"] >= (clean + 1) * MINUTE_NS]
    assert len(whole) > len(truth.symbols) * 3, "most symbols are whole in the minute after it"
    candles = [row for row in rows if row["kind"] == "candles"]
    assert sum(row["agree"] + row["shifted"] for row in candles) >= len(whole), candles

    shutil.copytree(data, folder / "copy")
    for path in (folder / "copy" / "journal").glob("*.sqlite"):
        connection = connect(path)
        connection.execute("DELETE FROM batches WHERE id IN (SELECT id FROM batches WHERE first_timestamp > ? ORDER BY id"
                           " LIMIT 3)", (clean * MINUTE_NS + 20 * 10**9,))
        connection.close()
    config = folder / "copy.yaml"
    config.write_text(ended.collector.config_file.read_text("utf-8").replace(str(data), str(folder / "copy")), "utf-8")
    code, rows = verified(forked_cli, config, clean, clean + 1)
    found = [row for row in rows if row["kind"] == "contradiction"]
    assert code == 1 and {"hole"} <= {row["what"] for row in found}, rows
