"""Verify a time of a data folder: judge its minutes, and compare them with sinks and candles on request."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from pumpwatch.catalogue import Catalogue
from pumpwatch.clock import NS_PER_S, Clock
from pumpwatch.config import Config
from pumpwatch.errors import ServiceUnavailable, StorageError, UsageError
from pumpwatch.hookspecs import Sink
from pumpwatch.instruments.symbols_file import SymbolsFile
from pumpwatch.model import Instrument
from pumpwatch.net.http import Http
from pumpwatch.net.ratelimit import TokenBucket
from pumpwatch.net.ws import tls_context
from pumpwatch.ops import candle_run, health
from pumpwatch.ops.candle_check import CandleSum
from pumpwatch.ops.completeness import SETTLE_S, Day, Judge, Summary, VenueFacts, judged_until_ns
from pumpwatch.ops.sink_minutes import SinkMinutes, SinkSum
from pumpwatch.ops.status_file import Unreadable, read_figures
from pumpwatch.ops.stored_minutes import Store
from pumpwatch.ops.verify import acknowledged_by
from pumpwatch.plugins import Plugins
from pumpwatch.store.ledger import is_missing
from pumpwatch.store.minutes import MINUTE_NS
from pumpwatch.venue import HttpRequest, Venue

ALL_DAYS = 31  # with candles every day is kept in memory
Show = Callable[[str, int, int], None]  # the name of the work, done, total


@dataclass(frozen=True, slots=True)
class Selection:
    """The symbols to verify; by default all."""

    exchange: str | None = None
    market: str | None = None
    symbols: frozenset[str] = frozenset()
    coins: tuple[str, ...] = ()

    @property
    def names_symbols(self) -> bool:
        """Return whether symbols or coins are chosen."""
        return bool(self.symbols or self.coins)

    def takes_venue(self, exchange: str, market_type: str) -> bool:
        """Return whether a venue is chosen."""
        return self.exchange in (None, exchange) and self.market in (None, market_type)

    def chosen(self, catalogue: Catalogue) -> Callable[[str, str, str], bool]:
        """Return a function that returns whether a symbol is chosen; coins are looked up in the catalogue."""
        names = {name for coin in self.coins for name in catalogue.names(catalogue.matching(coin))}

        def takes(exchange: str, market_type: str, symbol: str) -> bool:
            if not self.takes_venue(exchange, market_type):
                return False
            return not self.names_symbols or symbol in self.symbols or (exchange, market_type, symbol) in names
        return takes


@dataclass(frozen=True, slots=True)
class Wanted:
    """The time to verify and the evidence. candles: how many symbols of each venue to compare; 0 for all, None for none."""

    start_ns: int
    end_ns: int
    selection: Selection = field(default_factory=Selection)
    quick: bool = False
    candles: int | None = None


@dataclass(slots=True)
class Verified:
    """The result. Times in ns, whole minutes. days: kept only if symbols are chosen, or for candles."""

    start_ns: int
    end_ns: int
    summary: Summary
    sinks: list[SinkSum] = field(default_factory=list)
    candles: list[CandleSum] = field(default_factory=list)
    days: list[Day] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)

    @property
    def contradicted(self) -> bool:
        """Return whether something contradicts the ledger, or could not be compared."""
        return bool(self.summary.flaws or self.unreadable or any(sink.flaws or sink.problem for sink in self.sinks)
                    or any(found.flaws or found.refused or found.problems for found in self.candles))


def facts_of(config: Config, plugins: Plugins) -> dict[tuple[str, str], VenueFacts]:
    """Return the facts of every venue that a plugin offers; of configured venues those of their variant."""
    venues = [*plugins.venues, *(venue for venue, _ in plugins.chosen(config))]
    return {(venue.exchange, venue.market_type): VenueFacts(venue.id_kind, venue.history.skips_ids) for venue in venues}


def verify(config: Config, plugins: Plugins, wanted: Wanted, sinks: Mapping[str, Sink], show: Show) -> Verified:
    """Verify a time. Raises ServiceUnavailable if nothing is stored, UsageError for a time that cannot be judged."""
    folder, clock = Path(config.store.dir), Clock()
    if is_missing(folder):
        raise ServiceUnavailable(f"nothing is stored in {folder}", "name the collector's config with -c")
    judge = Judge(folder, facts_of(config, plugins))
    if sinks:
        judge = Judge(folder, facts_of(config, plugins), marks=dict.fromkeys(sinks, 0) | {
            name: mark for name, mark in acknowledged_by(judge.store.segments).items() if name in sinks})
    known = known_instruments(config, plugins, judge.store.catalogue)
    end_ns = min(wanted.end_ns, clock.now_ns())
    if _runs(folder):
        end_ns = min(end_ns, judged_until_ns(clock.now_ns()))
    else:
        judge.ended_ns = judge.store.last_received_ns - (0 if _ended_in_order(folder) else int(SETTLE_S * NS_PER_S))
    found = Verified(-(-wanted.start_ns // MINUTE_NS) * MINUTE_NS, end_ns // MINUTE_NS * MINUTE_NS, Summary(judge.facts))
    if found.start_ns >= found.end_ns:
        raise UsageError("this time does not hold a whole minute to judge",
                         "a minute is judged two minutes after its end; give an earlier --from or a longer --since")
    keeps = wanted.candles is not None or wanted.selection.names_symbols
    if keeps and found.end_ns - found.start_ns > ALL_DAYS * 1440 * MINUTE_NS:
        raise UsageError(f"more than {ALL_DAYS} days are too many for --against, --symbol and --coin", "give a shorter time")
    takes = wanted.selection.chosen(judge.store.catalogue)
    checks = [SinkMinutes(name, sink, judge.store, takes) for name, sink in sinks.items()]
    for day in judge.days(found.start_ns, found.end_ns, takes, wanted.quick, lambda done, total: show("journal", done, total)):
        found.summary.add(day)
        for check in checks:
            check.add(day, lambda done, total: show("sinks", done, total))
        if keeps:
            found.days.append(day)
    found.sinks, found.unreadable = [check.found for check in checks], list(dict.fromkeys(judge.store.unreadable))
    if wanted.candles is not None:
        found.candles = _compare_candles(config, plugins, wanted, found.days, judge.store, known, clock, show)
    return found


def known_instruments(config: Config, plugins: Plugins, catalogue: Catalogue) -> dict[tuple[str, str, str], Instrument]:
    """Return the instruments of the symbols file, and add them to the catalogue; empty if the file is invalid."""
    known: dict[tuple[str, str, str], Instrument] = {}
    file = SymbolsFile(config.symbols_file, writes=False)
    for venue in plugins.venues:
        try:
            listed = file.known(venue.name)
        except StorageError:
            return {}
        for instrument in listed.instruments if listed else ():
            known[venue.exchange, venue.market_type, instrument.symbol] = instrument
            catalogue.add_if_new((venue.exchange, venue.market_type), instrument)
    return known


def _compare_candles(config: Config, plugins: Plugins, wanted: Wanted, days: list[Day], store: Store,
                     known: Mapping[tuple[str, str, str], Instrument], clock: Clock, show: Show) -> list[CandleSum]:
    parts = {venue.name: (venue, part) for venue, part in plugins.chosen(config)
             if wanted.selection.takes_venue(venue.exchange, venue.market_type)}
    http = Http(tls_context(config.net.ca_file), config.net.connect_timeout_s, config.net.proxy)

    def ask(venue: Venue, request: HttpRequest, budget: TokenBucket) -> bytes:
        return http.ask(parts[venue.name][1].rest_url or venue.rest_url, request, venue.headers, budget)

    plans = candle_run.plan([venue for venue, _ in parts.values()], days, wanted.candles or 0)
    return candle_run.compare(plans, days, store, ask, clock, known, lambda done, total: show("candles", done, total))


def _ended_in_order(folder: Path) -> bool:
    """Return whether the last collector ended in order, so that its gaps are recorded; a killed one may have missed some."""
    try:
        return not read_figures(folder)["pid"]
    except Unreadable:
        return False


def _runs(folder: Path) -> bool:
    """Return whether a collector writes to this folder now."""
    try:
        health.read(folder)
    except ServiceUnavailable:
        return False
    return True

