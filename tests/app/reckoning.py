"""End the trading of a simulation, and compare what it sent with what a collector stored."""

from __future__ import annotations

from pathlib import Path

from pumpwatch.catalogue import Catalogue
from pumpwatch.model import TradeBatch
from pumpwatch.sim.ground_truth import Truth
from pumpwatch.sim.process import SimProcess
from pumpwatch.sim.reconcile import TradeComparison, compare, names_of
from pumpwatch.store.reader import JournalReader
from tests.app.collector import CollectorProcess


def settle(sim: SimProcess, collector: CollectorProcess) -> None:
    """End trading and wait until everything sent was taken."""
    sim.pause()
    sent = len(sim.truth().trades())  # each once, however many connections got it
    collector.wait_until(lambda figures: sum(row["trades_total"] for row in figures["venues"]) >= sent
                         and figures["journal"]["backlog_trades"] == 0)


def stored_of(truth: Truth, folder: Path) -> tuple[TradeBatch, Catalogue]:
    """Return all trades of the journal in `folder`, with their catalogue."""
    catalogue = Catalogue()
    reader = JournalReader(folder, catalogue)
    reader.load_instruments()
    return reader.query(names_of(truth), 0, 2**62), catalogue


def counted_in_journal(truth: Truth, folder: Path) -> TradeComparison:
    """Compare the trades that were sent with the journal in `folder`."""
    return compare(truth, *stored_of(truth, folder))
