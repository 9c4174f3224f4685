"""Record the order books of a coin while its window or a longer one is open: a snapshot of each instrument every INTERVAL_S.

Every venue that lists the coin is asked. There is a greenlet for each venue and coin, so a venue that hangs delays no other.
Requests use the budget of instrument lists and history; books may use SHARE of it. All venues together get at most
REQUESTS_PER_S requests per second, since a request takes 1.7 ms of the hub's time. A snapshot that would be too late is skipped
and counted. The manifest has the reasons for missing snapshots; a venue's first one is logged.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol

import gevent

from pumpwatch.catalogue import Catalogue
from pumpwatch.clock import Clock
from pumpwatch.errors import REFUSALS, PumpWatchError
from pumpwatch.listing.books import INTERVAL_S, Misses, Snapshot, VenueBooks, snapshot_of
from pumpwatch.model import Instrument
from pumpwatch.net.ratelimit import TokenBucket
from pumpwatch.net.texts import one_line
from pumpwatch.printable import printable
from pumpwatch.stats import Stats
from pumpwatch.venue import HttpRequest, OrderBooks, Venue

log = logging.getLogger(__name__)

SHARE = 0.5  # of a venue's budget
REQUESTS_PER_S = 24.0  # four windows on twelve venues at the full rate
ANSWER_S = 5.0  # a later answer is not used
MEMORY_BYTES = 64 * 1024 * 1024  # of all snapshots together
LOOK_S = 0.25  # the longest sleep before checking whether the window is still open

NO_BOOK = "its plugin has no order book"
NO_BUDGET = "the venue's request budget was used up"
NO_TURN = "too many windows were open at once"
NO_MEMORY = "the memory for order books was full"
NO_ANSWER = f"no answer within {ANSWER_S:g} s"

Interval = tuple[int, int]


class Books(Protocol):
    """Records order books for windows."""

    def begin(self, coin: str) -> None:
        """Record this coin from now on."""

    def end(self, coin: str) -> None:
        """Stop recording this coin, and keep its books."""

    def keep(self, coins: Collection[str]) -> None:
        """Forget the books of all other coins."""

    def recorded(self, coin: str, intervals: Sequence[Interval]) -> list[VenueBooks]:
        """Return the recorded books of a coin in these [from, to) in ns, an entry for each venue that lists it."""


class NoBooks:
    """Records nothing."""

    def begin(self, coin: str) -> None:
        """Ignore it."""

    def end(self, coin: str) -> None:
        """Ignore it."""

    def keep(self, coins: Collection[str]) -> None:
        """Ignore it."""

    def recorded(self, coin: str, intervals: Sequence[Interval]) -> list[VenueBooks]:
        """Return an empty list."""
        return []


@dataclass(frozen=True, slots=True)
class BookAccess:
    """A venue and its request budget. ask: sends a request within the budget; raises ServiceUnavailable."""

    venue: Venue
    budget: TokenBucket
    ask: Callable[[HttpRequest], bytes]


@dataclass(slots=True)
class _Recorded:
    """The recorded order books of a coin on one venue."""

    exchange: str
    market_type: str
    snapshots: list[Snapshot] = field(default_factory=list)
    misses: Misses = field(default_factory=Misses)

    def within(self, intervals: Sequence[Interval]) -> VenueBooks:
        """Return the books that were requested in these [from, to) in ns."""
        return VenueBooks(self.exchange, self.market_type,
                          [snapshot for start, end in intervals for snapshot in self.snapshots
                           if start <= snapshot.asked_at_ns < end], self.misses.within(intervals))


class BookRecorder:
    """Records the books of coins. spawn(name, body): runs a body in a greenlet.

    memory_bytes: limit for all snapshots together. interval_s: between two snapshots of an instrument.
    """

    def __init__(self, venues: Sequence[BookAccess], catalogue: Catalogue, clock: Clock, stats: Stats,
                 spawn: Callable[[str, Callable[[], None]], None], memory_bytes: int = MEMORY_BYTES,
                 interval_s: float = INTERVAL_S) -> None:
        self._catalogue, self._clock, self._stats, self._spawn = catalogue, clock, stats, spawn
        self._memory_bytes, self._used_bytes = memory_bytes, 0
        self._interval_s, self._pace = interval_s, TokenBucket(REQUESTS_PER_S, REQUESTS_PER_S, clock)
        rates = {id(access.budget): SHARE * access.budget.rate for access in venues}
        shares = {budget: TokenBucket(rate, max(1.0, rate * INTERVAL_S), clock) for budget, rate in rates.items()}
        self._venues = [(access, shares[id(access.budget)]) for access in venues]
        self._coins: dict[str, dict[str, _Recorded]] = {}  # by coin and venue name
        self._runs: dict[str, object] = {}  # coins recorded now, each with a token of its run

    def begin(self, coin: str) -> None:
        """Record this coin from now on, on every venue that lists it now or later."""
        if coin in self._runs:
            return
        token = self._runs[coin] = object()
        known = self._coins.setdefault(coin, {})
        for access, share in self._venues:
            books = known.setdefault(access.venue.name, _Recorded(access.venue.exchange, access.venue.market_type))
            self._spawn(f"books {access.venue.name} {coin}", partial(self._run, coin, token, access, share, books))

    def end(self, coin: str) -> None:
        """Stop recording this coin, and keep its books. An answer in transit is still recorded."""
        self._runs.pop(coin, None)

    def stop(self) -> None:
        """Stop recording all coins."""
        self._runs.clear()

    def keep(self, coins: Collection[str]) -> None:
        """Forget the books of all other coins."""
        for coin in [coin for coin in self._coins if coin not in coins and coin not in self._runs]:
            for books in self._coins.pop(coin).values():
                self._used_bytes -= sum(snapshot.bytes for snapshot in books.snapshots)

    def recorded(self, coin: str, intervals: Sequence[Interval]) -> list[VenueBooks]:
        """Return copies of a coin's books in these [from, to) in ns, an entry for each venue that lists it."""
        listing = {self._catalogue.venues[number] for number in self._catalogue.matching(coin)}
        return [books.within(intervals) for books in self._coins.get(coin, {}).values()
                if (books.exchange, books.market_type) in listing]

    def _run(self, coin: str, token: object, access: BookAccess, share: TokenBucket, books: _Recorded) -> None:
        """Take snapshots until the run ends, the first at once. A missed snapshot is not made up for."""
        due_s = self._clock.monotonic()
        while self._runs.get(coin) is token:
            instruments = self._instruments(coin, access.venue)
            if instruments and access.venue.books is None:
                self._missing(coin, books, self._clock.now_ns(), NO_BOOK)
                return
            for instrument in instruments:
                self._take(coin, token, access, share, books, instrument, due_s + self._interval_s)
            due_s = max(due_s + self._interval_s, self._clock.monotonic())
            while self._runs.get(coin) is token and (wait_s := due_s - self._clock.monotonic()) > 0:
                gevent.sleep(min(wait_s, LOOK_S))

    def _instruments(self, coin: str, venue: Venue) -> list[Instrument]:
        catalogue, key = self._catalogue, (venue.exchange, venue.market_type)
        return [catalogue.instruments[number] for number in catalogue.matching(coin) if catalogue.venues[number] == key]

    def _take(self, coin: str, token: object, access: BookAccess, share: TokenBucket, books: _Recorded, instrument: Instrument,
              until_s: float) -> None:
        """Take one snapshot of an instrument, or count it as missing."""
        facts = access.venue.books
        assert facts is not None
        due_ns = self._clock.now_ns()
        try:
            request = facts.request(instrument.symbol)
        except REFUSALS as error:
            self._missing(coin, books, due_ns, f"the request cannot be made: {one_line(str(error), 200)}")
            return
        while True:
            budget_s, pace_s = max(share.wait_s(request.weight), access.budget.wait_s(request.weight)), self._pace.wait_s()
            if max(budget_s, pace_s) <= 0:
                break
            left_s = until_s - self._clock.monotonic()
            if left_s <= 0 or self._runs.get(coin) is not token:
                self._missing(coin, books, due_ns, NO_BUDGET if budget_s > 0 else NO_TURN)
                return
            gevent.sleep(min(max(budget_s, pace_s), left_s, LOOK_S))
        share.reserve(request.weight)
        self._pace.reserve()
        self._ask(coin, access, facts, books, instrument, request)

    def _ask(self, coin: str, access: BookAccess, facts: OrderBooks, books: _Recorded, instrument: Instrument,
             request: HttpRequest) -> None:
        asked_ns = self._clock.now_ns()
        try:
            with gevent.Timeout(ANSWER_S) as patience:
                body = access.ask(request)
        except gevent.Timeout as timeout:
            if timeout is not patience:
                raise
            self._missing(coin, books, asked_ns, NO_ANSWER)
            return
        except PumpWatchError as error:
            self._missing(coin, books, asked_ns, one_line(error.message, 200))
            return
        received_ns = self._clock.now_ns()
        try:
            snapshot = snapshot_of(instrument.symbol, facts.parse(body, instrument), asked_ns, received_ns)
        except REFUSALS as error:
            self._missing(coin, books, asked_ns, f"the answer cannot be read: {one_line(str(error), 160)}")
            return
        if self._coins.get(coin, {}).get(access.venue.name) is not books:
            return  # the coin was forgotten meanwhile
        if self._used_bytes + snapshot.bytes > self._memory_bytes:
            self._missing(coin, books, asked_ns, NO_MEMORY)
            return
        self._used_bytes += snapshot.bytes
        books.snapshots.append(snapshot)
        self._stats.add("order_books_total", venue=access.venue.name)

    def _missing(self, coin: str, books: _Recorded, from_ns: int, reason: str) -> None:
        now_ns = max(from_ns + 1, self._clock.now_ns())
        first = not books.misses
        books.misses.add(from_ns, now_ns, reason)
        self._stats.add("order_books_missing_total", venue=f"{books.exchange}.{books.market_type}")
        if first and reason != NO_BOOK:
            log.warning("order book missing coin=%s venue=%s.%s reason=%s", coin, books.exchange, books.market_type,
                        printable(reason))
