"""A venue as a plugin describes it: its facts, and the pure functions that make its requests and parse its answers.

Times are int nanoseconds since 1970, UTC. A plugin imports these names from `pumpwatch`.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from pumpwatch.errors import BadFrame
from pumpwatch.model import Columns, Control, IdKind, Instrument, QuantityUnit
from pumpwatch.order_book import OrderBook
from pumpwatch.ticker import Ticker, ticker_reader

MINUTE_NS = 60 * 10**9


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """The limits of a venue, which every feed respects. Their sources belong in the plugin's docstring.

    connection_bytes: counts the bytes that each symbol adds to a request (`,"publicTrade.BTCUSDT"`), or the whole request if
    it takes only one symbol. shared_by_markets: the exchange counts connects and REST requests of all its markets together,
    because one address serves them.
    """

    symbols_per_connection: int
    symbols_per_message: int
    message_bytes: int
    connection_bytes: int  # for all subscriptions of a connection together; 0: no such limit
    messages_per_second: float  # per connection, pings and pongs counted
    subscriptions_per_hour: int  # per connection, symbols added and removed; 0: no such limit
    connects_per_second: float  # per address
    connects_per_5_minutes: int  # per address
    connection_age_s: float  # a connection is renewed before it is this old
    requests_per_minute: float  # REST, in the unit of HttpRequest.weight
    request_window_s: float  # the period in which the venue counts requests: 2 for "20 requests in 2 seconds"
    shared_by_markets: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Heartbeat:
    """The message that a client must send regularly.

    text(now_ns): returns a text frame; None sends a protocol ping. interval_s: 0 if the venue expects no message.
    """

    interval_s: float
    text: Callable[[int], str] | None


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """A GET or POST relative to the venue's rest_url. weight: its cost in the venue's request limit."""

    path: str
    params: Mapping[str, str | int] = field(default_factory=dict)
    method: str = "GET"
    weight: float = 1


class HistoryQuery:
    """A part of a symbol's trade history: its time [start_ns, end_ns), and its ids [first_id, last_id] (-1: unknown)."""

    __slots__ = ("end_ns", "first_id", "last_id", "start_ns", "symbol")

    def __init__(self, symbol: str, start_ns: int, end_ns: int, first_id: int = -1, last_id: int = -1) -> None:
        self.symbol, self.start_ns, self.end_ns = symbol, start_ns, end_ns
        self.first_id, self.last_id = first_id, last_id


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryDepth:
    """The reach and the resolution of a REST history without an API key.

    pages: several requests read a longer part; each asks for the rest of the query after the rows so far. oldest_first: an
    answer holds the oldest rows of its query, and the next query begins later; otherwise it holds the newest rows, and the next
    query ends earlier. by_id: a query with ids is answered by its ids, whatever its time. by_time: False if a query without ids
    only gets the newest rows.
    """

    rows_per_request: int  # 0: the venue has no history
    pages: bool  # False: every query gets the newest rows
    reach_s: float  # 0: limited by the number of rows alone; inf: everything
    resolution_ns: int = 0  # of its times if they are coarser than the stream's: 10**9 for whole seconds
    window_s: float = math.inf  # the longest time that one request may cover
    by_id: bool = False
    by_time: bool = True
    oldest_first: bool = False
    skips_ids: bool = False  # it leaves out rows that use up an id: an id between two of its rows is not a lost trade


@dataclass(frozen=True, slots=True, kw_only=True)
class AggregatedHistory:
    """A deeper history whose rows may join several trades; it is used only if the user allows it.

    parse(body, symbol, columns): a row that joins trades has the first trade's id and Flag.AGGREGATED; void rows after it use up
    the other ids. A row with an id that is already stored would count that trade twice.
    """

    depth: HistoryDepth
    request: Callable[[HistoryQuery], HttpRequest]
    parse: Callable[[bytes, str, Columns], None]


@dataclass(frozen=True, slots=True, kw_only=True)
class Candle:
    """A venue's own figures of one minute of a symbol. trades: -1 if the venue does not count them.

    Raises BadFrame for impossible figures: a start that is not a whole minute, a negative or infinite number, or a high below
    the low.
    """

    start_ns: int
    open: float
    high: float
    low: float
    close: float
    volume: float  # base units, as a trade's quantity
    quote_volume: float  # -1: the venue does not give it
    trades: int = -1

    def __post_init__(self) -> None:
        prices = (self.open, self.high, self.low, self.close)
        good = (self.start_ns >= 0 and self.start_ns % MINUTE_NS == 0 and all(0 <= price < math.inf for price in prices)
                and self.low <= self.high and 0 <= self.volume < math.inf and self.trades >= -1
                and (0 <= self.quote_volume < math.inf or self.quote_volume == -1))
        if not good:
            raise BadFrame(f"not a minute's candle: {self!r}")


def ascending_candles(candles: Iterable[Candle]) -> list[Candle]:
    """Return candles in ascending order. Raises BadFrame if a minute has two candles."""
    found = sorted(candles, key=lambda candle: candle.start_ns)
    if len({candle.start_ns for candle in found}) != len(found):
        raise BadFrame("a minute has two candles")
    return found


@dataclass(frozen=True, slots=True, kw_only=True)
class Candles:
    """A venue's own one-minute candles, which show independently of ids whether all trades of a minute are stored.

    request(symbol, start_ns, end_ns): asks for the minutes that begin in [start_ns, end_ns), at most `rows_per_request` of
    them. They must be over, because venues also return the current minute. parse(body, instrument): returns candles in
    ascending order (`ascending_candles` sorts) with volumes in base units (the instrument has the contract size). It raises
    BadFrame, or another error that parsers may raise, if the body is something else. A minute without trades may be absent. The
    figures may leave out trades outside the market (Flag.outside_market) and other flagged kinds, but only a whole kind.
    tolerance: the ratio by which a volume may differ beyond rounding although every trade is stored; `why` gives the reason.
    """

    request: Callable[[str, int, int], HttpRequest]
    parse: Callable[[bytes, Instrument], list[Candle]]
    rows_per_request: int
    reach_s: float  # how old a minute may be; inf: any
    tolerance: float
    why: str  # the reason for the tolerance, for a person; empty if the tolerance is 0


@dataclass(frozen=True, slots=True, kw_only=True)
class OrderBooks:
    """Snapshots of a venue's order book, by REST and without a key.

    request(symbol): asks for the best `order_book.LEVELS` levels of each side, or for as many as the venue gives. parse(body,
    instrument): returns that order book with quantities in base units. It raises BadFrame, or another error that parsers may
    raise, if the body is something else. `book_reader` makes such a function from facts.
    """

    request: Callable[[str], HttpRequest]
    parse: Callable[[bytes, Instrument], OrderBook]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tickers:
    """A venue's own ticker of a symbol, by REST and without a key.

    request(symbol): asks for that symbol only. parse(body, instrument): returns its ticker with volumes in base units. It raises
    BadFrame, or another error that parsers may raise, if the body is something else. `tickers_at` makes both from facts.
    """

    request: Callable[[str], HttpRequest]
    parse: Callable[[bytes, Instrument], Ticker]


def tickers_at(path: str, symbol_key: str = "symbol", *, weight: float = 1, params: Mapping[str, str | int] | None = None,
               **facts: Any) -> Tickers:
    """Return the Tickers of a GET of this path; `facts` are the arguments of `ticker_reader`.

    The percent-encoded symbol replaces {} in the path; without {} it is sent as the parameter `symbol_key`, beside `params`.
    """
    def request(symbol: str) -> HttpRequest:
        if "{}" in path:
            return HttpRequest(path.replace("{}", quote(symbol, safe="")), dict(params or {}), weight=weight)
        return HttpRequest(path, {**(params or {}), symbol_key: symbol}, weight=weight)

    return Tickers(request=request, parse=ticker_reader(**facts))


@dataclass(frozen=True, slots=True)
class Session:
    """The steps before each connection: a request, and the WebSocket address from its answer.

    url(body, ws_url, connection): returns the address; body is empty without a request. welcome: the client must wait for the
    venue's greeting before it sends anything.
    """

    request: HttpRequest | None
    url: Callable[[bytes, str, str], str]
    welcome: bool


@dataclass(frozen=True, slots=True)
class Volumes:
    """24-hour volumes for venues that publish them separately from their instrument list.

    They are requested with each list; the list is valid without them. parse(body): returns Instrument.volume by symbol, for any
    number of symbols; it raises if the body is something else.
    """

    request: HttpRequest
    parse: Callable[[bytes], Mapping[str, float]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Venue:
    """An exchange's market: its facts and its pure functions. Facts that few venues need have a default."""

    exchange: str
    market_type: str
    ws_url: str
    rest_url: str
    headers: Mapping[str, str]  # sent with the handshake and with REST requests
    limits: Limits
    heartbeat: Heartbeat
    stale_after_s: float  # a connection counts as dead after this silence, if its symbols usually trade
    id_kind: IdKind
    quantity_unit: QuantityUnit
    timestamp_unit_ns: int
    history: HistoryDepth
    subscribe: Callable[[Sequence[str], int], str]  # symbols, request id -> text frame
    unsubscribe: Callable[[Sequence[str], int], str]
    parse: Callable[[bytes | memoryview, Columns], None]  # a JSON array of frames; raises if one is not a trade
    read_control: Callable[[bytes], Control | None]  # one frame; None: unknown
    instruments_requests: Sequence[HttpRequest]
    parse_instruments: Callable[[Sequence[bytes]], list[Instrument]]
    history_request: Callable[[HistoryQuery], HttpRequest]
    parse_history: Callable[[bytes, str, Columns], None]  # body, symbol
    session: Session | None = None  # None: connections need no request beforehand
    answers_by_symbol: bool = False  # one acknowledgement or rejection per symbol, with or without the request's id
    acknowledges: bool = True  # False: trades are the only answer, so a sent request counts as accepted
    replaces: bool = False  # a request names all symbols of its connection and replaces the one before: no unsubscribing
    volumes: Volumes | None = None  # if the list itself does not give the instruments' volumes
    drops: bool = True  # False: no request ends one symbol's trades; `unsubscribe` makes a harmless request with an answer
    next_instruments: Callable[[bytes], HttpRequest | None] | None = None  # the request for the page after this body
    unlisted: Callable[[str], Instrument | None] | None = None  # derives an instrument from a symbol's name alone
    repeats_last: bool = False  # on subscribing, sends a symbol's last trade again, unmarked and however old
    newest_first: bool = False  # within a frame; `parse` keeps that order, the core reverses it
    stamp: Callable[[str, int], str] | None = None  # adds the time of sending (ns) to a subscription request
    aggregated_history: AggregatedHistory | None = None  # deeper than `history`, but with joined trades
    candles: Candles | None = None  # None: the venue has no candles
    books: OrderBooks | None = None  # None: the venue has no order books
    tickers: Tickers | None = None  # None: the venue has no tickers
    variant: str = ""  # another protocol of the same venue, chosen by `exchanges.<name>.<market_type>.variant`

    @property
    def name(self) -> str:
        """Return the venue's name, such as `binance.spot`."""
        return f"{self.exchange}.{self.market_type}"
