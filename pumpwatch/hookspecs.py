"""Every hook a plugin may implement.

A plugin is a module (or object) registered under the entry-point group `pumpwatch.plugins`, or a `.py` file in the
plugin folder of the config. It marks its functions with `pumpwatch.hookimpl` and returns values made of
`pumpwatch` types; it imports nothing else of PumpWatch, and no other plugin. A misspelt hook is refused at start.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import pluggy

from pumpwatch.catalogue import Catalogue
from pumpwatch.errors import BadFrame
from pumpwatch.model import Listing, Notice, TradeBatch, Venue

if TYPE_CHECKING:
    from pumpwatch.sim.dialect import Dialect

hookspec = pluggy.HookspecMarker("pumpwatch")
hookimpl = pluggy.HookimplMarker("pumpwatch")


@dataclass(frozen=True, slots=True)
class WriteResult:
    """What a sink did with a batch. A row that is neither accepted nor refused is kept and sent again."""

    accepted: int
    refused: Sequence[tuple[int, str]] = ()  # row in the batch, reason: refused for ever


@dataclass(frozen=True, slots=True, kw_only=True)
class Keeping:
    """How a sink keeps what it has acknowledged.

    at_risk_s: what it acknowledged in so many seconds before its host loses power may be gone; 0 where each answer is
    synced to its disk. run: another text once its server was started anew, or once a table of it is another one; empty
    where that cannot be told. empty: it holds no trade at all, so it gets everything that the journal has. keeps_s: it
    deletes trades with an older timestamp by itself; 0: none.
    """

    at_risk_s: float = 300.0  # an operating system writes to the disk by itself within a minute
    run: str = ""
    empty: bool = False
    keeps_s: float = 0.0


@dataclass(frozen=True, slots=True)
class ListingEvent:
    """What is stored of a listing besides the notice: its archive's folder, its trades, and the exchanges that have any."""

    archive: str
    trades: int
    exchanges_with_data: tuple[str, ...] = ()


class Sink(Protocol):
    """A store beyond the journal.

    `open`, `write` and `close` run in one worker thread of the sink's own and may block; the rest runs in a greenlet
    and must use cooperative I/O only (requests). A sink may have the methods of `KeepingSink` and `CountingSink` too.
    """

    def open(self) -> None:
        """Make what is missing and check the rest. Raise ServiceUnavailable to be called again later,
        ConfigError where only a person can mend it."""

    def write(self, batch: TradeBatch, catalogue: Catalogue) -> WriteResult:
        """Store the batch and return only when the sink answers for it. Writing a batch again must be harmless.
        Raise ServiceUnavailable when the outcome is unknown: the batch is kept and sent again."""

    def trouble(self) -> str:
        """Return in one line why acknowledged trades do not become visible, or an empty string."""

    def read(self, names: Sequence[tuple[str, str, str]], start_ns: int, end_ns: int, catalogue: Catalogue) -> TradeBatch:
        """Return the trades of these (exchange, market_type, symbol) in [start_ns, end_ns), any order.

        Works before `open`, too: a command that only reads opens nothing. Raises ServiceUnavailable.
        """

    def write_listing(self, listing: Listing, event: ListingEvent) -> None:
        """Store one listing event; the same listing again replaces it."""

    def write_health(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Store one minute of exchange health, a row a venue.

        Keys: exchange, market_type, connections (up), trades and message_count (of the minute), lag_ms, gaps (open),
        status (connected, degraded, disconnected, error), last_trade_time (ns, 0: none yet), error_message.
        """

    def close(self) -> None:
        """Let go of everything; nothing is lost by closing."""


@runtime_checkable
class KeepingSink(Protocol):
    """A sink that says how it keeps what it has; of another the defaults of `Keeping` are taken to be true."""

    def keeping(self) -> Keeping:
        """Say so, as of now. Called after `open` and every few seconds; works before `open`, too.

        Raises ServiceUnavailable, ConfigError."""


@runtime_checkable
class CountingSink(Protocol):
    """A sink that can be counted cheaply, so that rows it has lost are noticed and sent again."""

    def count(self, ranges: Sequence[tuple[int, int]]) -> Sequence[int]:
        """Return the trades in each [from, to) of timestamps, with all that was acknowledged before the call.

        Raises ServiceUnavailable where that cannot be said now, for example while acknowledged trades become visible.
        """


@dataclass(frozen=True, slots=True)
class SinkPlugin:
    """A kind of sink: `options` is a msgspec Struct (forbid_unknown_fields) read from `sinks.<name>` of the config."""

    name: str
    options: type[Any]
    create: Callable[[Any], Sink]


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a notice's title says.

    kind: krw_listing, non_krw_listing, delisting, warning, maintenance, event or other. symbols: those that get a KRW
    market. markets: symbol -> its markets. needs_body: the title alone cannot say. notes: trailing remarks, classified.
    """

    kind: str
    symbols: tuple[str, ...] = ()
    markets: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    needs_body: bool = False
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class ListingSource:
    """A notice board: where it is, how politely it is asked, and how it is read. Pure, like a venue.

    fallback_urls: other addresses of the same list, asked in turn when one does not answer. parse puts a BadFrame in the
    place of a row that it cannot read, so that the others count, and raises one where the body is no such list. Whatever it
    gives is checked before anyone acts on it: types, lengths, times between 2017 and an hour from now, and of a verdict's
    symbols those of 1 to 20 letters and digits count. What does not pass is quarantined.
    """

    name: str
    url: str
    fallback_urls: Sequence[str] = ()
    headers: Mapping[str, str]
    interval_s: float
    parse: Callable[[bytes], Sequence[Notice | BadFrame]]  # body -> rows
    verdict: Callable[[str], Verdict]


class HookSpecs:
    """The hooks. Each is optional; each returns a list."""

    @hookspec
    def exchange_venues(self) -> list[Venue]:  # type: ignore[empty-body]
        """Return the venues (exchange x market) this plugin speaks for: facts and pure functions, no I/O.

        See plugins/exchanges/binance.py for the order such a module keeps.
        """

    @hookspec
    def sinks(self) -> list[SinkPlugin]:  # type: ignore[empty-body]
        """Return the kinds of sink this plugin offers. One is opened for each `sinks.<name>` in the config."""

    @hookspec
    def listing_sources(self) -> list[ListingSource]:  # type: ignore[empty-body]
        """Return the notice boards this plugin reads."""

    @hookspec
    def simulator_dialects(self) -> list[Dialect]:  # type: ignore[empty-body]
        """Return how the simulator speaks as these exchanges or notice boards."""
