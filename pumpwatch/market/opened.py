"""Open the market data of a config: beside a running collector or without one, only reading its data folder."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from types import TracebackType

from pumpwatch.catalogue import Catalogue
from pumpwatch.clock import NS_PER_S, Clock
from pumpwatch.config import Config
from pumpwatch.errors import PumpWatchError, StorageError
from pumpwatch.feeds.rate_limits import VenueRateLimits
from pumpwatch.instruments.symbols_file import SymbolsFile
from pumpwatch.market.disk_cache import BOOK_S, TICKER_S, DiskCache, disk_caches
from pumpwatch.market.interfaces import CandleStore
from pumpwatch.market.market_file import FILE_NAME
from pumpwatch.market.minute_verdicts import MinuteEvidence, evidence
from pumpwatch.market.service import DiskTiers, MarketService
from pumpwatch.market.trade_source import JournalTrades
from pumpwatch.market.venue_asker import VenueAccess, VenueAsker
from pumpwatch.model import Instrument
from pumpwatch.net.http import Http
from pumpwatch.net.ws import tls_context
from pumpwatch.ops import health
from pumpwatch.ops.completeness import SETTLE_S
from pumpwatch.ops.status_file import Unreadable, read_figures
from pumpwatch.plugins import Plugins, load_plugins
from pumpwatch.redis.connection import connection_of
from pumpwatch.redis.market_tiers import shared_market
from pumpwatch.venue import HttpRequest, Venue

CONNECT_S = 1.0  # a Redis that hangs is not waited for any longer


class OpenMarket(MarketService):
    """The market data of a config, as a context manager. Its methods are those of MarketService."""

    def __init__(self, config: Config, plugins: Plugins | None = None) -> None:
        plugins, clock, folder = plugins or load_plugins(config), Clock(), Path(config.store.dir)
        trades = JournalTrades(folder)
        listed = _listed(config, plugins)
        _add(trades.catalogue, listed)
        self._store, problem = opened_store(folder)
        most_bytes = int(config.market.cache_mb * 1e6)
        self._disk = ([DiskCache(path, most_bytes, ttl_s, clock, kind) for path, ttl_s, kind in disk_caches(folder)]
                      if folder.is_dir() and most_bytes else [])
        self._redis = connection_of(config.redis)
        if self._redis is not None:
            self._redis.connect(CONNECT_S)
        super().__init__(trades, self._store, _asker(config, plugins, clock, listed), clock, DiskTiers(*self._disk),
                         shared=shared_market(self._redis, TICKER_S, BOOK_S, clock),
                         records=partial(_records, folder, clock), store_problem=problem)

    def __enter__(self) -> OpenMarket:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the files and connections."""
        if self._redis is not None:
            self._redis.close()
        for cache in self._disk:
            cache.close()
        if self._store is not None:
            self._store.close()


def opened_store(folder: Path) -> tuple[CandleStore | None, str]:
    """Return the store of candles, read-only; None without a usable one, and why it cannot be used.

    Answers are then made of the trades that are kept. Raises NewerError, a ConfigError, for the file of a newer version.
    """
    if not (folder / FILE_NAME).exists():
        return None, ""
    from pumpwatch.market.sqlite_store import SqliteCandleStore

    try:
        return SqliteCandleStore(folder / FILE_NAME, read_only=True), ""
    except StorageError as error:
        return None, ": ".join(filter(None, (error.message, error.hint)))


def _records(folder: Path, clock: Clock, start_ns: int, end_ns: int) -> MinuteEvidence:
    """Return the records of a data folder; after the end of its collector nothing was recorded. Raises StorageError."""
    return replace(evidence(folder, start_ns, end_ns), until_ns=recorded_until_ns(folder, clock))


def recorded_until_ns(folder: Path, clock: Clock) -> int:
    """Return the time of the last collector's end (ns), by its status; 2**62 if a collector runs, or if there is no status.

    A killed collector may not have noticed a dead connection, so its last minutes do not count.
    """
    try:
        health.read(folder, clock)
        return 2**62
    except PumpWatchError:
        try:
            status = read_figures(folder)
        except Unreadable:
            return 2**62
    return int(status.get("written_at_ns", 0)) - (int(SETTLE_S * NS_PER_S) if status.get("pid") else 0)


def _listed(config: Config, plugins: Plugins) -> dict[str, dict[str, Instrument]]:
    """Return the instruments of each venue by symbol, as the symbols file has them; none where it cannot be read."""
    file = SymbolsFile(config.symbols_file, writes=False)
    try:
        found = {venue.name: file.known(venue.name) for venue, _ in plugins.chosen(config)}
    except PumpWatchError:
        return {}
    return {name: {instrument.symbol: instrument for instrument in known.instruments}
            for name, known in found.items() if known is not None}


def _add(catalogue: Catalogue, listed: dict[str, dict[str, Instrument]]) -> None:
    """Add listed instruments, so that coins are known of which no trade is stored yet."""
    for name, known in listed.items():
        exchange, _, market_type = name.partition(".")
        for instrument in known.values():
            catalogue.add_if_new((exchange, market_type), instrument)


def _asker(config: Config, plugins: Plugins, clock: Clock, listed: dict[str, dict[str, Instrument]]) -> VenueAsker:
    context, paces = tls_context(config.net.ca_file), VenueRateLimits(clock)
    http = Http(context, config.net.connect_timeout_s, config.net.proxy)

    def access(venue: Venue, rest_url: str) -> VenueAccess:
        budget = paces.requests(venue)

        def ask(request: HttpRequest) -> bytes:
            return http.ask(rest_url, request, venue.headers, budget)

        return VenueAccess(venue, ask)

    return VenueAsker({venue.name: access(venue, options.rest_url or venue.rest_url)
                       for venue, options in plugins.chosen(config)}.get, clock, listed)
