"""All feeds of one venue: its instruments, their placement, and a supervised greenlet a connection."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Sequence, Set
from typing import Any

import numpy as np
from gevent.event import Event

from pumpwatch.catalogue import Catalogue
from pumpwatch.clock import NS_PER_S, Clock
from pumpwatch.config import VenueConfig
from pumpwatch.errors import ServiceUnavailable, StorageError
from pumpwatch.feeds.feed import FIRST_S, Feed
from pumpwatch.feeds.placement import Placement
from pumpwatch.feeds.rate_limits import VenueRateLimits
from pumpwatch.feeds.rejected_symbols import Refusals
from pumpwatch.feeds.session import FeedContext
from pumpwatch.feeds.silent_symbols import LastTimes, SilentSymbolWatch
from pumpwatch.feeds.unread_symbols import Unread
from pumpwatch.instruments.exclusion_reasons import left_out
from pumpwatch.instruments.lists import fetch_instruments, only, unlisted
from pumpwatch.instruments.symbols_file import NOT_CHOSEN, RENEWED_NS, SymbolsFile, VenueSymbols
from pumpwatch.instruments.volumes import LatestVolumes
from pumpwatch.model import HttpRequest, Instrument, Venue
from pumpwatch.net.backoff import Backoff
from pumpwatch.net.frames import FrameBuffer
from pumpwatch.net.http import Http
from pumpwatch.net.sweep import Sweep
from pumpwatch.net.ws import Dialer
from pumpwatch.records import Records
from pumpwatch.stats import Stats

log = logging.getLogger(__name__)

NOTE_EVERY_S = 1.0  # of the gap while there is no list at all
LISTED, LISTED_AGAIN = "listed, not yet read", "listed again, and not read since it left the list"


class VenueFeeds:
    """Keeps one venue's connections. `run` fetches the instruments, then again every `refresh_s`.

    down_since_ns: when the run before this one had its last trade, which the caller has recorded as a gap up to now; 0: there
    was none. What is missing from now on is recorded here: of the venue until its symbols are known, then of connections.
    """

    def __init__(self, venue: Venue, config: VenueConfig, catalogue: Catalogue, buffer: FrameBuffer, http: Http,
                 dialer: Dialer, sweep: Sweep, clock: Clock, stats: Stats, max_frame_bytes: int, refresh_s: float,
                 down_since_ns: int, record: Callable[[Records], None], spawn: Callable[[str, Callable[[], None]], None],
                 last_times: LastTimes, symbols: SymbolsFile, paces: VenueRateLimits) -> None:
        self.venue, self._config, self._catalogue = venue, config, catalogue
        self._http, self._clock, self._stats, self._refresh_s, self._spawn = http, clock, stats, refresh_s, spawn
        self.budget = paces.requests(venue)
        self.rest_url = config.rest_url or venue.rest_url
        self._context = FeedContext(venue, config.ws_url or venue.ws_url, dialer, sweep, buffer,
                                    paces.connects(venue), self._ask, clock, stats, max_frame_bytes, record,
                                    self._refused, self._full)
        self.roster = Placement(venue, config.symbols_per_connection)
        self.feeds: list[Feed] = []
        self._refusals = Refusals(self._context)
        self._unlisted: dict[str, str] = {}
        self._volumes = LatestVolumes(venue, self._ask)
        self._ran_before = down_since_ns > 0
        self._impossible: set[str] = set()
        self._list_problem = ""  # of the instrument list, as it came last
        self._began, self._began_ns = clock.monotonic(), clock.now_ns()
        self._failed_ns = 0  # since when nothing is read, as no list could be had; 0: nothing is missing for that reason
        self._asked_ns = 0  # when the last list was asked for
        self._left: dict[str, int] = {}  # symbols that left the list, and when they were read no more
        self._stopping = Event()
        self._unread = Unread(self._context, self._is_granted, spawn, self._stopping)
        self._symbols = symbols
        self._noted = VenueSymbols(0, [], {})  # what the symbols file has been told is read, and refused
        self._last_times = last_times
        self.silence = SilentSymbolWatch(self._context, self, catalogue, last_times, self._stopping)

    def run(self) -> None:
        """Keep the placement in step with the venue's own list until stopped."""
        backoff, listed = Backoff(base_s=1.0, cap_s=60.0), False
        self._spawn(f"list {self.venue.name}", self._follow_list)
        while not self._stopping.is_set():
            try:
                self._refresh()
                listed, wait_s = True, self._refresh_s
            except ServiceUnavailable as error:
                wait_s = self._refresh_s if listed else backoff.next_s()
                self._tell_list(error.message)
                if backoff.failures == 1 and not len(self.roster):
                    self._place_known()
                self._stats.add("instrument_list_failures_total", venue=self.venue.name)
            self._stopping.wait(wait_s)

    def _follow_list(self) -> None:
        """Let the gap of the venue grow as long as no list could be had, or none has come for a while."""
        while not self._asked_ns and not self._stopping.is_set():
            if self._list_problem or self._clock.monotonic() - self._began > FIRST_S:
                self._failed_ns = self._failed_ns or self._began_ns
                self._note_no_list(int(2 * NOTE_EVERY_S * NS_PER_S))
            self._stopping.wait(NOTE_EVERY_S)

    def _note_no_list(self, ahead_ns: int = 0) -> None:
        if self._failed_ns:
            why = self._list_problem or "it has not come yet"
            self._context.note_gap("", self._failed_ns, f"no instrument list: {why}", ahead_ns)

    def stop(self) -> None:
        """Close every connection. What is missing by now is recorded before this returns."""
        self._stopping.set()
        self._volumes.stop()
        self._note_no_list()
        self._unread.look()
        for feed in self.feeds:
            feed.stop()

    def status(self) -> dict[str, Any]:
        """Return this venue's row of the figures."""
        wanted = [feed for feed in self.feeds if feed.symbols]
        down = [feed for feed in wanted if not feed.up and feed.trouble]
        now = self._clock.monotonic()
        return {"exchange": self.venue.exchange, "market_type": self.venue.market_type,
                "connections": len(wanted), "connections_up": sum(feed.up for feed in wanted),
                "instruments": len(self.roster), "subscribed": sum(len(feed.granted) for feed in self.feeds),
                "refused": sorted(self._refusals.left_out),
                "silent": self.silence.silent, "unlisted": sorted(self._unlisted), "list_problem": self._list_problem,
                "problem": f"connection {down[0].number}: {down[0].trouble}" if down else "",
                "down_s": round(max((feed.down_s(now) for feed in wanted), default=now - self._began), 1)}

    def _ask(self, request: HttpRequest) -> bytes:
        return self._http.ask(self.rest_url, request, self.venue.headers, self.budget)

    def _refresh(self) -> None:
        bodies: list[bytes] = []
        asked_ns = self._clock.now_ns()
        self._volumes.begin()
        listed = self._volumes.put_on(fetch_instruments(self.venue, self._ask, self._tell_impossible, bodies))
        self._tell_unlisted(listed)
        self._place(only(listed, self._config), asked_ns)
        kept = sorted(self.roster.kept)
        self._tell_list(f"it lacks {len(kept)} symbols that are read, such as {kept[0]}" if kept else "")
        if not kept and not self.roster.leaving:
            self._note_symbols(listed, bodies)

    def _place_known(self) -> None:
        """Begin with the instruments of an earlier list while the venue gives none."""
        try:
            known = self._symbols.known(self.venue.name)
        except StorageError as error:
            log.warning("%s; %s", error.message, error.hint)
            return
        if known:
            age_h = (self._clock.now_ns() - known.listed_at_ns) / NS_PER_S / 3600
            log.warning("beginning with the symbols of an earlier list venue=%s symbols=%d hours_old=%.0f file=%s",
                        self.venue.name, len(known.instruments), age_h, self._symbols.path)
            self._place(only(known.instruments, self._config), self._began_ns)

    def _note_symbols(self, listed: Sequence[Instrument], bodies: Sequence[bytes]) -> None:
        """Tell the symbols file what is read and what is not, when that has changed."""
        refused = {symbol: f"the venue refuses it: {reason}" for symbol, reason in self._refusals.left_out.items()}
        taken = [one for one in listed if one.symbol in self.roster]
        now_ns = self._clock.now_ns()
        noted = VenueSymbols(now_ns, taken, refused)
        if noted.same_as(self._noted) and now_ns - self._noted.listed_at_ns < RENEWED_NS:
            return
        self._noted = noted
        others = {one.symbol: NOT_CHOSEN for one in listed if one.symbol not in self.roster}
        self._symbols.put(self.venue.name, VenueSymbols(
            now_ns, taken, left_out(bodies, {one.symbol for one in listed}) | others | refused))

    def _place(self, chosen: Sequence[Instrument], asked_ns: int) -> None:
        """Take the list that was asked for at this time: place its symbols, and drop what has left it."""
        self._refusals.review({one.symbol for one in chosen}, set().union(*(feed.granted for feed in self.feeds)))
        left_out = self._refusals.left_out
        wanted = [one for one in chosen if one.symbol not in left_out]
        came, gone = self.roster.refresh(wanted, self._trades)
        for one in chosen:
            self._catalogue.add((self.venue.exchange, self.venue.market_type), one)
        if came or gone:
            log.info("roster venue=%s symbols=%d came=%d went=%d connections=%d",
                     self.venue.name, len(self.roster), len(came), len(gone), len(self.roster.places))
        self._follow_roster()
        self._note_no_list()
        self._failed_ns = 0
        self._note_unread(came, gone)
        self._asked_ns = asked_ns

    def _note_unread(self, came: Set[str], gone: Set[str]) -> None:
        """Write down from when on the newcomers were not read: when they left, else when the list before was asked for."""
        now_ns = self._clock.now_ns()
        self._left |= dict.fromkeys(gone, now_ns - self._context.slack_ns())
        for symbol in came & self._left.keys():
            self._unread.add([symbol], self._left.pop(symbol), LISTED_AGAIN)
        if self._asked_ns:
            self._unread.add((symbol for symbol in came if symbol not in self._refusals), self._asked_ns, LISTED)

    def move(self, symbol: str) -> None:
        """Read this symbol on another connection than now."""
        if not self.venue.drops and symbol in self.roster:  # its connection could send it again beside the other, so it goes
            self.feeds[self.roster.connection_of(symbol)].leave(f"{symbol} is silent, and no request ends what was asked for it")
            return
        self.roster.move(symbol)
        self._follow_roster()

    def _follow_roster(self) -> None:
        """Bring the feeds in step with the roster."""
        for number, place in enumerate(self.roster.places):
            if number < len(self.feeds):
                feed = self.feeds[number]
                feed.change(place.symbols - feed.symbols, feed.symbols - place.symbols)
            else:
                feed = Feed(self._context, number, place.symbols, *self._since())
                self.feeds.append(feed)
                self._spawn(f"feed {self.venue.name}#{number}", feed.run)

    def _since(self) -> tuple[int, int]:
        """Return since when a new connection's symbols are not read though they were, and since when they should be."""
        if self._asked_ns:
            return 0, self._clock.now_ns()
        return (self._began_ns if self._ran_before or self._failed_ns else 0), self._began_ns

    def _is_granted(self, symbol: str) -> bool | None:
        if symbol not in self.roster:
            return False if symbol in self._refusals else None
        number = self.roster.connection_of(symbol)
        return number < len(self.feeds) and symbol in self.feeds[number].granted

    def _trades(self, symbol: str) -> bool:
        """Return whether it had a trade since about the refresh before this one."""
        number = self._catalogue.ids_of((self.venue.exchange, self.venue.market_type)).get(symbol)
        since_ns = self._clock.now_ns() - int(self._refresh_s * NS_PER_S)
        return number is not None and int(self._last_times(np.array([number], np.int32))[0]) > since_ns

    def _tell_list(self, problem: str) -> None:
        """Say that the instrument list cannot be relied on, and when it can be again; what is read goes on."""
        before, self._list_problem = self._list_problem, problem
        if problem and not before:
            known = len(self.roster)
            log.warning("instrument list is doubtful, what is read goes on venue=%s symbols=%d reason=%s" if known else
                        "no instrument list, so nothing is read yet venue=%s symbols=%d reason=%s",
                        self.venue.name, known, problem)
        elif before and not problem:
            log.info("instrument list is good again venue=%s", self.venue.name)

    def _full(self, number: int, symbols: Sequence[str], reason: str) -> None:
        """Put symbols that a connection has no room for on others, and no more on it than it has."""
        read = {symbol for symbol in symbols if self._was_read(symbol)}
        since_ns = self._clock.now_ns() - self._context.slack_ns()
        self.roster.full(number, symbols)
        log.warning("connection is full, symbols go to others venue=%s connection=%d has=%d moved=%d reason=%s",
                    self.venue.name, number, len(self.roster.places[number].symbols), len(symbols), reason)
        self._stats.add("moved_symbols_total", len(symbols), venue=self.venue.name)
        self._context.note_event(number, "full", f"{len(symbols)} symbols go to others: {reason}")
        self.feeds[number].symbols -= set(symbols)  # they were not granted, so there is nothing to unsubscribe
        self._follow_roster()
        self._unread.add(read, since_ns, f"no room on its connection: {reason}")

    def _tell_impossible(self, instrument: str) -> None:
        """Say once that the list has a row which cannot be an instrument."""
        if instrument not in self._impossible:
            self._impossible.add(instrument)
            log.warning("instrument left out venue=%s instrument=%s", self.venue.name, instrument)
            self._stats.add("impossible_instruments_total", venue=self.venue.name)

    def _tell_unlisted(self, listed: Iterable[Instrument]) -> None:
        """Say once which symbols that the config chooses or excludes the venue does not have."""
        missing = unlisted(listed, [*self._config.symbols, *self._config.excluded])
        for symbol in missing.keys() - self._unlisted.keys():
            log.warning("%s symbol is not listed venue=%s symbol=%s nearest=%s",
                        self._word_for(symbol), self.venue.name, symbol, missing[symbol] or "none")
        for symbol in self._unlisted.keys() - missing.keys():
            log.info("%s symbol is listed now venue=%s symbol=%s", self._word_for(symbol), self.venue.name, symbol)
        self._unlisted = missing

    def _word_for(self, symbol: str) -> str:
        return "excluded" if symbol in self._config.excluded else "configured"

    def _refused(self, number: int, symbol: str, reason: str) -> None:
        """Leave out a symbol the venue will not subscribe; where it was read before, its gap grows until it is granted."""
        if self._was_read(symbol):
            self._unread.add([symbol], self._clock.now_ns() - self._context.slack_ns(), f"the venue refuses it: {reason}")
        self._refusals.add(number, symbol, reason)
        self.roster.remove(symbol)
        for feed in self.feeds:
            feed.symbols.discard(symbol)

    def _was_read(self, symbol: str) -> bool:
        """Whether trades of it may be stored, so that what is missing now is a gap."""
        return self._ran_before or symbol in self._context.ever_granted or symbol in self._unread
