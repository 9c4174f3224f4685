"""The hooks that a plugin may implement.

A plugin is a module or object registered under the entry-point group `pumpwatch.plugins`, or a `.py` file in the plugin
folder of the config. It marks its functions with `pumpwatch.hookimpl` and returns values of `pumpwatch` types. It imports
only the package `pumpwatch` itself, and no other plugin. A plugin with a misspelt hook is not loaded.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol

import pluggy

from pumpwatch.catalogue import Catalogue
from pumpwatch.errors import BadFrame
from pumpwatch.model import Listing, Notice, TradeBatch
from pumpwatch.strategy import StrategyPlugin
from pumpwatch.venue import Venue

if TYPE_CHECKING:
    from pumpwatch.sim.board_dialect import BoardDialect
    from pumpwatch.sim.dialect import Dialect

hookspec = pluggy.HookspecMarker("pumpwatch")


@dataclass(frozen=True, slots=True)
class WriteResult:
    """The result of writing a batch. A row that is neither accepted nor refused is kept and sent again."""

    accepted: int
    refused: Sequence[tuple[int, str]] = ()  # (row in the batch, reason) of rows that must not be sent again


@dataclass(frozen=True, slots=True, kw_only=True)
class Keeping:
    """The way in which a sink keeps acknowledged trades.

    at_risk_s: a power cut of its host may lose the trades acknowledged in these last seconds; 0 if it syncs to disk before each
    answer. run: a text that changes when its server restarts or its table is replaced; empty if the sink cannot know. empty: it
    holds no trade at all, so it gets everything in the journal. keeps_s: it deletes trades whose timestamp is older than this;
    0: it deletes none.
    """

    at_risk_s: float = 300.0  # an operating system writes its cache to disk within about a minute
    run: str = ""
    empty: bool = False
    keeps_s: float = 0.0


@dataclass(frozen=True, slots=True)
class ListingEvent:
    """The facts stored with a listing: its archive folder, its number of trades, and the exchanges that have trades of it."""

    archive: str
    trades: int
    exchanges_with_data: tuple[str, ...] = ()


class Sink(Protocol):
    """A store beyond the journal.

    Every method may block. `open`, `write` and `close` run one at a time in one worker thread; the other methods run in other
    threads, several at once. A sink may also have the methods of `sink_abilities`.
    """

    def open(self) -> None:
        """Create missing tables and check existing ones.

        Raise ServiceUnavailable to be called again later, or ConfigError if a person must fix it.
        """

    def write(self, batch: TradeBatch, catalogue: Catalogue) -> WriteResult:
        """Store the batch; return only once the sink guarantees it. Writing a batch again must be harmless.

        Raise ServiceUnavailable if the outcome is unknown: the batch is kept and sent again.
        """

    def trouble(self) -> str:
        """Return in one line why acknowledged trades do not become visible; an empty text if they do."""

    def read(self, names: Sequence[tuple[str, str, str]], start_ns: int, end_ns: int, catalogue: Catalogue) -> TradeBatch:
        """Return the trades of these (exchange, market_type, symbol) in [start_ns, end_ns), in any order.

        This must work before `open`: a command that only reads does not open the sink. Raises ServiceUnavailable.
        """

    def write_listing(self, listing: Listing, event: ListingEvent) -> None:
        """Store one listing event; a later event of the same listing replaces it.

        Raises ServiceUnavailable if the sink cannot be reached. Any other error means that the sink rejects this listing: it is
        retried a limited number of times.
        """

    def write_health(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Store one minute of exchange health, one row per venue.

        Keys: exchange, market_type, connections (up), trades and message_count (of the minute), lag_ms, gaps (open),
        status (connected, degraded, disconnected, error), last_trade_time (ns, 0: none yet), error_message.
        """

    def close(self) -> None:
        """Release every resource. Closing loses no trades."""


@dataclass(frozen=True, slots=True)
class SinkPlugin:
    """A kind of sink. options: a msgspec Struct (forbid_unknown_fields) that is read from `sinks.<name>` of the config."""

    name: str
    options: type[Any]
    create: Callable[[Any], Sink]


@dataclass(frozen=True, slots=True)
class Verdict:
    """The meaning of a notice's title.

    kind: krw_listing, non_krw_listing, delisting, warning, maintenance, event or other. symbols: those that get a KRW
    market. markets: symbol -> its markets. needs_body: the title alone does not say which. notes: classified trailing remarks.
    """

    kind: str
    symbols: tuple[str, ...] = ()
    markets: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    needs_body: bool = False
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class NoticeBody:
    """The coins that the body of a notice names. markets: coin -> its markets. starts_ns: coin -> start of trading, if stated."""

    markets: Mapping[str, tuple[str, ...]]
    starts_ns: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Market:
    """One market in an exchange's list. symbol: in the exchange's spelling. coin, quote: the traded coin and its quote."""

    symbol: str  # KRW-KITE
    coin: str
    quote: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """The seconds between polls by local time of the source's country; by day they are the source's `interval_s`.

    day: begin and end of the day, in minutes since local midnight. night_s: between polls at night. quick_s: between polls
    around the usual minutes of notices, which are the multiples of `mark_min`: from before_s before to after_s after each.
    """

    utc_offset_min: int
    day: tuple[int, int]
    night_s: float
    quick_s: float
    mark_min: int = 5
    before_s: float = 2.0
    after_s: float = 15.0


@dataclass(frozen=True, slots=True, kw_only=True)
class PolledSource:
    """The facts of a polled (pull) source: its addresses and its pace. Use `ListingSource` or `MarketSource`.

    exchange: the exchange whose markets it reports, 1 to 32 lower-case letters, digits, `_` and `-`. Sights of several sources
    of one exchange are one listing. Empty: sights of this source are not joined with those of others. fallback_urls: other
    addresses of the same list, tried in turn when one does not answer. pace: None polls every interval_s at any hour.
    """

    name: str
    exchange: str = ""
    url: str
    fallback_urls: Sequence[str] = ()
    headers: Mapping[str, str]
    interval_s: float
    pace: Pace | None = None

    @property
    def delivery(self) -> str:
        """Return how sights arrive."""
        return "pull"


@dataclass(frozen=True, slots=True, kw_only=True)
class ListingSource(PolledSource):
    """A notice board: its address, the interval between requests, and the pure functions that read it.

    parse: returns a BadFrame in place of a row that it cannot read, so that the other rows count; it raises BadFrame if the
    body is not such a list. Every row is checked before it is used: types, lengths, a time between 2017 and an hour from now.
    Rows that fail are quarantined. Symbols of a verdict count if they have 1 to 20 letters and digits. drill_title: the board's
    usual title for a coin that gets a KRW market, with `{coin}` in place of the coin; `listing fake --source NAME` uses it.

    The last three functions read the body of a notice whose verdict has needs_body; without them the title alone decides.
    body_url: (the list's address in use, a notice) -> the address of its body. body_text: the answer of that address -> the
    body's text; it raises BadFrame for any other answer. read_body: (that text, publication in ns) -> the coins; it raises
    BadFrame if it finds no coin.
    """

    parse: Callable[[bytes], Sequence[Notice | BadFrame]]  # body -> rows
    verdict: Callable[[str], Verdict]
    body_url: Callable[[str, Notice], str] | None = None
    body_text: Callable[[bytes], str] | None = None
    read_body: Callable[[str, int], NoticeBody] | None = None
    drill_title: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class MarketSource(PolledSource):
    """An exchange's list of its markets: a market that appears in it is a listing of the kind `market_opened`.

    parse: as in `ListingSource`. quotes: only markets with one of these quotes open a window.
    """

    parse: Callable[[bytes], Sequence[Market | BadFrame]]  # body -> markets
    quotes: Sequence[str] = ("KRW",)


class MessageSocket(Protocol):
    """A WebSocket of a push source."""

    def send(self, text: str) -> None:
        """Send one text message. Raises ServiceUnavailable if the connection has ended."""

    def receive(self, wait_s: float) -> bytes | None:
        """Return the next message, or None after `wait_s`. Raises ServiceUnavailable if the connection has ended."""


class PushLink(Protocol):
    """The interface that the collector gives to a push source."""

    @property
    def options(self) -> Any:
        """Return the source's options from the config, as its `options` type; None if it has no such type."""

    def connected(self) -> None:
        """Report that messages may come from now on."""

    def deliver(self, body: bytes) -> bool:
        """Deliver one message for `parse`. Never raises.

        Return False if the message could not be made durable: deliver it again.
        """

    def open_websocket(self, url: str, headers: Mapping[str, str]) -> AbstractContextManager[MessageSocket]:
        """Open a WebSocket with the proxy and the certificate authority of the config. Raises ServiceUnavailable."""


def always(options: Any) -> bool:
    """Return True."""
    return True


@dataclass(frozen=True, slots=True, kw_only=True)
class PushSource:
    """A source that delivers notices by itself (push), for example from a socket.

    listen(url, link): connects to the configured url, or to a default if it is empty; calls `link.connected()`, then
    `link.deliver(body)` for each message until the connection ends. It runs in a greenlet and must use cooperative I/O only.
    It is called again with back-off whenever it returns or raises; ServiceUnavailable says why the connection failed. parse,
    verdict, exchange and drill_title are those of a `ListingSource`. A message with an old date is an edit and never a listing.

    board: the name of the `ListingSource` of the same board. Its verdict and its bodies are used, and its list is read once
    after each connect, to find notices that were published between two connections. options: a msgspec Struct
    (forbid_unknown_fields) that is read from `listing.sources.<name>.options` of the config into `link.options`. configured:
    returns whether these options are enough to listen; a source that is not configured stays off.
    """

    name: str
    exchange: str = ""
    listen: Callable[[str, PushLink], None]
    parse: Callable[[bytes], Sequence[Notice | BadFrame]]
    verdict: Callable[[str], Verdict] | None = None  # None: that of the board
    drill_title: str = ""
    board: str = ""
    options: type[Any] | None = None
    configured: Callable[[Any], bool] = always

    @property
    def delivery(self) -> str:
        """Return how sights arrive."""
        return "push"


NoticeSource = ListingSource | PushSource  # sources of notices with titles
AnySource = ListingSource | MarketSource | PushSource


class HookSpecs:
    """The hooks. Each is optional; each returns a list."""

    @hookspec
    def exchange_venues(self) -> list[Venue]:  # type: ignore[empty-body]
        """Return the venues (exchange x market) of this plugin: facts and pure functions, no I/O.

        plugins/exchanges/binance.py shows the order of such a module.
        """

    @hookspec
    def sinks(self) -> list[SinkPlugin]:  # type: ignore[empty-body]
        """Return the kinds of sink that this plugin offers. Each `sinks.<name>` of the config opens one sink."""

    @hookspec
    def listing_sources(self) -> list[AnySource]:  # type: ignore[empty-body]
        """Return the listing sources of this plugin: notice boards, lists of markets, and push sources."""

    @hookspec
    def simulator_dialects(self) -> list[Dialect | BoardDialect]:  # type: ignore[empty-body]
        """Return the dialects with which the simulator plays exchanges or notice boards."""

    @hookspec
    def paper_strategies(self) -> list[StrategyPlugin]:  # type: ignore[empty-body]
        """Return the strategies of this plugin for `pumpwatch paper run --strategy NAME`."""
