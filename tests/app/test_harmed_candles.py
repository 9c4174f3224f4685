"""Whatever becomes of the store of candles beside a running collector: every trade is recorded, and no gap comes of it."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from pathlib import Path

from pumpwatch.market.market_file import FILE_NAME
from pumpwatch.sim.process import SimProcess
from tests.app.collector import CollectorProcess
from tests.app.reckoning import counted_in_journal, settle
from tests.conftest import Cli
from tests.forked import ROOT
from tests.small_disk import fill, small_disk

# a collector whose candles are made each second, at once; and pages are read from the file each time, so that damage is met
CANDLES = ("from pumpwatch.market import market_file, process; market_file.WRITER_CACHE_KB = 1; process.CANDLES_S = 1.0;"
           " process.STATE_S = 0.1; process.serve()")
COLLECTOR = f"""
import sys
from functools import partial
from pumpwatch.__main__ import main
from pumpwatch.app import market
market.AGAIN_S = 0.05
market.MarketProcess = partial(market.MarketProcess, words=(sys.executable, "-P", "-c", {CANDLES!r}), after_s=0.0)
main()
"""


class HarmedCollector(CollectorProcess):
    """A collector that is harmed by its candles, if it can be."""

    def start(self, *options: str) -> None:
        self._started_ns = time.time_ns()
        path = os.pathsep.join([str(ROOT), *filter(None, sys.path)])
        with (self.folder / "collector.log").open("ab") as log:
            self.child = subprocess.Popen(  # type: ignore[assignment]
                [sys.executable, "-c", COLLECTOR, "collect", "-c", str(self.config_file), *options], cwd=self.folder,
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=os.environ | {"PYTHONPATH": path})

    def market_until(self, done) -> dict:
        """Wait until the figures of the candles are so, and return them."""
        return self.wait_until(lambda figures: done(figures["market"]))["market"]

    def good(self) -> dict:
        """Wait until candles are made again."""
        return self.market_until(lambda now: now["pid"] and not now["problem"] and now.get("problems") == {}
                                 and now["last_pass_ns"])

    def trades_more(self) -> None:
        """Wait until the collector has recorded more."""
        def read(figures: dict) -> int:
            return sum(row["trades_total"] for row in figures["venues"])

        before = read(self.figures())
        self.wait_until(lambda figures: read(figures) > before + 50)


def overwrite(folder: Path) -> None:
    """Damage the store: all of its pages but the first, in the file and in its log."""
    for path, kept in ((folder / FILE_NAME, 4096), (folder / f"{FILE_NAME}-wal", 0)):
        if path.exists() and path.stat().st_size > kept:
            with path.open("r+b") as file:
                file.seek(kept)
                file.write(b"\xa5" * (path.stat().st_size - kept))


def add_migration(folder: Path) -> None:
    """Make the store that of a newer version."""
    with closing(sqlite3.connect(folder / FILE_NAME, isolation_level=None, timeout=30)) as file:
        table = file.execute("SELECT name FROM sqlite_schema WHERE name LIKE '%migrations'").fetchone()[0]
        columns = [row[1] for row in file.execute(f"PRAGMA table_info({table})") if row[1] not in ("id", "name")]
        file.execute(f"INSERT INTO {table} (name, {', '.join(columns)})"
                     f" SELECT 'm999_later', {', '.join(columns)} FROM {table} LIMIT 1")


def test_a_collector_never_notices_what_becomes_of_its_candles(tmp_path: Path, forked_cli: Cli) -> None:
    data = tmp_path / "data"
    with small_disk(data, 40) as no_disk, \
            SimProcess(symbols=3, rate=300.0, folder=str(tmp_path / "venues"), venues=["binance.spot"]) as sim:
        (data / FILE_NAME).write_bytes(b"not a store of candles\n" * 1000)
        with HarmedCollector(sim, tmp_path, market={"history": False}) as collector:
            collector.wait_until_up()
            collector.good()
            assert len(list(data.glob(f"{FILE_NAME}.damaged-*"))) >= 1

            with closing(sqlite3.connect(data / FILE_NAME, isolation_level=None, timeout=30)) as other:
                other.execute("BEGIN IMMEDIATE")
                collector.market_until(lambda now: "locked" in now.get("problems", {}).get("candles", ""))
                collector.trades_more()
                other.execute("ROLLBACK")
            starts = collector.good()["starts"]

            overwrite(data)
            collector.market_until(lambda now: now["starts"] > starts)
            collector.good()

            if not no_disk:
                ballast = fill(data)
                collector.wait_for_log("journal commit failed")
                ballast.unlink()
                collector.wait_for_log("journal accepts trades again")
                collector.good()

            add_migration(data)
            os.kill(collector.good()["pid"], signal.SIGKILL)
            collector.market_until(lambda now: not now["pid"] and "newer pumpwatch" in now["problem"])
            refused = forked_cli("store", "-c", collector.config_file)
            assert (refused.returncode, "newer pumpwatch" in refused.stderr) == (78, True), refused
            collector.trades_more()
            settle(sim, collector)
            assert collector.figures()["market"]["pid"] == 0
            assert collector.stop() == 0, collector.log()
        counted = counted_in_journal(sim.truth(), data)
        assert counted.missing == counted.doubled == counted.different == 0 and counted.sent > 0, counted
        assert forked_cli("verify", "-c", collector.config_file).returncode == 0
