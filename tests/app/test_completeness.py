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


def wait_until(minute: int, second: float) -> None:
    time.sleep(max(0.0, minute * MINUTE_NS / 1e9 + second - time.time()))


def verified(cli: Cli, config: Path, first: int, *options: str) -> tuple[int, list[dict[str, Any]]]:
    done = cli("verify", "-c", config, "--from", str(first * MINUTE_NS), "--to", str((first + 2) * MINUTE_NS), "--json", *options)
    assert done.returncode in (0, 1), done.stderr
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()]


def test_no_minute_that_lacks_a_trade_is_complete_and_a_deleted_batch_is_found(tmp_path: Path, cli: Cli) -> None:
    rules = {venue: {"connects_per_5_minutes": 10_000} for venue in VENUES}
    with SimProcess(symbols=6, rate=300.0, folder=str(tmp_path / "venues"), venues=list(VENUES), rules=rules) as sim:
        collector = CollectorProcess(sim, tmp_path)
        collector.start()
        collector.wait_until_up()
        first = time.time_ns() // MINUTE_NS + 1
        wait_until(first, 10)
        sim.fault("cut", venue="okx.spot")
        wait_until(first, 20)
        collector.kill(signal.SIGKILL)
        collector.start()
        collector.wait_until_up()
        wait_until(first + 2, 2)
        sim.pause()
        time.sleep(1.0)
        assert collector.stop() == 0
        truth = sim.truth()
        symbols = [option for names in truth.symbols for name in names for option in ("--symbol", name)]
        code, rows = verified(cli, collector.config_file, first, "--against", "venue", "--top", "0", *symbols)
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
    for name, minutes in venues.items():
        assert minutes["complete"] >= 6 and minutes["unread"] == 0, (name, minutes, "the second minute is whole")
        assert minutes["gap"] + minutes["filled"] >= 6, (name, minutes, "the kill hit every symbol in the first one")
    agreed = [row for row in rows if row["kind"] == "candles"]
    assert sum(row["agree"] + row["shifted"] for row in agreed) >= 4 * 6, agreed

    shutil.copytree(tmp_path / "data", tmp_path / "copy")
    for path in (tmp_path / "copy" / "journal").glob("*.sqlite"):
        connection = connect(path)
        connection.execute("DELETE FROM batches WHERE id IN (SELECT id FROM batches WHERE first_timestamp > ? ORDER BY id"
                           " LIMIT 3)", ((first + 1) * MINUTE_NS + 20 * 10**9,))
        connection.close()
    config = tmp_path / "copy.yaml"
    config.write_text(collector.config_file.read_text("utf-8").replace(str(tmp_path / "data"), str(tmp_path / "copy")), "utf-8")
    code, rows = verified(cli, config, first)
    found = [row for row in rows if row["kind"] == "contradiction"]
    assert code == 1 and {"hole"} <= {row["what"] for row in found}, rows
