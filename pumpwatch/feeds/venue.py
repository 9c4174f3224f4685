"""All feeds of one venue: its instruments, their placement, and a supervised greenlet a connection."""

from __future__ import annotations

import logging
from collections.abc import Callable
from typing import Any

from gevent.event import Event

from pumpwatch.catalogue import Catalogue
from pumpwatch.clock import Clock
from pumpwatch.config import VenueConfig
from pumpwatch.errors import ServiceUnavailable
from pumpwatch.feeds.feed import ConnectPace, Feed, Surroundings
from pumpwatch.feeds.roster import Roster, fetch_instruments, only
from pumpwatch.model import HttpRequest, Venue
from pumpwatch.net.backoff import Backoff
from pumpwatch.net.frames import FrameBuffer
from pumpwatch.net.http import Http
from pumpwatch.net.ratelimit import TokenBucket
from pumpwatch.net.sweep import Sweep
from pumpwatch.net.ws import Dialer
from pumpwatch.records import Records
from pumpwatch.stats import Stats

log = logging.getLogger(__name__)


class VenueFeeds:
    """Keeps one venue's connections. `run` fetches the instruments, then again every `refresh_s`."""

    def __init__(self, venue: Venue, config: VenueConfig, catalogue: Catalogue, buffer: FrameBuffer, http: Http,
                 dialer: Dialer, sweep: Sweep, clock: Clock, stats: Stats, max_frame_bytes: int, refresh_s: float,
                 down_since_ns: int, record: Callable[[Records], None], spawn: Callable[[str, Callable[[], None]], None]) -> None:
        self.venue, self._config, self._catalogue = venue, config, catalogue
        self._http, self._clock, self._stats, self._refresh_s, self._spawn = http, clock, stats, refresh_s, spawn
        budget = venue.limits.requests_per_minute
        self.budget = TokenBucket(0.5 * budget / 60, budget / 4, clock)
        self.rest_url = config.rest_url or venue.rest_url
        self._around = Surroundings(venue, config.ws_url or venue.ws_url, dialer, sweep, buffer,
                                    ConnectPace(venue.limits, clock), self._ask, clock, stats, max_frame_bytes, record,
                                    self._refused)
        self.roster = Roster(venue.limits, config.symbols_per_connection)
        self.feeds: list[Feed] = []
        self._refused_symbols: set[str] = set()
        self._down_since_ns = down_since_ns  # of the run before this one
        self._stopping = Event()

    def run(self) -> None:
        """Keep the placement in step with the venue's own list until stopped."""
        backoff = Backoff(base_s=1.0, cap_s=60.0)
        while not self._stopping.is_set():
            try:
                self._refresh()
                backoff.reset()
                wait_s = self._refresh_s
            except ServiceUnavailable as error:
                wait_s = backoff.next_s() if not len(self.roster) else self._refresh_s
                if backoff.failures <= 1:
                    log.warning("no instrument list venue=%s reason=%s", self.venue.name, error)
                self._stats.add("instrument_list_failures_total", venue=self.venue.name)
            self._stopping.wait(wait_s)

    def stop(self) -> None:
        """Close every connection."""
        self._stopping.set()
        for feed in self.feeds:
            feed.stop()

    def status(self) -> dict[str, Any]:
        """Return this venue's row of the figures."""
        return {"exchange": self.venue.exchange, "market_type": self.venue.market_type,
                "connections": len(self.feeds), "connections_up": sum(feed.up for feed in self.feeds),
                "instruments": len(self.roster), "subscribed": sum(feed.granted for feed in self.feeds),
                "refused": sorted(self._refused_symbols)}

    def _ask(self, request: HttpRequest) -> bytes:
        return self._http.ask(self.rest_url, request, self.venue.headers, self.budget)

    def _refresh(self) -> None:
        listed = only(fetch_instruments(self.venue, self._ask), self._config.symbols)
        wanted = [one for one in listed if one.symbol not in self._refused_symbols]
        before = [set(place.symbols) for place in self.roster.places]
        came, gone = self.roster.refresh(wanted)
        for one in wanted:
            self._catalogue.add((self.venue.exchange, self.venue.market_type), one)
        if came or gone:
            log.info("roster venue=%s symbols=%d came=%d went=%d connections=%d",
                     self.venue.name, len(self.roster), len(came), len(gone), len(self.roster.places))
        for number, place in enumerate(self.roster.places):
            if number < len(self.feeds):
                self.feeds[number].change(place.symbols - before[number], before[number] - place.symbols)
            else:
                feed = Feed(self._around, number, place.symbols, self._down_since_ns)
                self.feeds.append(feed)
                self._spawn(f"feed {self.venue.name}#{number}", feed.run)

        self._down_since_ns = 0

    def _refused(self, symbol: str, reason: str) -> None:
        """Leave out a symbol the venue will not subscribe, and say so once."""
        self._refused_symbols.add(symbol)
        self.roster.remove(symbol)
        for feed in self.feeds:
            feed.symbols.discard(symbol)
        log.warning("symbol left out venue=%s symbol=%s reason=%s", self.venue.name, symbol, reason)
        self._stats.add("refused_symbols_total", venue=self.venue.name)
