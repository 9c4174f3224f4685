"""Candles of minutes that the journal does not keep any more come from a sink, back to where it has nothing."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from pumpwatch.catalogue import Catalogue
from pumpwatch.errors import ServiceUnavailable
from pumpwatch.market.candle_columns import Series
from pumpwatch.market.candle_keeper import CandleKeeper
from pumpwatch.market.intervals import MINUTE, MINUTE_NS
from pumpwatch.market.sink_candles import SinkCandles
from pumpwatch.model import TradeBatch
from pumpwatch.store.coverage import CoverageFile
from pumpwatch.store.reader import FOLDER, SUFFIX
from tests.market.live_journal import START_NS, LiveJournal, assert_same
from tests.market.memory_store import MemoryStore
from tests.trades import VENUES

FIRST = START_NS // MINUTE_NS
BACK = 400  # minutes before the journal begins, in the middle of the next one
BEGAN = FIRST + BACK + 1


class Shelf:
    """A sink with trades of instruments whose ids are those of a journal's catalogue."""

    def __init__(self, batch: TradeBatch, catalogue: Catalogue) -> None:
        self._batch, self._catalogue = batch, catalogue
        self.asked, self.refuses = list[tuple[int, int]](), False

    def read(self, names: Sequence[Series], start_ns: int, end_ns: int, catalogue: Catalogue) -> TradeBatch:
        self.asked.append((start_ns // MINUTE_NS - FIRST, end_ns // MINUTE_NS - FIRST))
        if self.refuses:
            raise ServiceUnavailable("the server is away")
        batch = self._batch.take((self._batch.timestamp >= start_ns) & (self._batch.timestamp < end_ns))
        numbers = [catalogue.ids_of(name[:2])[name[2]] for name in self._catalogue.names(range(4))]
        instrument = batch.instrument.copy()
        for own, number in enumerate(numbers):
            instrument[batch.instrument == own] = number
        columns: list[Any] = list(batch.columns())
        columns[1] = instrument
        return TradeBatch(*columns)


def made(folder: Path) -> tuple[LiveJournal, MemoryStore, CandleKeeper]:
    """Return a store that was lost, and a journal that lacks its first trades; their last minute goes on in it."""
    live, store = LiveJournal(folder), MemoryStore()
    file = CoverageFile(folder)
    for venue in VENUES:
        file.watch(venue, frozenset({"C0USDT", "C1USDT"}), START_NS)
    file.close()
    older = live.trades(BACK * 6 + 3, 10_000, START_NS, 10 * 10**9, seed=2)
    older = older.take((older.timestamp < START_NS + 100 * MINUTE_NS) | (older.timestamp >= START_NS + 300 * MINUTE_NS))
    live.commit(older)
    live.clock.advance(BACK * 60 + 30)
    live.commit(live.trades(600, 1, live.clock.now_ns(), 10**9))
    min((folder / FOLDER).glob(f"*{SUFFIX}")).unlink()
    live.clock.advance(1200)
    keeper = CandleKeeper(folder, store, live.clock)
    keeper.run()
    return live, store, keeper


def now(work: Any) -> Any:
    return work()


def test_the_candles_are_those_of_an_undamaged_store(tmp_path: Path) -> None:
    live, store, keeper = made(tmp_path)
    name = live.catalogue.names([0])[0]
    assert keeper.begins() == BEGAN and not store.read(name, "1d", 0, 2**62).complete.any()
    shelf = Shelf(TradeBatch.concat(live.batches), live.catalogue)
    sink = SinkCandles(shelf, keeper, live.clock, now, now)
    shelf.refuses = True
    with pytest.raises(ServiceUnavailable):
        sink.work(0, 50)
    assert keeper.begins() == BEGAN and not sink.done
    shelf.refuses = False
    sink.work(0, 50)
    assert sink.done and keeper.begins() == FIRST and min(shelf.asked)[0] == 0
    found = {(name, at): (*row[1:6], row[8]) for (name, of, at), row in store.rows.items() if of == MINUTE}
    assert_same(found, live.candles(live.clock.now_ns() // MINUTE_NS * MINUTE_NS))
    hours = store.read(name, "1h", START_NS + 60 * MINUTE_NS, START_NS + 300 * MINUTE_NS)
    assert len(hours) > 1 and hours.complete.all()


def test_a_sink_that_has_nothing_older_claims_nothing(tmp_path: Path) -> None:
    live, _, keeper = made(tmp_path)
    sink = SinkCandles(Shelf(TradeBatch.empty(), live.catalogue), keeper, live.clock, now, now)
    sink.work(0, 50)
    assert sink.done and keeper.begins() == BEGAN
    name = live.catalogue.names([0])[0]
    assert name not in keeper.missing_since(FIRST)
    assert keeper.missing_since(FIRST, lost_store=True)[name] == [(FIRST, BEGAN)], "the venue is asked for it"
