"""`verify` after a cut and a kill: no minute that lacks a trade is called complete, and what somebody deletes is found."""

from __future__ import annotations

import json
import shutil
import signal
import time
from pathlib import Path
from typing import Any

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


def test_no_minute_that_lacks_a_trade_is_complete_and_a_deleted_batch_is_found(tmp_path: Path, forked_cli: Cli) -> None:
    rules = {venue: {"connects_per_5_minutes": 10_000} for venue in VENUES}
    with SimProcess(symbols=6, rate=60.0, folder=str(tmp_path / "venues"), venues=list(VENUES), rules=rules) as sim:
        first = time.time_ns() // MINUTE_NS
        collector = CollectorProcess(sim, tmp_path)
        collector.start()
        collector.wait_until_up()
        watched = time.time_ns() // MINUTE_NS
        time.sleep(3.0)
        sim.fault("cut", venue="okx.spot")
        time.sleep(3.0)
        killed = time.time_ns() // MINUTE_NS
        collector.kill(signal.SIGKILL)
        collector.start()
        collector.wait_until_up()
        clean = time.time_ns() // MINUTE_NS + 1
        time.sleep(max(0.0, (clean + 1) * MINUTE_NS / 1e9 + 2.0 - time.time()))
        sim.pause()
        time.sleep(1.0)
        assert collector.stop() == 0
        truth = sim.truth()
        symbols = [option for names in truth.symbols for name in names for option in ("--symbol", name)]
        code, rows = verified(forked_cli, collector.config_file, first, clean + 1, "--against", "venue", "--top", "0", *symbols)
    counted = counted_in_journal(truth, tmp_path / "data")
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
    if killed > watched:  # nothing is claimed of the minute in which it first came up
        assert {f"{run['exchange']}.{run['market_type']}" for run in hit} == set(VENUES), "the kill hit every venue"
    whole = [run for run in runs if run["state"] in WHOLE and run["to_ns"] >= (clean + 1) * MINUTE_NS]
    assert len(whole) > len(truth.symbols) * 3, "most symbols are whole in the minute after it"
    candles = [row for row in rows if row["kind"] == "candles"]
    assert sum(row["agree"] + row["shifted"] for row in candles) >= len(whole), candles

    shutil.copytree(tmp_path / "data", tmp_path / "copy")
    for path in (tmp_path / "copy" / "journal").glob("*.sqlite"):
        connection = connect(path)
        connection.execute("DELETE FROM batches WHERE id IN (SELECT id FROM batches WHERE first_timestamp > ? ORDER BY id"
                           " LIMIT 3)", (clean * MINUTE_NS + 20 * 10**9,))
        connection.close()
    config = tmp_path / "copy.yaml"
    config.write_text(collector.config_file.read_text("utf-8").replace(str(tmp_path / "data"), str(tmp_path / "copy")), "utf-8")
    code, rows = verified(forked_cli, config, clean, clean + 1)
    found = [row for row in rows if row["kind"] == "contradiction"]
    assert code == 1 and {"hole"} <= {row["what"] for row in found}, rows
