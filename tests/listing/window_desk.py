"""Windows on a ledger, a clock, a store and a sink of their own, for tests."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from pathlib import Path

from pumpwatch.catalogue import Catalogue
from pumpwatch.clock import NS_PER_S, Clock, FakeClock
from pumpwatch.hookspecs import ListingEvent, Sink
from pumpwatch.listing.archive_writer import ArchiveThread, ArchiveWriter
from pumpwatch.listing.books import VenueBooks, snapshot_of
from pumpwatch.listing.context import Query, Reach, TradeAccess, WindowContext
from pumpwatch.listing.listing_ledger import ListingLedger
from pumpwatch.listing.publication import Publisher
from pumpwatch.listing.window import WindowKeeper, ignore_archive
from pumpwatch.model import Gap, Listing, TradeBatch
from pumpwatch.order_book import OrderBook
from pumpwatch.stats import Stats
from pumpwatch.store.ledger import Ledger
from tests.listing.market import ANNOUNCED_NS, Shelf, catalogue_of_venues, trades

CATALOGUE = catalogue_of_venues()
MARKET = TradeBatch.concat([trades(0, jump_ms=400), trades(1, jump_ms=250),
                            trades(3, jump_ms=None, from_s=-60, to_s=90)])


class ListingSink(Sink):
    """A sink that keeps listings: (coin, archive, trades). The next writes raise what is in `trouble`."""

    def __init__(self) -> None:
        self.events: list[tuple[str, str, int]] = []
        self.trouble: list[Exception] = []
        self.asked = 0

    def write_listing(self, listing: Listing, event: ListingEvent) -> None:
        self.asked += 1
        if self.trouble:
            raise self.trouble.pop(0)
        self.events.append((listing.symbol, Path(event.archive).name, event.trades))


class Bookkeeper:
    """Has one book of any coin. told: coins that were begun (+) and ended (-); kept: the coins of which it still has books."""

    def __init__(self) -> None:
        self.told: list[str] = []
        self.kept: set[str] = set()

    def begin(self, coin: str) -> None:
        self.told.append(f"+{coin}")

    def end(self, coin: str) -> None:
        self.told.append(f"-{coin}")

    def keep(self, coins: Collection[str]) -> None:
        self.kept = set(coins)

    def recorded(self, coin: str, intervals: Sequence[tuple[int, int]]) -> list[VenueBooks]:
        book = OrderBook(bids=[(0.09, 1.0)], asks=[(0.1, 1e6)])
        return [VenueBooks("alpha", "spot", [snapshot_of(f"{coin}USDT", book, intervals[0][0], intervals[0][0] + 2)])]


class Desk:
    """A window keeper that can be started again. published: the listings that its sink has accepted."""

    def __init__(self, folder: Path) -> None:
        self.paused = False
        self.folder = folder
        self.clock = FakeClock(ANNOUNCED_NS + 3 * NS_PER_S)
        self.shelf = Shelf(MARKET, CATALOGUE)
        self.sweeps: list[bool] = []
        self.doubles: list[str] = []  # coins that were doubled (+) and released (-)
        self.books = Bookkeeper()
        self.sink = ListingSink()
        self.published = self.sink.events
        self.ledger = Ledger(folder)
        self.behind = (0.0, 0.0)
        self.missing: Sequence[str] = []
        self.reaches = [Reach()]
        self.gaps: list[Gap] = []
        self.writer: ArchiveWriter = ArchiveThread()
        self.written = ignore_archive
        self.start()

    def start(self, clock: Clock | None = None, catalogue: Catalogue = CATALOGUE, query: Query | None = None) -> None:
        """Start a keeper on this folder."""
        self.catalogue = catalogue
        clock, stats = clock or self.clock, Stats()
        self.publisher = Publisher({"shelf": self.sink}, clock, stats)
        self.keeper = WindowKeeper(
            WindowContext(ledger=ListingLedger(self.ledger), clock=clock, stats=stats, catalogue=catalogue,
                          archive_dir=self.folder / "archives", reaches=self.reaches, paused=lambda: self.paused),
            TradeAccess(query=query or self.shelf.query, gaps=lambda start_ns, end_ns: self.gaps,
                        behind=lambda coin: self.behind, unlisted=lambda: self.missing, books=self.books),
            hasten=self.sweeps.append, publisher=self.publisher, doubler=self, writer=self.writer,
            on_written=self.written)

    def double(self, coin: str) -> None:
        self.doubles.append(f"+{coin}")

    def release(self, coin: str) -> None:
        self.doubles.append(f"-{coin}")

    def detect(self, listing: Listing) -> None:
        assert self.ledger.remember_listing(listing)
        self.keeper.open(listing)

    def wait(self, seconds: float) -> list[str]:
        """Let time pass and return the names of the archives that are written then."""
        self.clock.advance(seconds)
        return [archive.path.name for archive in self.keeper.tick()]

    def give_lists(self) -> None:
        """Have every instrument list arrive."""
        for number, instrument in enumerate(CATALOGUE.instruments):
            self.catalogue.add(CATALOGUE.venues[number], instrument)
        self.missing = []
