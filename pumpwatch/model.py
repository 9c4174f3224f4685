"""The data types of PumpWatch: instrument, trade batch, gap, notice, listing.

Times are int nanoseconds since 1970, UTC. Quantities are in base units. Sides are the taker's.
"""

from __future__ import annotations

import enum
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

SPOT = "spot"
FUTURES = "futures"
BUY, SELL = 0, 1
SIDES = ("buy", "sell")
NO_SEQUENCE = -(2**63)  # also QuestDB's null value of a LONG
DISORDER_NS = 1_000_000_000  # a venue may send a trade this much later than its neighbours


class Flag(enum.IntFlag):
    """The marks of a trade that is not ordinary."""

    BLOCK = 1
    RPI = 2
    INSURANCE_FUND = 4
    ADL = 8
    INTERNAL = 16
    AGGREGATED = 32
    BACKFILLED = 64  # fetched from the venue's history, not received live

    @classmethod
    def outside_market(cls) -> int:
        """Return the bits of trades outside the order book: the insurance fund or auto-deleveraging closed a position.

        Such trades are stored, although the venue's own trade history leaves them out.
        """
        return cls.INSURANCE_FUND | cls.ADL

    @classmethod
    def takeovers(cls) -> int:
        """Return `outside_market()`, under its old name."""
        return cls.outside_market()


class IdKind(enum.StrEnum):
    """The guarantee that a venue's trade ids give, per symbol."""

    CONTIGUOUS = "contiguous"  # each trade adds 1: a jump proves a lost trade
    MONOTONIC = "monotonic"  # ascending with gaps: they show the order but prove no loss
    UNIQUE = "unique"  # neither ascending nor repeated, such as UUIDs
    NONE = "none"  # the venue sends no ids: the parser makes a text from each trade, and the core numbers equal texts


class QuantityUnit(enum.StrEnum):
    """The unit of a venue's quantities."""

    BASE = "base"
    CONTRACTS = "contracts"  # times the instrument's contract size


@dataclass(frozen=True, slots=True, kw_only=True)
class Instrument:
    """One tradable symbol, in the venue's own spelling.

    volume: of the last 24 hours in units of the quote (USDT), each trade counted once, as the venue reports it at the time of
    the list. 0 means unknown or no trades. It balances connections and predicts traffic; it does not measure recorded trades.
    """

    symbol: str
    base: str
    quote: str
    multiplier: int = 1  # 1000 for 1000PEPE: stays here, never applied to a quantity
    contract_size: float = 1.0  # base units a contract
    price_divisor: float = 1.0  # raw price / this = price, for scaled integers
    status: str = "trading"
    volume: float = 0.0


class ControlKind(enum.StrEnum):
    """The kinds of frames that are not trades."""

    ACK = "ack"  # a subscription request was accepted
    REFUSAL = "refusal"  # a subscription request was rejected
    FULL = "full"  # a subscription was rejected because this connection is full; another one may accept it
    PONG = "pong"
    WELCOME = "welcome"
    RECONNECT = "reconnect"  # the venue asks for a new connection now
    OTHER = "other"  # known but ignored, such as data of another channel


@dataclass(frozen=True, slots=True)
class Control:
    """The meaning of a frame that is not a trade."""

    kind: ControlKind
    request_id: int | None = None
    symbols: tuple[str, ...] = ()  # the accepted or rejected symbols, if the venue names them; empty: all of the request
    reason: str = ""


class Columns:
    """The result of `parse`: one list per column, one entry per trade, in the order of the frames.

    timestamp: in the venue's own unit (Venue.timestamp_unit_ns). price, quantity: as in the frame. trade_id: ints, or str if
    the venue's ids are text. flags: row -> its Flag bits, for rows that have any. void: rows that use up a trade id but are
    not trades. past: rows that the venue sends on subscribing as earlier trades. counts: the number of trades of each frame;
    empty means one trade per frame.
    """

    __slots__ = ("counts", "flags", "past", "price", "quantity", "sell", "sequence_number", "symbol", "timestamp",
                 "trade_id", "void")

    def __init__(self) -> None:
        self.symbol: list[str] = []
        self.price: list[float] = []
        self.quantity: list[float] = []
        self.sell: list[bool] | list[bool | None] = []  # None counts as False: only for void rows
        self.trade_id: list[int] | list[str] = []
        self.sequence_number: list[int] = []  # empty if the venue has none
        self.timestamp: list[int] = []
        self.flags: dict[int, int] = {}
        self.void: list[int] = []
        self.past: list[int] = []
        self.counts: list[int] = []


Int64 = NDArray[np.int64]
Float64 = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class TradeBatch:
    """Trades as columns of equal length; row i of each column is one trade. A batch never changes.

    instrument: id in the process's Catalogue. text_id: None, or fixed-width bytes; a row's trade id is its text_id, or its
    trade_id if the text is empty. sequence_number: NO_SEQUENCE if the venue has none.
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
        """Return these rows (indexes, a mask or a slice) as a batch."""
        taken: list[Any] = [None if column is None else column[rows] for column in self.columns()]
        return TradeBatch(*taken)

    def columns(self) -> tuple[NDArray | None, ...]:  # type: ignore[type-arg]
        """Return every column in the order of the fields."""
        return (self.timestamp, self.instrument, self.price, self.quantity, self.side, self.trade_id,
                self.sequence_number, self.received_at, self.flags, self.text_id)

    def id_texts(self) -> list[str]:
        """Return each trade's id as the text that every sink and archive stores."""
        numbers = list(map(str, self.trade_id.tolist()))
        if self.text_id is None:
            return numbers
        return [text.decode() if text else number for text, number in zip(self.text_id.tolist(), numbers, strict=True)]

    @staticmethod
    def empty() -> TradeBatch:
        """Return a batch without trades."""
        empty: list[Any] = [np.empty(0, dtype) for dtype in BATCH_DTYPES]
        return TradeBatch(*empty)

    @staticmethod
    def concat(batches: Sequence[TradeBatch]) -> TradeBatch:
        """Return one batch with the rows of all batches, in order."""
        if len(batches) == 1:
            return batches[0]
        if not batches:
            return TradeBatch.empty()
        numbers: list[Any] = [np.concatenate(parts) for parts in zip(*(batch.columns()[:-1] for batch in batches), strict=True)]
        text_id = None
        if any(batch.text_id is not None for batch in batches):
            text_id = np.concatenate([np.zeros(len(batch), "S1") if batch.text_id is None else batch.text_id
                                      for batch in batches])
        return TradeBatch(*[*numbers, text_id])


BATCH_DTYPES = (np.int64, np.int32, np.float64, np.float64, np.uint8, np.int64, np.int64, np.int64, np.uint8)


class GapState(enum.StrEnum):
    """The state of a gap."""

    OPEN = "open"
    FILLED = "filled"
    LOST = "lost"


@dataclass(frozen=True, slots=True, kw_only=True)
class Gap:
    """A time [from_ns, to_ns) in which trades of one symbol, or of several if `symbol` is empty, may be missing.

    symbols: the symbols of the lost connection if `symbol` is empty; both empty means every symbol of the venue. first_id and
    last_id (inclusive) are set if a jump in contiguous ids proves the loss.
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
        """Return whether trades of this symbol may be missing. The caller compares the venue."""
        return symbol == self.symbol or (not self.symbol and (not self.symbols or symbol in self.symbols))


@dataclass(frozen=True, slots=True, kw_only=True)
class Notice:
    """One row of an exchange's notice board, or one message of a push source.

    coins: the listed coins, if the source knows them without the title. body: its text, if the source sends it. raw: the row or
    message as it came, for the record.
    """

    source: str  # upbit
    notice_id: str
    title: str
    category: str
    published_at_ns: int  # first publication
    updated_at_ns: int  # last edit
    url: str = ""
    coins: tuple[str, ...] = ()
    body: str = ""
    raw: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing:
    """A coin that gets a KRW market, identified by (source, notice_id, symbol) of its earliest sight.

    kind: `notice`, or `market_opened` if the market itself was seen before any notice of it. drill: a made-up notice.
    """

    source: str
    notice_id: str
    symbol: str
    title: str
    announced_at_ns: int  # the notice's own time
    detected_at_ns: int  # when our request saw it
    triggered_at_ns: int  # when the window was opened
    needs_body: bool = False
    exchange: str = ""  # the exchange that opens the market; empty: not stated by the source
    kind: str = "notice"
    drill: bool = False

    @property
    def key(self) -> tuple[str, str, str]:
        """Return the listing's identity: source, notice id, symbol."""
        return self.source, self.notice_id, self.symbol

    @property
    def board(self) -> str:
        """Return the exchange that opens the market, or the source if it states none."""
        return self.exchange or self.source
