"""Listings as a user meets them: windows cut by a stop and by a kill, and boards, inboxes and plugins that mean harm."""

from __future__ import annotations

import json
import signal
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pumpwatch.catalogue import Catalogue
from pumpwatch.listing.manifest import read_manifest
from pumpwatch.sim.process import SimProcess
from pumpwatch.store.ledger import Ledger, ListingRecord
from pumpwatch.store.reader import JournalReader
from tests.app.collector import CollectorProcess

WINDOW_S = 3.0
VENUES = ["binance.spot", "binance.futures"]


def listing_config(url: str) -> dict[str, Any]:
    return {"window_s": WINDOW_S, "sources": {"upbit": {"url": url, "interval_s": 1.0}}}


def listings(data: Path) -> list[ListingRecord]:
    ledger = Ledger(data)
    try:
        return ledger.listings()
    finally:
        ledger.close()


def stored(data: Path, coin: str, intervals: list[list[int]]) -> set[tuple[str, str, int]]:
    """Return (symbol, trade id, timestamp) of what the journal has of a coin."""
    catalogue = Catalogue()
    reader = JournalReader(data, catalogue)
    reader.load_instruments()
    ids = catalogue.matching(coin)
    found = set()
    for start, end in intervals:
        batch = reader.query(catalogue.names(ids), start, end)
        symbols = [".".join(catalogue.venues[one]) + catalogue.instruments[one].symbol for one in batch.instrument.tolist()]
        found |= set(zip(symbols, batch.id_texts(), batch.timestamp.tolist(), strict=True))
    return found


def archived(archive: Path) -> tuple[set[tuple[str, str, int]], list[list[int]]]:
    found, window = set(), []
    for path in archive.glob("raw/*/*.json"):
        raw = json.loads(path.read_text("utf-8"))
        window = raw["window"]
        venue = f"{raw['exchange']}.{raw['market_type']}"
        trades = raw["trades"]
        found |= {(venue + symbol, number, at_ns) for symbol, number, at_ns
                  in zip(trades["symbol"], trades["trade_id"], trades["timestamp"], strict=True)}
    return found, window


@pytest.mark.parametrize(("number", "away_s"), [(signal.SIGTERM, WINDOW_S + 1), (signal.SIGKILL, 0.0)])
def test_a_window_that_a_stop_or_a_kill_cut_is_archived_whole_after_the_restart(
        tmp_path: Path, number: signal.Signals, away_s: float) -> None:
    with SimProcess(venues=VENUES, symbols=6, rate=1000.0, paused=True, folder=str(tmp_path / "venues")) as sim:
        collector = CollectorProcess(sim, tmp_path, listing=listing_config(sim.addresses["boards"]["upbit"]["url"]))
        with collector:
            collector.wait_until_up()
            sim.resume()
            time.sleep(WINDOW_S)
            sim.publish("SOMI")
            collector.wait_until(lambda figures: figures["listing"]["windows"]["open"] == 1)
            time.sleep(1.0)
            collector.kill(number)
            time.sleep(away_s)
            collector.start()
            collector.wait_until(lambda figures: figures["listing"]["windows"]["not_final"] == 1)
            sim.pause()
            collector.wait_until(lambda figures: figures["journal"]["backlog_trades"] == 0)
            assert collector.stop() == 0
    (record,) = listings(collector.data)
    taken, window = archived(Path(record.archive))
    assert taken == stored(collector.data, "SOMI", window)
    before = {at_ns for _, _, at_ns in taken if at_ns < record.listing.announced_at_ns}
    assert record.trades == len(taken) > len(before) > 0
    assert np.ptp(list(before)) > 1e9  # the trades of the run before
    manifest = read_manifest(Path(record.archive))
    assert manifest is not None
    assert (manifest.final, manifest.problems) == (False, ())
