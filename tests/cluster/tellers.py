"""Members that tell each other about listings: real news on a real Redis, a ledger each, and a list in place of windows."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import gevent

from pumpwatch.clock import Clock
from pumpwatch.cluster.listing_news import ListingNews
from pumpwatch.cluster.news import PartNews
from pumpwatch.cluster.remote_sights import RemoteSights
from pumpwatch.cluster.sharing_ledger import SharingLedger
from pumpwatch.listing.context import IntakeContext
from pumpwatch.listing.listing_ledger import ListingLedger
from pumpwatch.model import Listing
from pumpwatch.redis.connection import RedisConnection
from pumpwatch.stats import Stats
from pumpwatch.store.ledger import Ledger
from tests.redis.waiting import connected

CLUSTER = "tests"


class Teller:
    """One member. opened: the listings whose window it opened, and when; the others are what it heard."""

    def __init__(self, name: str, folder: Path, redis: RedisConnection) -> None:
        self.name, self.redis = name, redis
        self.ledger = Ledger(folder / name)
        self.clock, self.stats = Clock(), Stats()
        self.opened: list[tuple[Listing, float]] = []
        self.earlier: list[Listing] = []
        self.parts: list[tuple[str, PartNews]] = []
        self.told: list[str] = []
        self.remote = RemoteSights(self._context_of, self.earlier.append, lambda member, news: self.parts.append((member, news)),
                                   self.told.append)
        self.news = ListingNews(redis, "tests", CLUSTER, name, self.clock, self.stats, self.remote.add)
        self.sharing = SharingLedger(self.ledger, name, self.news.publish)
        self.greenlets = [gevent.spawn(self.remote.run), gevent.spawn(self.news.run)]

    def context(self) -> IntakeContext:
        """Return the context of this member's own sources."""
        return IntakeContext(ledger=self.sharing, clock=self.clock, stats=self.stats, on_listing=self._open_own)

    def _context_of(self, member: str) -> IntakeContext:
        return IntakeContext(ledger=ListingLedger(self.ledger, member=member), clock=self.clock, stats=self.stats,
                             on_listing=self._open)

    def _open(self, listing: Listing) -> None:
        self.opened.append((listing, time.monotonic()))

    def _open_own(self, listing: Listing) -> None:
        self.sharing.publish_listing(listing)
        self._open(listing)

    def coins(self) -> list[str]:
        """Return the coins of the windows that were opened."""
        return [listing.symbol for listing, _ in self.opened]

    def end(self) -> None:
        self.news.stop()
        self.remote.stop()
        gevent.joinall(self.greenlets, timeout=5)
        gevent.killall(self.greenlets)
        self.ledger.close()
        self.redis.close()


@contextmanager
def tellers(folder: Path, nodes: list[str], *names: str) -> Iterator[list[Teller]]:
    """Run some members."""
    members = [Teller(name, folder, connected(nodes)) for name in names]
    try:
        yield members
    finally:
        for member in members:
            member.end()
