"""Whatever becomes of the ledger while a collector runs, stops or starts: every trade is stored or in a gap."""

from __future__ import annotations

import os
import random
import sqlite3
import time

from pumpwatch.catalogue import Catalogue
from pumpwatch.model import Gap
from pumpwatch.sim.process import SimProcess
from pumpwatch.sim.reconcile import compare, names_of
from pumpwatch.store.journal import JournalReader
from pumpwatch.store.lasting import DAMAGED_GAPS
from pumpwatch.store.ledger import Ledger
from pumpwatch.store.waiting import waiting_gaps
from tests.app.collector import CollectorProcess
from tests.app.coverage import covered, missing

VENUES = ["binance.spot", "bybit.futures"]


def durable(figures) -> int:
    return figures["journal"]["durable_trades"]


def goes_on(collector: CollectorProcess, more: int = 300) -> None:
    """Return when so many more trades are stored."""
    before = durable(collector.figures())
    collector.wait_until(lambda figures: durable(figures) > before + more)


def gaps_of(collector: CollectorProcess) -> list[Gap]:
    ledger = Ledger(collector.data, read_only=True)
    gaps = [gap for _, gap in ledger.gaps()]
    ledger.close()
    return gaps + waiting_gaps(collector.data)


def test_locked_cut_to_nothing_and_garbage_while_running_at_a_stop_and_before_a_start(tmp_path):
    with SimProcess(venues=VENUES, symbols=5, rate=600.0, paused=True, folder=str(tmp_path / "venues")) as sim:
        collector = CollectorProcess(sim, tmp_path)
        file = collector.data / "ledger.sqlite"
        collector.start()
        collector.wait_until_up()
        sim.resume()
        goes_on(collector)
        other = sqlite3.connect(file, isolation_level=None, timeout=30)
        other.execute("BEGIN IMMEDIATE")
        sim.fault("cut")
        goes_on(collector)
        deadline = time.monotonic() + 30
        while not waiting_gaps(collector.data):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        collector.kill()  # while it is locked: what waits is on disk
        waited = waiting_gaps(collector.data)
        collector.start()
        collector.wait_until_up()
        goes_on(collector)
        other.execute("ROLLBACK")
        other.close()
        deadline = time.monotonic() + 30
        while waiting_gaps(collector.data):
            assert time.monotonic() < deadline
            time.sleep(0.05)
        found = {(gap.exchange, gap.symbol, gap.from_ns) for gap in gaps_of(collector)}
        assert {(gap.exchange, gap.symbol, gap.from_ns) for gap in waited} <= found
        os.truncate(file, 0)
        sim.fault("cut")
        goes_on(collector)
        file.write_bytes(random.Random(1).randbytes(50_000))
        sim.fault("cut")
        assert collector.stop() == 0
        file.write_bytes(random.Random(2).randbytes(50_000))
        collector.start()
        collector.wait_until_up()
        goes_on(collector)
        sim.pause()
        time.sleep(0.5)
        assert collector.stop() == 0
        truth = sim.truth()
    catalogue = Catalogue()
    reader = JournalReader(collector.data, catalogue)
    reader.load_instruments()
    counted = compare(truth, reader.query(names_of(truth), 0, 2**62), catalogue)
    assert counted.doubled == counted.unknown == counted.different == 0, counted
    gaps = gaps_of(collector)
    assert DAMAGED_GAPS in {gap.reason for gap in gaps}
    assert [one for one in missing(truth, counted) if not covered(one, gaps)] == []
    assert list(collector.data.glob("ledger.sqlite.damaged-*"))
    assert "Traceback" not in collector.log()
