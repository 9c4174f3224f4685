"""Trades of a coin and a time, from wherever they are: memory, the journal, the sinks.

Each part of the range is asked where it is nearest. Memory holds every trade since `Recent.covers_from_ns` and says which it
does not; for those and for what was before the journal is asked, and before the journal's beginning the sinks. Parts are merged
in order of time, without doubles.
"""

from __future__ import annotations

import difflib
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Protocol

import numpy as np

from pumpwatch.catalogue import Catalogue
from pumpwatch.config import Config, options_of
from pumpwatch.errors import PumpWatchError, UsageError
from pumpwatch.hookspecs import Sink
from pumpwatch.model import Instrument, TradeBatch
from pumpwatch.plugins import Plugins, load_plugins
from pumpwatch.store.reader import JournalReader

Name = tuple[str, str, str]  # exchange, market_type, symbol
NEVER = 2**63 - 1
SPELLINGS = ("{}USDT", "{}-USDT", "{}_USDT", "{}/USDT", "1000{}USDT", "1000{}-USDT", "1000{}_USDT")


class RecentTrades(Protocol):
    """What a query asks of memory."""

    covers_from_ns: int

    def query(self, ids: Sequence[int], start_ns: int, end_ns: int) -> TradeBatch:
        """Return the trades of these instruments in [start_ns, end_ns)."""

    def elsewhere(self, start_ns: int, end_ns: int) -> list[tuple[int, int]]:
        """Return the parts of [start_ns, end_ns) that have to be asked for elsewhere."""


@dataclass(frozen=True, slots=True)
class Part:
    """What one place gave, and how long it took. `problem` says why it gave nothing, where something is wrong."""

    source: str  # recent, journal, or a sink's name
    rows: int
    ms: float
    problem: str = ""


@dataclass(frozen=True, slots=True)
class QueryResult:
    """Trades in order of their timestamps, each once, and the parts they came from."""

    batch: TradeBatch
    parts: list[Part]


def find(
    coin: str | Sequence[int], start_ns: int, end_ns: int, *, catalogue: Catalogue, recent: RecentTrades | None = None,
    journal_query: Callable[[Sequence[Name], int, int], TradeBatch] | None = None,
    sinks: Mapping[str, Sink] | None = None, journal_from_ns: int = NEVER,
) -> QueryResult:
    """Return the trades of a coin (or of instrument ids) in [start_ns, end_ns), from as few places as hold them.

    `journal_from_ns`: from then on the journal is known to be whole, and the sinks are not asked. A place that cannot
    answer is named in the parts and is not fatal.
    """
    ids = catalogue.matching(coin) if isinstance(coin, str) else list(coin)
    names = catalogue.names(ids)
    batches: list[TradeBatch] = []
    parts: list[Part] = []

    def ask(source: str, first_ns: int, last_ns: int, question: Callable[[int, int], TradeBatch]) -> None:
        if not ids or first_ns >= last_ns:
            return
        started, problem, batch = time.perf_counter(), "", TradeBatch.empty()
        try:
            batch = question(first_ns, last_ns)
        except PumpWatchError as error:
            problem = error.message
        parts.append(Part(source, len(batch), (time.perf_counter() - started) * 1000, problem))
        batches.append(batch)

    rest = [(start_ns, end_ns)]
    if recent is not None:
        held, rest = recent, recent.elsewhere(start_ns, end_ns)
        ask("recent", max(start_ns, recent.covers_from_ns), end_ns, lambda first, last: held.query(ids, first, last))
    for first_ns, last_ns in rest:
        whole_from_ns = journal_from_ns
        if journal_query is not None:
            ask("journal", first_ns, last_ns, partial(journal_query, names))
            if parts and parts[-1].problem:
                whole_from_ns = NEVER
        for name, sink in (sinks or {}).items():
            ask(name, first_ns, min(last_ns, whole_from_ns), partial(sink.read, names, catalogue=catalogue))
    return QueryResult(merged(batches), parts)


def merged(batches: Sequence[TradeBatch]) -> TradeBatch:
    """Return the rows of all batches by timestamp; of trades with one instrument, id text and timestamp the first."""
    batch = TradeBatch.concat([one for one in batches if len(one)])
    if len(batch) < 2:
        return batch
    ids = batch.trade_id if batch.text_id is None else np.array(batch.id_texts())
    order = np.lexsort((ids, batch.instrument, batch.timestamp))
    same = np.ones(len(batch) - 1, bool)
    for column in (batch.timestamp, batch.instrument, ids):
        ordered = column[order]
        same &= ordered[1:] == ordered[:-1]
    return batch.take(order[np.concatenate(([True], ~same))] if same.any() else order)


def trades_command(config: Config, coin: str, start_ns: int, end_ns: int, exchange: str | None = None,
                   market: str | None = None) -> tuple[TradeBatch, Catalogue, list[Part]]:
    """Return a coin's stored trades, the catalogue that names them and the parts, with or without a running collector.

    A coin that the journal has never seen is looked for in the sinks under its usual spellings. Raises UsageError where no
    plugin speaks with `exchange` (or has that market of it) and nothing of it is stored either.
    """
    catalogue = Catalogue()
    journal = JournalReader(Path(config.store.dir), catalogue)
    journal.load_instruments()
    plugins = load_plugins(config)
    _check_known({(venue.exchange, venue.market_type) for venue in plugins.venues} | set(catalogue.venues), exchange, market)
    sinks = {name: plugins.sinks[name].create(options_of(config, "sinks", name, plugins.sinks[name].options))
             for name in config.sinks if name in plugins.sinks}

    def wanted(number: int) -> bool:
        return (exchange in (None, catalogue.venues[number][0])) and (market in (None, catalogue.venues[number][1]))

    ids = [number for number in catalogue.matching(coin) if wanted(number)]
    if ids or not sinks:
        whole_from_ns = min((one.created_ns for one in journal.segments()), default=NEVER)
        found = find(ids, start_ns, end_ns, catalogue=catalogue, journal_query=journal.query, sinks=sinks,
                     journal_from_ns=whole_from_ns)
        if journal.unreadable and sinks:  # it is not whole: what it lacks may be there
            found = find(ids, start_ns, end_ns, catalogue=catalogue, journal_query=journal.query, sinks=sinks)
        return found.batch, catalogue, found.parts
    guesses = _guesses(coin, plugins)
    found = find([number for number in range(len(guesses)) if (exchange in (None, guesses.venues[number][0]))
                  and (market in (None, guesses.venues[number][1]))], start_ns, end_ns, catalogue=guesses, sinks=sinks)
    return _adopt(found.batch, guesses, catalogue), catalogue, found.parts


def _check_known(known: set[tuple[str, str]], exchange: str | None, market: str | None) -> None:
    if not any(exchange in (None, one) and market in (None, its_market) for one, its_market in known):
        names = sorted({f"{one} {its_market}" if exchange == one else one for one, its_market in known})
        raise UsageError(f"no exchange `{exchange or 'any'}`{f' with a market `{market}`' if market else ''}",
                         f"known: {', '.join(names)}")


def nearest_coins(coin: str, catalogue: Catalogue) -> list[str]:
    """Return up to three coins of the catalogue that are spelt much like this one."""
    return difflib.get_close_matches(coin.upper(), catalogue.coins(), 3, 0.5)


def _guesses(coin: str, plugins: Plugins) -> Catalogue:
    catalogue = Catalogue()
    for venue in plugins.venues:
        for spelling in SPELLINGS:
            catalogue.add((venue.exchange, venue.market_type), Instrument(
                symbol=spelling.format(coin.upper()), base=coin.upper(), quote="USDT",
                multiplier=1000 if spelling.startswith("1000") else 1))
    return catalogue


def _adopt(batch: TradeBatch, guesses: Catalogue, catalogue: Catalogue) -> TradeBatch:
    """Move the trades of guessed symbols to the catalogue, with those instruments only that have trades."""
    numbers = np.zeros(len(guesses), np.int32)
    for number in np.unique(batch.instrument).tolist():
        numbers[number] = catalogue.add_if_new(guesses.venues[number], guesses.instruments[number])
    return replace(batch, instrument=numbers[batch.instrument])
