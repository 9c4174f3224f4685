"""One exchange's protocol as the simulator speaks it: the data and functions that a simulator plugin provides.

Like a venue, a dialect has no socket and no clock. The simulator does the rest: TLS, frames, limits, pings, pacing, faults and
the record of sent trades. A plugin returns its dialects, and those of notice boards (`board_dialect.BoardDialect`), from the hook
`simulator_dialects`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from pumpwatch.sim.book import MadeBook
from pumpwatch.sim.http_messages import HttpCall, HttpReply
from pumpwatch.sim.rows import Rows, SymbolSpec, SymbolTable
from pumpwatch.sim.ticker import MadeTicker

Message = str | bytes  # a text or a binary frame
TEXT, BINARY = 0x1, 0x2


@dataclass(frozen=True, slots=True)
class Coin:
    """A coin that the simulated markets trade."""

    name: str
    price: float  # USDT
    korean: str = ""


@dataclass(slots=True)
class ClientSession:
    """One client connection as its dialect sees it; the dialect updates `topics`, `form` and `notes`.

    topics: each subscription in the client's own words -> the symbol whose trades it gets ("": acknowledged, but without
    trades). form: the shape of trade frames (plain, wrapped, ...). notes: the dialect's data about this connection. memory:
    the dialect's data that all connections and REST calls of the venue share, such as tokens. rules: set by `open` if this
    connection's protocol has its own limits for messages and streams.
    """

    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    form: str = "plain"
    topics: dict[str, str] = field(default_factory=dict)
    notes: dict[str, Any] = field(default_factory=dict)
    memory: dict[str, Any] = field(default_factory=dict)
    rules: Rules | None = None


@dataclass(frozen=True, slots=True)
class Past:
    """A frame of earlier trades, which some venues send after a subscription."""

    message: Message
    rows: Rows


@dataclass(slots=True)
class Reply:
    """The venue's reaction to a client's message or arrival: frames to send, then an optional close (code, reason)."""

    send: Sequence[Message | Past] = ()
    close: tuple[int, str] | None = None


class Meter(Protocol):
    """The REST budget of one client address."""

    def spend(self, weight: float) -> float:
        """Count a request and return the weight used in the current window, this request included."""

    def retry_after_s(self) -> int:
        """Return the seconds until the window is over."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MinuteBar:
    """One minute of a symbol's trades. Prices and quantities are exact decimals: integers by the symbol's scales."""

    start_ns: int
    open: int
    high: int
    low: int
    close: int
    quantity: int
    quote: float  # price times quantity, in quote units of the venue's own quantity unit
    trades: int


class History(Protocol):
    """The recent trades of a venue, for its REST side and its snapshots."""

    table: SymbolTable

    def recent(self, symbol: int, limit: int) -> Rows:
        """Return the newest rows of a symbol, oldest first."""

    def from_id(self, symbol: int, first_id: int, limit: int) -> Rows:
        """Return rows with ids from first_id on, ascending."""

    def between(self, symbol: int, start_ns: int, end_ns: int, limit: int) -> Rows:
        """Return the first rows with start_ns <= timestamp <= end_ns, ascending."""

    def last_between(self, symbol: int, start_ns: int, end_ns: int, limit: int) -> Rows:
        """Return the last rows with start_ns <= timestamp <= end_ns, ascending."""

    def last_ids(self, symbol: int, first_id: int, last_id: int, limit: int) -> Rows:
        """Return the last rows with first_id <= id <= last_id, ascending."""

    def minutes(self, symbol: int, start_ns: int, end_ns: int) -> list[MinuteBar]:
        """Return the minutes with trades that begin in [start_ns, end_ns), ascending; rows outside the market do not count."""

    def book(self, symbol: int, now_ns: int) -> MadeBook:
        """Return the order book of a symbol at this time."""

    def ticker(self, symbol: int, now_ns: int) -> MadeTicker:
        """Return the ticker of a symbol for the 24 hours before this time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """The limits that the venue enforces, with its real rejections. 0: no such limit."""

    messages_per_second: float  # per connection, counted in message_window_s; pings and pongs count
    messages_close: tuple[int, str]  # how a connection that sends too much is closed
    streams_per_connection: int  # for the dialect to enforce in its own words
    connects_per_5_minutes: int  # per address; more get HTTP 429 at the handshake
    ping_every_s: float  # protocol pings from the venue
    pong_within_s: float
    client_silence_s: float  # a client that sends nothing for this long is closed
    connection_age_s: float
    requests_per_minute: float  # REST weight per address, counted in request_window_s: see `requests`
    connects_per_second: int = 0  # per address, as connects_per_5_minutes
    connects_per_minute: int = 0
    connections: int = 0  # at once, per address and market; more get HTTP 403
    message_window_s: float = 1.0
    request_window_s: float = 60.0
    shared_by_markets: bool = False  # limits per address count all markets of the exchange together
    ban_s: float = 0.0  # first REST ban of an address that goes on after a 429; each request during a ban doubles it
    age_notice_s: float = 0.0  # how long before connection_age_s the dialect announces the end
    age_close: tuple[int, str] | None = None  # the close at that age; None: TCP ends without a close

    @property
    def requests(self) -> float:
        """The REST weight of a window; 0 without a limit."""
        return self.requests_per_minute * self.request_window_s / 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Stamp:
    """The place in a frame of a number that changes with each trade: after `marker`, in a fixed number of digits.

    what: `id`, or `time` (in units of unit_ns). With stamps, frames can be made in advance: only these digits are written when
    they are sent.
    """

    marker: bytes
    what: str
    digits: int
    unit_ns: int = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class TapeTrade:
    """A trade of a recorded frame; price and quantity are the frame's own digits."""

    symbol: str
    trade_id: int
    timestamp_ns: int
    price: str
    quantity: str
    sell: bool
    flags: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialect:
    """One market of one exchange, as a server."""

    exchange: str
    market_type: str
    ws_path: str  # appended to the listener's address to make the ws_url that a collector is given
    rest_path: str  # the same for rest_url
    rules: Rules
    first_id: int  # of the generated trades, per symbol; ids go up by one
    timestamp_unit_ns: int
    flag_shares: Mapping[int, float]  # flags (VOID, pumpwatch.Flag) -> share of rows that carry them
    trades_per_frame: int  # above 1, rows of one symbol on one connection are grouped
    binary: bool  # trades come in binary frames
    stamps: Sequence[Stamp]  # empty: frames cannot be made in advance
    symbols: Callable[[Sequence[Coin]], list[SymbolSpec]]
    open: Callable[[ClientSession, Rules], Reply | HttpReply]  # HttpReply rejects the handshake
    receive: Callable[[ClientSession, Message, Rules, History], Reply]
    encode: Callable[[str, Rows], list[bytes]]  # form, rows -> payloads; grouped rows are of one symbol
    rest: Callable[[HttpCall, Rules, History, Meter], HttpReply]
    maintenance: Callable[[str, int], bytes | None]  # form, now_ns -> the event that announces it
    read_tape: Callable[[bytes], list[TapeTrade]]
    reframe: Callable[[str, bytes], bytes]  # form, a recorded frame -> the frame in that form
    listed: int = 400  # about how many symbols the real venue has: its share of `roster`
    variants: Mapping[str, str] = field(default_factory=dict)  # the plugin's other protocols that it speaks -> their ws_path
    binary_forms: frozenset[str] = frozenset()  # forms with binary trade frames although `binary` is False

    def opcode(self, form: str) -> int:
        """Return the WebSocket opcode of frames in this form."""
        return BINARY if self.binary or form in self.binary_forms else TEXT

    @property
    def name(self) -> str:
        """`exchange.market_type`."""
        return f"{self.exchange}.{self.market_type}"

    def path_of(self, variant: str) -> str | None:
        """Return the ws_path of a protocol ("" is the usual one), or None if the dialect does not speak it."""
        return self.variants.get(variant) if variant else self.ws_path
