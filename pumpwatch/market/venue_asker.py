"""Request a symbol's ticker, order book or minutes from venues, within their budgets, and reject implausible answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol, TypeVar

from pumpwatch.clock import NS_PER_S, Clock
from pumpwatch.errors import REFUSALS, ServiceUnavailable
from pumpwatch.instruments.lists import fetch_instruments
from pumpwatch.market.candle_columns import CandleColumns
from pumpwatch.market.candle_history import columns_of
from pumpwatch.market.intervals import MINUTE_NS
from pumpwatch.model import Instrument
from pumpwatch.net.texts import one_line
from pumpwatch.ops.candle_check import why_wrong
from pumpwatch.order_book import OrderBook
from pumpwatch.ticker import Ticker
from pumpwatch.venue import Candle, HttpRequest, Venue

STALE_S = 86_400  # a ticker or book that is older by the venue's time is rejected
AHEAD_S = 3600  # and so is one that is further in the future
CANDLE_PAGES = 20  # requests for one question

T = TypeVar("T")
Given_co = TypeVar("Given_co", covariant=True)


class Snapshots(Protocol[Given_co]):
    """The facts of a venue's tickers or order books: the request for a symbol, and how the answer is read."""

    @property
    def request(self) -> Callable[[str], HttpRequest]:
        """Return the function that makes the request."""

    @property
    def parse(self) -> Callable[[bytes, Instrument], Given_co]:
        """Return the function that reads the answer."""


@dataclass(frozen=True, slots=True)
class VenueAccess:
    """A venue, and how it is asked: within its budget; raises ServiceUnavailable."""

    venue: Venue
    ask: Callable[[HttpRequest], bytes]


class VenueAsker:
    """Sends requests to venues, which `venues` finds by name, such as binance.spot. Every method raises ServiceUnavailable.

    listed: the instruments of each venue's list, by symbol. Only these have the scale of prices; an unknown symbol is looked up
    in the venue's list. None: callers pass such instruments.
    """

    def __init__(self, venues: Callable[[str], VenueAccess | None], clock: Clock,
                 listed: Mapping[str, Mapping[str, Instrument]] | None = None) -> None:
        self._venues, self._clock = venues, clock
        self._listed = None if listed is None else {name: dict(known) for name, known in listed.items()}
        self._looked_up: set[str] = set()

    def ticker(self, venue_name: str, instrument: Instrument) -> Ticker:
        """Return a symbol's ticker. A stale one is rejected."""
        access = self._access(venue_name)
        ticker = self._ask("ticker", access, access.venue.tickers, instrument)
        self._refuse_stale(venue_name, "ticker", ticker.at_ns)
        return ticker

    def book(self, venue_name: str, instrument: Instrument) -> OrderBook:
        """Return a symbol's order book. A stale, crossed or empty book is rejected."""
        access = self._access(venue_name)
        book = self._ask("order book", access, access.venue.books, instrument)
        self._refuse_stale(venue_name, "order book", book.at_ns)
        if not book.bids and not book.asks:
            raise ServiceUnavailable(f"{venue_name}: an order book without a level")
        if book.bids and book.asks and book.bids[0][0] >= book.asks[0][0]:
            raise ServiceUnavailable(f"{venue_name}: a crossed order book: bid {book.bids[0][0]:g}, ask {book.asks[0][0]:g}")
        return book

    def _ask(self, what: str, access: VenueAccess, facts: Snapshots[T] | None, instrument: Instrument) -> T:
        """Return what a venue answers about a symbol now."""
        name = access.venue.name
        if facts is None:
            raise ServiceUnavailable(f"{name}: its plugin has no {what}s")
        instrument = self._as_listed(name, access, instrument)
        return _read(name, what, lambda: facts.parse(access.ask(facts.request(instrument.symbol)), instrument))

    def minutes(self, venue_name: str, instrument: Instrument, from_ns: int, to_ns: int) -> CandleColumns:
        """Return the venue's one-minute candles that began in [from_ns, to_ns) and are over; every `series` is 0.

        The newest ones, where they are more than so many requests give.
        """
        access = self._access(venue_name)
        candles = access.venue.candles
        if candles is None:
            raise ServiceUnavailable(f"{venue_name}: its plugin has no candles")
        instrument, now_ns = self._as_listed(venue_name, access, instrument), self._clock.now_ns()
        to_ns = min(to_ns, now_ns // MINUTE_NS * MINUTE_NS)
        step = candles.rows_per_request * MINUTE_NS
        from_ns = max(from_ns, to_ns - CANDLE_PAGES * step,
                      now_ns - int(min(candles.reach_s, 1e9) * NS_PER_S) + MINUTE_NS)
        from_ns = -(-from_ns // MINUTE_NS) * MINUTE_NS
        found: list[Candle] = []
        for start_ns in range(from_ns, to_ns, step):
            request = candles.request(instrument.symbol, start_ns, min(start_ns + step, to_ns))
            page = _read(venue_name, "list of candles", lambda request=request: candles.parse(  # type: ignore[misc]
                access.ask(request), instrument))
            _refuse_wrong(venue_name, page, now_ns)
            found += [candle for candle in page if start_ns <= candle.start_ns < min(start_ns + step, to_ns)]
        return columns_of([candle for candle in found if candle.volume > 0])  # an interval without a trade has no candle

    def _as_listed(self, venue_name: str, access: VenueAccess, instrument: Instrument) -> Instrument:
        """Return the instrument as the venue lists it, after a look at its list where that is not known."""
        if self._listed is None:
            return instrument
        known = self._listed.setdefault(venue_name, {})
        if instrument.symbol not in known and venue_name not in self._looked_up:
            known.update((listed.symbol, listed) for listed in fetch_instruments(access.venue, access.ask))
            self._looked_up.add(venue_name)
        if instrument.symbol not in known:
            raise ServiceUnavailable(f"{venue_name}: {instrument.symbol!r:.80} is not listed there")
        return known[instrument.symbol]

    def _access(self, venue_name: str) -> VenueAccess:
        access = self._venues(venue_name)
        if access is None:
            raise ServiceUnavailable(f"{venue_name}: not a venue of the config")
        return access

    def _refuse_stale(self, venue_name: str, what: str, at_ns: int) -> None:
        """Raise ServiceUnavailable for a time that is not of today; 0 is not known."""
        age_s = (self._clock.now_ns() - at_ns) / NS_PER_S
        if at_ns and not -AHEAD_S <= age_s <= STALE_S:
            when = f"{age_s / 3600:.0f} hours old" if age_s > 0 else "of the future"
            raise ServiceUnavailable(f"{venue_name}: the {what} is {when}")


def _read(venue_name: str, what: str, body: Callable[[], T]) -> T:
    """Return what a venue's answer says. Raises ServiceUnavailable for one that is something else."""
    try:
        return body()
    except REFUSALS as error:
        raise ServiceUnavailable(f"{venue_name}: not {_a(what)}: {one_line(str(error), 150)}") from error


def _refuse_wrong(venue_name: str, candles: Sequence[Candle], now_ns: int) -> None:
    """Raise ServiceUnavailable for candles out of order, of the future, or whose prices contradict each other."""
    before_ns = -1
    for candle in candles:
        wrong = why_wrong(candle, before_ns, now_ns)
        if wrong:
            raise ServiceUnavailable(f"{venue_name}: {wrong}")
        before_ns = candle.start_ns


def _a(noun: str) -> str:
    return f"{'an' if noun[0] in 'aeio' else 'a'} {noun}"
