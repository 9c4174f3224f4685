"""Runs all feeds of one venue: its instruments, their placement, and a supervised greenlet for each connection."""

from __future__ import annotations

import logging
from collections.abc import Callable, Collection, Sequence, Set
from dataclasses import dataclass
from typing import Any

import numpy as np
from gevent.event import Event

from pumpwatch.catalogue import Catalogue
from pumpwatch.clock import NS_PER_S, Clock
from pumpwatch.config import VenueConfig
from pumpwatch.errors import ServiceUnavailable
from pumpwatch.feeds.connections import VenueConnections, symbols_of, symbols_read
from pumpwatch.feeds.doubled_symbols import DoubledSymbols
from pumpwatch.feeds.feed import FIRST_WITHIN_S, Feed
from pumpwatch.feeds.list_reports import ListReports
from pumpwatch.feeds.placement import Placement
from pumpwatch.feeds.rate_limits import VenueRateLimits
from pumpwatch.feeds.rejected_symbols import RejectedSymbols
from pumpwatch.feeds.session import FeedContext
from pumpwatch.feeds.silent_symbols import LastTimes, SilentSymbolWatch
from pumpwatch.feeds.slices import SlicedParts, SliceReader, Slices, Unwatched
from pumpwatch.feeds.symbols_record import SymbolsRecord
from pumpwatch.feeds.unread_symbols import UnreadSymbols
from pumpwatch.instruments.lists import fetch_instruments, only
from pumpwatch.instruments.symbols_file import SymbolsFile
from pumpwatch.instruments.volumes import SeparateVolumes
from pumpwatch.model import Instrument
from pumpwatch.net.backoff import Backoff
from pumpwatch.net.frames import FrameBuffer
from pumpwatch.net.http import Http
from pumpwatch.net.sweep import Sweep
from pumpwatch.net.ws import Dialer
from pumpwatch.records import Records
from pumpwatch.stats import Stats
from pumpwatch.venue import HttpRequest, Venue

log = logging.getLogger(__name__)

RECORD_EVERY_S = 1.0  # the gap, while there is no list at all
LISTED, LISTED_AGAIN = "listed, not yet read", "listed again, not read since it left the list"


@dataclass(frozen=True, slots=True)
class Network:
    """The means to reach venues: REST, WebSocket connections, the sweep that reads them, and the venues' limits."""

    http: Http
    dialer: Dialer
    sweep: Sweep
    limits: VenueRateLimits
    max_frame_bytes: int


@dataclass(frozen=True, slots=True)
class Process:
    """The parts of the running process that feeds work with.

    record: stores records durably. spawn: starts a supervised greenlet by name. refresh_s: between two instrument lists.
    resumed: called with the numbers of instruments that another collector may have read until now.
    """

    clock: Clock
    stats: Stats
    catalogue: Catalogue
    symbols_file: SymbolsFile
    record: Callable[[Records], None]
    spawn: Callable[[str, Callable[[], None]], None]
    last_times: LastTimes
    refresh_s: float
    resumed: Callable[[Collection[int]], None] = lambda numbers: None


class VenueFeeds:
    """Keeps one venue's connections. `run` fetches the instruments at the start, then regularly.

    down_since_ns: the time of the last trade of the previous run, from which the caller has recorded a gap up to now; 0 without
    one. Gaps from now on are recorded here: of the whole venue until its symbols are known, then of connections.
    slices: the number of slices into which collectors divide its symbols; 0: all are read here. With slices, nothing is read
    before `read_slice`, which gives the gap of each slice; no gap is recorded for `down_since_ns` or for the whole venue.
    """

    def __init__(self, venue: Venue, config: VenueConfig, buffer: FrameBuffer, down_since_ns: int, network: Network,
                 process: Process, slices: int = 0) -> None:
        self.venue, self._config, self._process = venue, config, process
        self._clock, self._stats, self._catalogue = process.clock, process.stats, process.catalogue
        self._http = network.http
        self._symbols_record = SymbolsRecord(process.symbols_file, venue.name, process.clock)
        self.budget = network.limits.requests(venue)
        self.rest_url = config.rest_url or venue.rest_url
        self._context = FeedContext(venue, config.ws_url or venue.ws_url, network.dialer, network.sweep, buffer,
                                    network.limits.connects(venue), self._ask, self._clock, self._stats,
                                    network.max_frame_bytes, process.record, self._on_rejected, self._on_full)
        self.slices = Slices(slices)
        self.placement = Placement(venue, config.symbols_per_connection, self._source_of)
        self._rejected = RejectedSymbols(self._context)
        self._reports = ListReports(venue, config, self._stats)
        self._volumes = SeparateVolumes(venue, self._ask)
        self._ran_before = down_since_ns > 0 and not slices
        self._began, self._began_ns = self._clock.monotonic(), self._clock.now_ns()
        self._failed_ns = 0  # since when nothing is read because there is no list; 0: nothing is missing for that reason
        self._asked_ns = 0  # when the last list was requested
        self._left: dict[str, int] = {}  # symbols that left the list, and since when they are not read
        self._stopping = Event()
        self._unread = UnreadSymbols(self._context, self._is_granted, process.spawn, self._stopping)
        self._doubled = DoubledSymbols(config, symbols_of(self._catalogue, (venue.exchange, venue.market_type)))
        self._connections = VenueConnections(self._context, self.placement, process.spawn, self._stopping,
                                             lambda: self._doubled.among(self.placement.volumes), self._rejected.__contains__,
                                             self._traded_at)
        self._unwatched = Unwatched(down_since_ns or self._began_ns, every=True) if slices else Unwatched()
        self.silence = SilentSymbolWatch(self._context, self, self._catalogue, process.last_times, self._stopping)
        self.slice_reader = SliceReader(self.slices, self._context, self._catalogue, SlicedParts(
            self.placement, self._connections, self._rejected, self._unread, self.silence, process.last_times, process.resumed,
            self._follow_placement), down_since_ns)

    @property
    def feeds(self) -> list[Feed]:
        """The feed of each place, without the doubles."""
        return self._connections.feeds

    @property
    def has_list(self) -> bool:
        """Return whether an instrument list has come, or an earlier one is used."""
        return self._asked_ns > 0

    @property
    def absent_coins(self) -> frozenset[str]:
        """The chosen coins that are not in the latest list."""
        return self._reports.absent_coins

    def read_slice(self, number: int, since_ns: int, *, beside: bool = False) -> None:
        """Read a slice from now on, or update since when nobody read it.

        beside: another collector reads it until `delivers_slice` is true here. Otherwise nobody has read it since `since_ns`
        (0: unknown), and a gap covers its symbols from then until they are granted here.
        """
        self.slice_reader.read(number, since_ns, beside=beside)

    def leave_slice(self, number: int) -> None:
        """Stop reading a slice, without a gap: another collector delivers it."""
        before, at_ns = self.watched(), self._clock.now_ns()
        self.slice_reader.leave(number)
        self._unwatched.add(before - self.watched(), at_ns)
        self._left = {symbol: since_ns for symbol, since_ns in self._left.items() if self.slices.reads(symbol)}

    def delivers_slice(self, number: int) -> bool:
        """Return whether every symbol of a slice has been read here for long enough."""
        return self.slice_reader.delivers(number)

    def take_unwatched(self) -> Unwatched:
        """Return the symbols that are no longer watched, and forget them."""
        unwatched, self._unwatched = self._unwatched, Unwatched()
        return unwatched

    def is_listed(self, symbol: str) -> bool:
        """Return whether a symbol is read, here or in another collector's slice."""
        return symbol in self.placement or (not self.slices.reads(symbol) and symbol in self.slice_reader.elsewhere)

    def run(self) -> None:
        """Update the placement from the venue's own list until stopped."""
        backoff, listed = Backoff(base_s=1.0, cap_s=60.0), False
        self._process.spawn(f"list {self.venue.name}", self._follow_list)
        while not self._stopping.is_set():
            try:
                self._refresh()
                listed, wait_s = True, self._process.refresh_s
            except ServiceUnavailable as error:
                wait_s = self._process.refresh_s if listed else backoff.next_s()
                self._report_list(error.message)
                if backoff.failures == 1 and not len(self.placement):
                    self._place_known()
                self._stats.add("instrument_list_failures_total", venue=self.venue.name)
            self._stopping.wait(wait_s)

    def _follow_list(self) -> None:
        """Extend the gap of the venue while no list could be fetched, or none has come for a while."""
        while not self._asked_ns and not self._stopping.is_set() and not self.slices.divided:
            if self._reports.problem or self._clock.monotonic() - self._began > FIRST_WITHIN_S:
                self._failed_ns = self._failed_ns or self._began_ns
                self._record_no_list(int(2 * RECORD_EVERY_S * NS_PER_S))
            self._stopping.wait(RECORD_EVERY_S)

    def _record_no_list(self, ahead_ns: int = 0) -> None:
        if self._failed_ns:
            reason = self._reports.problem or "it has not come yet"
            self._context.record_gap("", self._failed_ns, f"no instrument list: {reason}", ahead_ns)

    def missed_since(self, since_ns: int, *, killed: bool = False) -> None:
        """Begin the gaps of everything that is not read since `since_ns`, when another process stopped reading.

        These are connections that are down, rejected symbols, or the whole venue without a list. killed: that process may have
        had a dead connection, so gaps of slices begin earlier; for an undivided venue the caller records that.
        """
        if self.slices.divided:
            self.slice_reader.missed_since(since_ns, killed=killed)
            return
        self._ran_before = True
        for symbol, reason in self._rejected.left_out.items():
            self._unread.add([symbol], since_ns - self._context.slack_ns(), f"the venue rejects it: {reason}")
        if not self._asked_ns:
            self._failed_ns = since_ns
        for feed in self.feeds:
            feed.missed_since(since_ns)

    def stop(self) -> None:
        """Close every connection; the gaps so far are recorded before this returns."""
        self._stopping.set()
        self._volumes.stop()
        self._record_no_list()
        self._unread.record_gaps()
        for feed in self._connections.all:
            feed.stop()

    def renew(self, reason: str) -> None:
        """Replace every connection without a gap, one after the other."""
        self._context.renewals.request_all(reason, self._clock.monotonic())

    def awaiting_renewal(self) -> int:
        """Return how many connections still wait for the requested renewal of all."""
        return sum(feed.awaits_renewal for feed in self._connections.all)

    def double(self, coin: str) -> None:
        """Read a coin's symbols on two connections until `release` was called as often as `double`."""
        self._doubled.double(coin)
        self._follow_placement()

    def release(self, coin: str) -> None:
        """Undo one `double` of a coin."""
        self._doubled.release(coin)
        self._follow_placement()

    def status(self) -> dict[str, Any]:
        """Return this venue's row of the status."""
        connections = [feed for feed in self._connections.all if feed.symbols]
        wanted = [feed for feed in self.feeds if feed.symbols]
        down = [feed for feed in connections if not feed.up and feed.trouble]
        now = self._clock.monotonic()
        return {"exchange": self.venue.exchange, "market_type": self.venue.market_type,
                "connections": len(connections), "connections_up": sum(feed.up for feed in connections),
                "instruments": len(self.placement), "subscribed": symbols_read(self.feeds), "pairs": self._connections.pairs(),
                "refused": sorted(self._rejected.left_out),
                "silent": self.silence.silent, "unlisted": sorted(self._reports.unlisted),
                "list_problem": self._reports.problem, "no_coin_listed": self._reports.nothing_chosen,
                "slices": self.slices.count, "slices_read": sorted(self.slices.numbers),
                "elsewhere": len(self.slice_reader.elsewhere),
                "problem": f"connection {down[0].number}: {down[0].trouble}" if down else "",
                "redundancy_problem": self._connections.not_doubled(), "renewing": self.awaiting_renewal(),
                "connected_ns": min(filter(None, (feed.established_at_ns for feed in connections)), default=0),
                "traded_ns": max((feed.traded_at_ns for feed in connections), default=0),
                "down_s": round(max((feed.down_s(now) for feed in wanted), default=0.0 if self.reads_nothing else
                                    now - self._began), 1)}

    @property
    def reads_nothing(self) -> bool:
        """Return whether other collectors read all of the venue's symbols."""
        return self.slices.divided and not len(self.placement) and (self.has_list or not self.slices.numbers)

    def connection_rows(self) -> list[dict[str, Any]]:
        """Return a row for each connection, see `VenueConnections.rows`."""
        return self._connections.rows(self._clock.monotonic(), self._clock.now_ns())

    def _ask(self, request: HttpRequest) -> bytes:
        return self._http.ask(self.rest_url, request, self.venue.headers, self.budget)

    def _refresh(self) -> None:
        bodies: list[bytes] = []
        asked_ns = self._clock.now_ns()
        self._volumes.begin()
        listed = self._volumes.added_to(fetch_instruments(self.venue, self._ask, self._reports.report_impossible, bodies))
        self._reports.review_symbols(listed)
        self._place(only(listed, self._config), asked_ns)
        kept = sorted(self.placement.kept)
        self._report_list(f"{len(kept)} symbols that are read are missing, such as {kept[0]}" if kept else "")
        if not kept and not self.placement.leaving:
            read = self.placement.volumes.keys() | set(self.slice_reader.elsewhere)
            self._symbols_record.put(listed, bodies, read, self._rejected.left_out)

    def _place_known(self) -> None:
        """Begin with the instruments of an earlier list if the venue gives none."""
        if known := self._symbols_record.known():
            self._place(only(known, self._config), self._began_ns)

    def _place(self, chosen: Sequence[Instrument], asked_ns: int) -> None:
        """Apply a list that was requested at `asked_ns`: place its symbols, and drop those that have left it."""
        self._rejected.review({instrument.symbol for instrument in chosen}, self._connections.granted())
        self._connections.ask_doubles_again()
        left_out = self._rejected.left_out
        wanted = [instrument for instrument in self.slice_reader.remember_list(chosen) if instrument.symbol not in left_out]
        self._reports.review_coins(chosen)
        came, gone = self.placement.refresh(wanted, self._trades)
        for instrument in chosen:
            self._catalogue.add((self.venue.exchange, self.venue.market_type), instrument)
        if came or gone:
            log.info("placement changed venue=%s symbols=%d added=%d removed=%d connections=%d",
                     self.venue.name, len(self.placement), len(came), len(gone), len(self.placement.places))
        self._follow_placement()
        self._record_no_list()
        self._failed_ns = 0
        self._record_unread(came, gone)
        self.slice_reader.first_list_placed()
        self._asked_ns = asked_ns

    def _record_unread(self, came: Set[str], gone: Set[str]) -> None:
        """Begin the gaps of new symbols: when they left the list, or else when the previous list was requested."""
        now_ns = self._clock.now_ns()
        self._left |= dict.fromkeys(gone, now_ns - self._context.slack_ns())
        for symbol in came & self._left.keys():
            self._unread.add([symbol], self._left.pop(symbol), LISTED_AGAIN)
        if self._asked_ns:
            self._unread.add((symbol for symbol in came if symbol not in self._rejected
                              and not self._connections.is_granted(symbol)), self._asked_ns, LISTED)

    def move(self, symbol: str) -> None:
        """Read this symbol on another connection."""
        if not self.venue.drops and symbol in self.placement:  # both connections would send it, so its own is opened again
            feed = self.feeds[self.placement.connection_of(symbol)]
            feed.renew(f"{symbol} is silent, and the venue has no request to unsubscribe it")
            return
        self.placement.move(symbol)
        self._follow_placement()

    def _follow_placement(self) -> None:
        """Bring the feeds in line with the placement."""
        self._connections.follow(*self._since())

    def _since(self) -> tuple[int, int]:
        """Return when a new connection's symbols were last read (0: never), and since when they should be read."""
        if self.slices.divided:
            return 0, 0  # slices record their own gaps
        if self._asked_ns:
            return 0, self._clock.now_ns()
        return (self._began_ns if self._ran_before or self._failed_ns else 0), self._began_ns

    def _source_of(self, number: int) -> int:
        return self.feeds[number].source if number < len(self.feeds) else 0

    def _is_granted(self, symbol: str) -> bool | None:
        if symbol not in self.placement:
            return self._connections.is_granted(symbol) if symbol in self._rejected else None
        return self._connections.is_granted(symbol)

    def _trades(self, symbol: str) -> bool:
        """Return whether the symbol had a trade since about the previous refresh."""
        return self._traded_at(symbol) > self._clock.now_ns() - int(self._process.refresh_s * NS_PER_S)

    def _traded_at(self, symbol: str) -> int:
        """Return the time of a symbol's last trade in ns, 0 without one."""
        number = self._catalogue.ids_of((self.venue.exchange, self.venue.market_type)).get(symbol)
        return 0 if number is None else int(self._process.last_times(np.array([number], np.int32))[0])

    def _report_list(self, problem: str) -> None:
        self._reports.report(problem, len(self.placement), self.has_list)

    def _on_full(self, number: int, symbols: Sequence[str], reason: str) -> None:
        """Move symbols that do not fit on a connection to others, and limit it to its remaining symbols."""
        if self._connections.reject(number, symbols, reason):
            log.warning("connection is full, symbols are not doubled venue=%s connection=%d symbols=%d reason=%s",
                        self.venue.name, number, len(symbols), reason)
            return
        read = {symbol for symbol in symbols if self._was_read(symbol)}
        since_ns = self._clock.now_ns() - self._context.slack_ns()
        self.placement.mark_full(number, symbols)
        log.warning("connection is full, symbols move to others venue=%s connection=%d symbols=%d moved=%d reason=%s",
                    self.venue.name, number, len(self.placement.places[number].symbols), len(symbols), reason)
        self._stats.add("moved_symbols_total", len(symbols), venue=self.venue.name)
        self._context.record_event(number, "full", f"{len(symbols)} symbols move to others: {reason}")
        self.feeds[number].symbols -= set(symbols)  # they were not granted, so there is nothing to unsubscribe
        self._follow_placement()
        self._unread.add(read, since_ns, f"no room on its connection: {reason}")

    def _on_rejected(self, number: int, symbol: str, reason: str) -> None:
        """Leave out a symbol that the venue rejects; if it was read before, its gap grows until it is granted."""
        if self._connections.reject(number, [symbol], reason):
            self._stats.add("doubles_rejected_total", venue=self.venue.name)
            return
        if self._was_read(symbol) and not self._connections.read_beside(number, symbol):
            self._unread.add([symbol], self._clock.now_ns() - self._context.slack_ns(), f"the venue rejects it: {reason}")
        self._rejected.add(number, symbol, reason)
        self.placement.remove(symbol)
        for feed in self.feeds:
            feed.symbols.discard(symbol)

    def watched(self) -> set[str]:
        """Return the symbols whose every trade is stored or in a gap from now on."""
        return {symbol for place in self.placement.places for symbol in place.symbols if self._was_read(symbol)}

    def _was_read(self, symbol: str) -> bool:
        """Return whether its trades may be stored already, so that missing ones are a gap."""
        return self._ran_before or symbol in self._context.ever_granted or symbol in self._unread
