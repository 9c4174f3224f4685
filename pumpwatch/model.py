"""The nouns of PumpWatch: venue, instrument, trade batch, gap, listing.

Times are int nanoseconds since 1970, UTC. Quantities are in base units. Sides are the taker's.
"""

from __future__ import annotations

import enum
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

SPOT = "spot"
FUTURES = "futures"
BUY, SELL = 0, 1
SIDES = ("buy", "sell")
NO_SEQUENCE = -(2**63)  # also what QuestDB stores for "no value" in a LONG


class Flag(enum.IntFlag):
    """What sets a trade apart from an ordinary one."""

    BLOCK = 1
    RPI = 2
    INSURANCE_FUND = 4
    ADL = 8
    INTERNAL = 16
    AGGREGATED = 32

    @classmethod
    def takeovers(cls) -> int:
        """Return the bits of rows that a venue sends and its own trade history leaves out: kept, but no market trade."""
        return cls.INSURANCE_FUND | cls.ADL


class IdKind(enum.StrEnum):
    """What a venue's trade ids promise, per symbol."""

    CONTIGUOUS = "contiguous"  # +1 a trade: a jump is a lost trade
    MONOTONIC = "monotonic"  # ascend, but skip: they order, and prove nothing
    UNIQUE = "unique"  # neither ascend nor repeat: UUIDs
    NONE = "none"  # the venue sends none: the parser gives what tells a trade from others, the core numbers the equal ones


class QuantityUnit(enum.StrEnum):
    """What a venue's quantities count."""

    BASE = "base"
    CONTRACTS = "contracts"  # times the instrument's contract size


@dataclass(frozen=True, slots=True, kw_only=True)
class Instrument:
    """One tradable symbol, in the venue's own spelling.

    volume: what was traded of it in the last 24 hours, in units of the quote (USDT), both sides of a trade counted once, as
    the venue itself reports it when the list is asked for. 0 means that nothing is known as well as that nothing traded. It
    balances connections and says how much to expect; it is no account of trades.
    """

    symbol: str
    base: str
    quote: str
    multiplier: int = 1  # 1000 for 1000PEPE: stays here, never applied to a quantity
    contract_size: float = 1.0  # base units a contract
    price_divisor: float = 1.0  # raw price / this = price, for scaled integers
    status: str = "trading"
    volume: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Limits:
    """What a venue allows; every feed keeps all of it. Sources belong in the plugin's docstring.

    connection_bytes counts what each symbol adds to a request that names others too (`,"publicTrade.BTCUSDT"`), and a whole
    request where it takes one symbol. shared_by_markets: connects and REST requests are counted for an exchange's markets
    together, as one address reaches both.
    """

    symbols_per_connection: int
    symbols_per_message: int
    message_bytes: int
    connection_bytes: int  # of all subscriptions of a connection together; 0: no such limit
    messages_per_second: float  # per connection, pings and pongs counted
    subscriptions_per_hour: int  # per connection, symbols added and dropped; 0: no such limit
    connects_per_second: float  # per address
    connects_per_5_minutes: int  # per address
    connection_age_s: float  # a connection is renewed before it is this old
    requests_per_minute: float  # REST, in the weight the requests below carry
    request_window_s: float  # in which the venue counts them: 2 for "20 requests in 2 seconds"
    shared_by_markets: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Heartbeat:
    """What we must send unasked. `text` is a text frame; None sends a protocol ping; interval 0 is never."""

    interval_s: float
    text: Callable[[int], str] | None


@dataclass(frozen=True, slots=True, kw_only=True)
class HistoryDepth:
    """How far back keyless REST history reaches, and how fine it is."""

    rows_per_request: int
    pages: bool  # False: only the newest rows, whatever is asked
    reach_s: float  # 0: bounded by rows alone; inf: all of it
    resolution_ns: int = 0  # of its times where they are coarser than the stream's: 10**9 for whole seconds
    window_s: float = math.inf  # the longest range of time that one request may ask for


@dataclass(frozen=True, slots=True)
class HttpRequest:
    """A GET (or POST) relative to the venue's rest_url, with its cost in the venue's own weight."""

    path: str
    params: Mapping[str, str | int] = field(default_factory=dict)
    method: str = "GET"
    weight: float = 1


@dataclass(frozen=True, slots=True)
class Session:
    """What a venue wants before each connection: a request, and the address that its answer leads to.

    url(body, ws_url, connection) makes the address. welcome: nothing may be sent before the venue's own greeting.
    """

    request: HttpRequest | None
    url: Callable[[bytes, str, str], str]
    welcome: bool


@dataclass(frozen=True, slots=True)
class Volumes:
    """Where a venue says what traded lately, when its instrument list does not. Asked for with each list, which holds without.

    parse(body) returns Instrument.volume by symbol, of as many symbols as it likes; it raises if the body is no such answer.
    """

    request: HttpRequest
    parse: Callable[[bytes], Mapping[str, float]]


class ControlKind(enum.StrEnum):
    """What a frame that is no trade can be."""

    ACK = "ack"
    REFUSAL = "refusal"
    FULL = "full"  # a refusal that is about the connection: it holds no more symbols, and another one may take these
    PONG = "pong"
    WELCOME = "welcome"
    RECONNECT = "reconnect"  # the venue asks us to open a new connection now
    OTHER = "other"  # known, and of no interest: another channel's data


@dataclass(frozen=True, slots=True)
class Control:
    """A frame that is no trade, understood."""

    kind: ControlKind
    request_id: int | None = None
    symbols: tuple[str, ...] = ()  # the ones granted or refused, where the venue names them; empty: all of the request
    reason: str = ""


class Columns:
    """What `parse` appends to: one list a column, one entry a trade, in the order of the frames.

    `timestamp` is in the venue's own unit (Venue.timestamp_unit_ns), `quantity` and `price` as the frame has them.
    `void` names rows that use up a trade id and are no trades; `flags` maps a row to its Flag bits where there are any.
    `past` names rows that a venue sends as history on subscribing.
    `counts` holds the trades of each frame; left empty it means one a frame.
    `trade_id` takes ints, or str where the venue's ids are text.
    """

    __slots__ = ("counts", "flags", "past", "price", "quantity", "sell", "sequence_number", "symbol", "timestamp",
                 "trade_id", "void")

    def __init__(self) -> None:
        self.symbol: list[str] = []
        self.price: list[float] = []
        self.quantity: list[float] = []
        self.sell: list[bool] | list[bool | None] = []  # None counts as False: only for void rows
        self.trade_id: list[int] | list[str] = []
        self.sequence_number: list[int] = []  # empty where the venue has none
        self.timestamp: list[int] = []
        self.flags: dict[int, int] = {}
        self.void: list[int] = []
        self.past: list[int] = []
        self.counts: list[int] = []


class HistoryQuery:
    """What of a symbol's past is wanted: by id where the venue pages by id, else by time."""

    __slots__ = ("end_ns", "first_id", "last_id", "start_ns", "symbol")

    def __init__(self, symbol: str, start_ns: int, end_ns: int, first_id: int = -1, last_id: int = -1) -> None:
        self.symbol, self.start_ns, self.end_ns = symbol, start_ns, end_ns
        self.first_id, self.last_id = first_id, last_id


@dataclass(frozen=True, slots=True, kw_only=True)
class Venue:
    """An exchange's market: its facts and its pure functions. No field without a reason has a default."""

    exchange: str
    market_type: str
    ws_url: str
    rest_url: str
    headers: Mapping[str, str]  # sent on the handshake and on REST
    limits: Limits
    heartbeat: Heartbeat
    stale_after_s: float  # a connection with symbols that trade is dead after this silence
    id_kind: IdKind
    quantity_unit: QuantityUnit
    timestamp_unit_ns: int
    history: HistoryDepth
    subscribe: Callable[[Sequence[str], int], str]  # symbols, request id -> text frame
    unsubscribe: Callable[[Sequence[str], int], str]
    parse: Callable[[bytes | memoryview, Columns], None]  # a JSON array of frames; raises if one is no trade
    read_control: Callable[[bytes], Control | None]  # one frame; None: not known
    instruments_requests: Sequence[HttpRequest]
    parse_instruments: Callable[[Sequence[bytes]], list[Instrument]]
    history_request: Callable[[HistoryQuery], HttpRequest]
    parse_history: Callable[[bytes, str, Columns], None]  # body, symbol
    session: Session | None = None  # most venues want none
    answers_by_symbol: bool = False  # an acknowledgement or rejection per symbol, with the request's id or without one
    acknowledges: bool = True  # False: a request is answered by trades alone, so what was sent counts as granted
    replaces: bool = False  # a request names all symbols of its connection, in place of the one before: none is unsubscribed
    volumes: Volumes | None = None  # where the list itself does not tell the instruments' volumes
    drops: bool = True  # False: no request ends the trades of one symbol; `unsubscribe` asks for nothing, and is answered
    next_instruments: Callable[[bytes], HttpRequest | None] | None = None  # the page after this body, where there are pages
    unlisted: Callable[[str], Instrument | None] | None = None  # how to read a symbol of which only the name is known
    repeats_last: bool = False  # pushes a symbol's last trade on subscribing, however old, like any other
    newest_first: bool = False  # within a frame: `parse` leaves the rows as they are, the core puts the oldest first
    stamp: Callable[[str, int], str] | None = None  # puts the time of sending (ns) into a subscription request
    variant: str = ""  # another protocol of the same venue, chosen by `exchanges.<name>.<market_type>.variant`

    @property
    def name(self) -> str:
        """`binance.spot`."""
        return f"{self.exchange}.{self.market_type}"


Int64 = NDArray[np.int64]
Float64 = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class TradeBatch:
    """Trades as columns of one length; row i of each column is one trade. Never changed once made.

    instrument: id in the process's Catalogue. text_id: None, or fixed-width bytes that are the trade id of the rows
    where they are not empty. sequence_number: NO_SEQUENCE where the venue has none.
    """

    timestamp: Int64  # ns, the venue's
    instrument: NDArray[np.int32]
    price: Float64
    quantity: Float64  # base units
    side: NDArray[np.uint8]  # BUY, SELL
    trade_id: Int64
    sequence_number: Int64
    received_at: Int64  # ns, ours
    flags: NDArray[np.uint8]
    text_id: NDArray[np.bytes_] | None = None

    def __len__(self) -> int:
        return len(self.timestamp)

    def take(self, rows: NDArray[np.intp] | NDArray[np.bool_] | slice) -> TradeBatch:
        """Return the given rows (indexes, mask or slice) as a batch."""
        taken: list[Any] = [None if column is None else column[rows] for column in self.columns()]
        return TradeBatch(*taken)

    def columns(self) -> tuple[NDArray | None, ...]:  # type: ignore[type-arg]
        """Return every column in the order of the fields."""
        return (self.timestamp, self.instrument, self.price, self.quantity, self.side, self.trade_id,
                self.sequence_number, self.received_at, self.flags, self.text_id)

    def id_texts(self) -> list[str]:
        """Return each trade's id as text, the form that every sink and archive stores."""
        numbers = list(map(str, self.trade_id.tolist()))
        if self.text_id is None:
            return numbers
        return [text.decode() if text else number for text, number in zip(self.text_id.tolist(), numbers, strict=True)]

    @staticmethod
    def empty() -> TradeBatch:
        """Return a batch of no trades."""
        empty: list[Any] = [np.empty(0, dtype) for dtype in BATCH_DTYPES]
        return TradeBatch(*empty)

    @staticmethod
    def concat(batches: Sequence[TradeBatch]) -> TradeBatch:
        """Return one batch with the rows of all, in order."""
        if len(batches) == 1:
            return batches[0]
        if not batches:
            return TradeBatch.empty()
        numbers: list[Any] = [np.concatenate(parts) for parts in zip(*(b.columns()[:-1] for b in batches), strict=True)]
        text_id = None
        if any(b.text_id is not None for b in batches):
            text_id = np.concatenate([np.zeros(len(b), "S1") if b.text_id is None else b.text_id for b in batches])
        return TradeBatch(*[*numbers, text_id])


BATCH_DTYPES = (np.int64, np.int32, np.float64, np.float64, np.uint8, np.int64, np.int64, np.int64, np.uint8)


class GapState(enum.StrEnum):
    """Where a gap stands."""

    OPEN = "open"
    FILLED = "filled"
    LOST = "lost"


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """Trades we may not have: [from_ns, to_ns) of one symbol, or of a whole venue when symbol is empty.

    first_id and last_id (inclusive) are set where a jump in contiguous ids proves the loss. `symbols` names the symbols of
    the connection that was lost, when `symbol` is empty; both empty means every symbol of the venue.
    """

    exchange: str
    market_type: str
    from_ns: int
    to_ns: int
    reason: str
    symbol: str = ""
    first_id: int | None = None
    last_id: int | None = None
    state: GapState = GapState.OPEN
    symbols: tuple[str, ...] = ()

    def touches(self, symbol: str) -> bool:
        """Return whether trades of this symbol may be missing; the venue is the caller's to compare."""
        return symbol == self.symbol or (not self.symbol and (not self.symbols or symbol in self.symbols))


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """One row of an exchange's notice board, as its source yields it."""

    source: str  # upbit
    notice_id: str
    title: str
    category: str
    published_at_ns: int  # first publication
    updated_at_ns: int  # last edit
    url: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """A coin that gets a KRW market. Identity is (source, notice_id, symbol)."""

    source: str
    notice_id: str
    symbol: str
    title: str
    announced_at_ns: int  # the notice's own time
    detected_at_ns: int  # when our poll saw it
    triggered_at_ns: int  # when the window was opened
    needs_body: bool = False
