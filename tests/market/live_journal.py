"""A journal that a collector writes while a test reads it, and the candles that pandas computes of what was committed."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from pumpwatch.clock import FakeClock
from pumpwatch.market.candle_columns import Series
from pumpwatch.market.intervals import INTERVALS_NS, MINUTE_NS
from pumpwatch.model import TradeBatch
from pumpwatch.stats import Stats
from pumpwatch.store.journal import Journal
from tests.trades import batch_of, catalogue_of

START_NS = 28_000_000 * MINUTE_NS


class LiveJournal:
    """A journal that is being written. Its clock begins at `start_ns`."""

    def __init__(self, folder: Path, start_ns: int = START_NS) -> None:
        self.folder, self.clock, self.catalogue = folder, FakeClock(start_ns), catalogue_of(2)
        self.journal = Journal(folder, self.catalogue, self.clock, Stats())
        self.journal.open()
        self.batches: list[TradeBatch] = []

    def commit(self, batch: TradeBatch) -> None:
        """Store trades."""
        self.journal.commit(batch)
        self.batches.append(batch)

    def trades(self, rows: int, first_id: int, start_ns: int, step_ns: int, seed: int = 1) -> TradeBatch:
        """Return trades of four instruments."""
        return batch_of(rows, first_id=first_id, start_ns=start_ns, step_ns=step_ns, seed=seed, instruments=4)

    def candles(self, before_ns: int, interval: str = "1m") -> dict[tuple[Series, int], tuple[float, ...]]:
        """Return open, high, low, close, volume and trades that pandas computes of the trades in minutes before a time."""
        batch = TradeBatch.concat(self.batches)
        frame = pd.DataFrame({"ns": batch.timestamp, "instrument": batch.instrument, "price": batch.price, "base": batch.quantity,
                              "id": batch.trade_id}).drop_duplicates(["instrument", "id", "ns"]).sort_values(["ns", "id"])
        frame["at"] = frame.ns // INTERVALS_NS[interval] * INTERVALS_NS[interval]
        groups = frame[frame.ns // MINUTE_NS * MINUTE_NS < before_ns].groupby(["instrument", "at"])
        found = groups.price.agg(["first", "max", "min", "last"]).assign(volume=groups.base.sum(), trades=groups.size())
        names = self.catalogue.names(range(len(self.catalogue)))
        return {(names[number], at): tuple(row) for (number, at), row in zip(found.index, found.to_numpy().tolist(), strict=True)}


def assert_same(found: dict, wanted: dict) -> None:
    """Compare candles; sums of doubles may differ by their rounding."""
    assert found.keys() == wanted.keys()
    if wanted:
        np.testing.assert_allclose([found[key] for key in wanted], [wanted[key] for key in wanted], rtol=1e-12)
