"""Find a coin's trades in the data folder and the sinks of a config, whether its collector runs or not."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from pumpwatch.catalogue import Catalogue, VenueKey
from pumpwatch.config import Config
from pumpwatch.model import Instrument, TradeBatch
from pumpwatch.plugins import Plugins
from pumpwatch.store.query import NEVER, QueryResult, find
from pumpwatch.store.reader import JournalReader

SPELLINGS = ("{}USDT", "{}-USDT", "{}_USDT", "{}/USDT", "1000{}USDT", "1000{}-USDT", "1000{}_USDT")


class StoredTrades:
    """The stored trades. catalogue: every instrument of the journal, and instruments that a query found in a sink."""

    def __init__(self, config: Config, plugins: Plugins) -> None:
        self.catalogue = Catalogue()
        self._plugins = plugins
        self._journal = JournalReader(Path(config.store.dir), self.catalogue)
        self._journal.load_instruments()
        self._sinks = plugins.make_sinks(config)

    def venues(self) -> set[VenueKey]:
        """Return every (exchange, market_type) that has trades in the journal, or a plugin."""
        return {(venue.exchange, venue.market_type) for venue in self._plugins.venues} | set(self.catalogue.venues)

    def knows(self, coin: str) -> bool:
        """Return whether the journal knows the coin, or a sink may know it."""
        return bool(self._sinks) or bool(self.catalogue.matching(coin))

    def begins_ns(self) -> int:
        """Return a time in ns before which nothing is stored; 0 if sinks may have older trades."""
        firsts = [segment.first_timestamp for segment in self._journal.segments()]
        return 0 if self._sinks else min(firsts, default=0)

    def of(self, coin: str, start_ns: int, end_ns: int, exchange: str | None = None, market: str | None = None) -> QueryResult:
        """Return a coin's trades in [start_ns, end_ns), of all venues or of the given exchange or market.

        If the journal does not know the coin, the sinks are searched for its usual symbols.
        """
        ids = _only(self.catalogue, self.catalogue.matching(coin), exchange, market)
        if not ids and self._sinks:
            return self._in_sinks(coin, start_ns, end_ns, exchange, market)
        journal = self._journal
        segments = journal.segments()
        whole_from_ns = min((segment.created_ns for segment in segments), default=NEVER)

        def count(first_ns: int, last_ns: int) -> int:
            return sum(segment.last_timestamp >= first_ns and segment.first_timestamp < last_ns for segment in segments)

        found = find(ids, start_ns, end_ns, catalogue=self.catalogue, journal_query=journal.query, sinks=self._sinks,
                     journal_from_ns=whole_from_ns, segments=count)
        if journal.unreadable and self._sinks:  # the sinks may have the unreadable trades
            found = find(ids, start_ns, end_ns, catalogue=self.catalogue, journal_query=journal.query, sinks=self._sinks)
        return found

    def _in_sinks(self, coin: str, start_ns: int, end_ns: int, exchange: str | None, market: str | None) -> QueryResult:
        guesses = Catalogue()
        for venue in self._plugins.venues:
            for spelling in SPELLINGS:
                guesses.add((venue.exchange, venue.market_type), Instrument(
                    symbol=spelling.format(coin.upper()), base=coin.upper(), quote="USDT",
                    multiplier=1000 if spelling.startswith("1000") else 1))
        found = find(_only(guesses, list(range(len(guesses))), exchange, market), start_ns, end_ns, catalogue=guesses,
                     sinks=self._sinks)
        return replace(found, batch=_adopt(found.batch, guesses, self.catalogue))


def _only(catalogue: Catalogue, ids: list[int], exchange: str | None, market: str | None) -> list[int]:
    return [number for number in ids
            if exchange in (None, catalogue.venues[number][0]) and market in (None, catalogue.venues[number][1])]


def _adopt(batch: TradeBatch, guesses: Catalogue, catalogue: Catalogue) -> TradeBatch:
    """Renumber the trades of guessed symbols for the catalogue, and add the instruments with trades to it."""
    numbers = np.zeros(len(guesses), np.int32)
    for number in np.unique(batch.instrument).tolist():
        numbers[number] = catalogue.add_if_new(guesses.venues[number], guesses.instruments[number])
    return replace(batch, instrument=numbers[batch.instrument])
