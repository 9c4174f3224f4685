"""How the simulator speaks as one exchange: what a simulator plugin gives.

A dialect is facts and functions without sockets or clocks, like a venue's. The simulator does the rest: TLS, frames,
limits, pings, pacing, faults and the record of what was sent. A plugin returns its dialects from the hook
`simulator_dialects`; a notice board (`BoardDialect`) comes the same way.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

from pumpwatch.sim.rows import Rows, SymbolSpec, SymbolTable

if TYPE_CHECKING:
    from pumpwatch.sim.notice_board import Board, Post

Message = str | bytes  # a text or a binary frame
TEXT, BINARY = 0x1, 0x2


@dataclass(frozen=True, slots=True)
class Coin:
    """A coin the simulated markets trade."""

    name: str
    price: float  # USDT
    korean: str = ""


@dataclass(slots=True)
class ClientSession:
    """One client connection as its dialect sees it; the dialect keeps `topics`, `form` and `notes`.

    topics maps what the client subscribed to, in its own words, to the symbol whose trades it gets ("" = acknowledged,
    and silent). form names the shape of trade frames (plain, wrapped, ...). notes is the dialect's own, and so is
    memory, which all connections and REST calls of a venue share (tokens, say). rules: set by `open` where this
    connection's protocol has limits of its own for messages and streams.
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
    """A frame of past trades, as some venues send on subscribing."""

    message: Message
    rows: Rows


@dataclass(slots=True)
class Reply:
    """What the venue does about a client's message (or its arrival): frames to send, then perhaps a close."""

    send: Sequence[Message | Past] = ()
    close: tuple[int, str] | None = None


@dataclass(slots=True)
class HttpReply:
    """An HTTP answer."""

    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class HttpCall:
    """An HTTP request that reached the venue."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]  # names in lower case
    body: bytes
    now_ns: int
    memory: dict[str, Any] = field(default_factory=dict)


class Meter(Protocol):
    """The REST budget of one client address."""

    def spend(self, weight: float) -> float:
        """Count a request and return the weight used in the running window, itself included."""

    def retry_after_s(self) -> int:
        """Return the seconds until the window is over."""


class History(Protocol):
    """What a venue's REST side and its snapshots may look at."""

    table: SymbolTable

    def recent(self, symbol: int, limit: int) -> Rows:
        """Return the newest rows of a symbol, oldest first."""

    def from_id(self, symbol: int, first_id: int, limit: int) -> Rows:
        """Return rows with ids from first_id on, ascending."""

    def between(self, symbol: int, start_ns: int, end_ns: int, limit: int) -> Rows:
        """Return the first rows with start_ns <= timestamp <= end_ns, ascending."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rules:
    """What the venue enforces, with the real refusals. 0 means that there is no such rule."""

    messages_per_second: float  # per connection, counted in message_window_s; pings and pongs count
    messages_close: tuple[int, str]  # what over-sending gets
    streams_per_connection: int  # for the dialect to enforce in its own words
    connects_per_5_minutes: int  # per address: more get HTTP 429 at the handshake
    ping_every_s: float  # protocol pings from the venue
    pong_within_s: float
    client_silence_s: float  # a client that sends nothing for so long is closed
    connection_age_s: float
    requests_per_minute: float  # REST weight per address, counted in request_window_s: see `requests`
    connects_per_second: int = 0  # per address, as connects_per_5_minutes
    connects_per_minute: int = 0
    connections: int = 0  # at once, per address and market: more get HTTP 403
    message_window_s: float = 1.0
    request_window_s: float = 60.0
    shared_by_markets: bool = False  # what counts by address counts all markets of the exchange together

    @property
    def requests(self) -> float:
        """The REST weight of a window; 0 where there is no such rule."""
        return self.requests_per_minute * self.request_window_s / 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Stamp:
    """Where a frame carries a number that moves on: after `marker`, in a fixed number of digits.

    what: `id`, or `time` (in units of unit_ns). It lets frames be made beforehand and only stamped when sent.
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
    ws_path: str  # appended to the listener's address: what a collector is given as ws_url
    rest_path: str  # the same for rest_url
    rules: Rules
    first_id: int  # of the generated markets, per symbol; ids go up by one
    timestamp_unit_ns: int
    flag_shares: Mapping[int, float]  # flags (VOID, pumpwatch.Flag) -> share of rows that carry them
    trades_per_frame: int  # above 1, rows of one symbol on one connection are grouped
    binary: bool  # trades come in binary frames
    stamps: Sequence[Stamp]  # empty: frames cannot be made beforehand
    symbols: Callable[[Sequence[Coin]], list[SymbolSpec]]
    open: Callable[[ClientSession, Rules], Reply | HttpReply]  # HttpReply refuses the handshake
    receive: Callable[[ClientSession, Message, Rules, History], Reply]
    encode: Callable[[str, Rows], list[bytes]]  # form, rows -> payloads; rows are one symbol's where grouped
    rest: Callable[[HttpCall, Rules, History, Meter], HttpReply]
    maintenance: Callable[[str, int], bytes | None]  # form, now_ns -> the event that announces it
    read_tape: Callable[[bytes], list[TapeTrade]]
    reframe: Callable[[str, bytes], bytes]  # form, a recorded frame -> the frame in that form
    listed: int = 400  # how many symbols the real venue has, about: its share of a full roster
    variants: Mapping[str, str] = field(default_factory=dict)  # another protocol of the plugin's that it speaks -> its ws_path
    binary_forms: frozenset[str] = frozenset()  # forms whose trades come in binary frames where others' do not

    def opcode(self, form: str) -> int:
        """Return the WebSocket opcode of frames in this form."""
        return BINARY if self.binary or form in self.binary_forms else TEXT

    @property
    def name(self) -> str:
        """`exchange.market_type`."""
        return f"{self.exchange}.{self.market_type}"

    def path_of(self, variant: str) -> str | None:
        """Return the ws_path of a protocol ("" is the usual one); None where it is not spoken."""
        return self.variants.get(variant) if variant else self.ws_path


@dataclass(frozen=True, slots=True, kw_only=True)
class BoardDialect:
    """A notice board, as a server."""

    name: str  # of the listing source it answers
    url_path: str  # path and query a collector polls
    requests_per_second: float  # per address, more get 429
    burst: int
    seed: Callable[[int, Sequence[Coin]], list[Post]]  # now_ns, coins -> the notices already there
    title: Callable[[Coin, Sequence[str], bool], str]  # coin, markets, already listed -> title of a listing
    body: Callable[[Coin, Sequence[str], int], str]  # coin, markets, trading starts at ns -> body of its notice
    category: str
    rest: Callable[[HttpCall, Board], HttpReply]
