"""Keeps the connections of a venue: a feed for each place of the placement, and a second one if symbols are read twice.

A change of the placement causes no gap: a symbol that moves stays subscribed on its old connection until the new one has had it
for a while. The second connection of a place, its double, reads those symbols of the first that are read twice, from another
address of the venue's host if it has one.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Collection, Sequence
from typing import Any

from gevent.event import Event

from pumpwatch.catalogue import Catalogue
from pumpwatch.clock import NS_PER_S
from pumpwatch.feeds.feed import Feed
from pumpwatch.feeds.hand_over import LONGEST_OVERLAP_S, OVERLAP_LAGS, OVERLAP_S
from pumpwatch.feeds.placement import Placement
from pumpwatch.feeds.session import FeedContext

log = logging.getLogger(__name__)

DOUBLE = 1000  # connection n's double has the number n + DOUBLE
LOOK_S = 0.25  # between looks at symbols that move to another connection
NAMED = 3  # symbols named in a message
DOUBLES_LOOK_S = 2.0  # between looks at doubles without a trade
DELIVERED_WITHIN_NS = 5 * NS_PER_S  # a trade reaches both connections of a pair within this time


class VenueConnections:
    """The feeds of one venue.

    doubled: returns the symbols to read twice. is_left_out: whether the venue rejects a symbol. traded_at: the time of a symbol's
    last trade in ns, 0 without one.
    """

    def __init__(self, context: FeedContext, placement: Placement, spawn: Callable[[str, Callable[[], None]], None],
                 stopping: Event, doubled: Callable[[], set[str]], is_left_out: Callable[[str], bool],
                 traded_at: Callable[[str], int]) -> None:
        self._context, self._placement, self._spawn, self._stopping = context, placement, spawn, stopping
        self._doubled, self._is_left_out, self._traded_at = doubled, is_left_out, traded_at
        self.feeds: list[Feed] = []
        self.doubles: dict[int, Feed] = {}  # by the number of the connection that they double
        self._not_doubled: dict[str, str] = {}  # symbol -> why the venue rejected it on the second connection
        self._leaving: dict[str, tuple[int, float]] = {}  # symbol -> its old connection, and when that may drop it (0: unknown)
        self._following = False

    @property
    def all(self) -> list[Feed]:
        """Every feed, doubles included."""
        return [*self.feeds, *self.doubles.values()]

    def granted(self) -> set[str]:
        """Return the symbols that are granted on any connection."""
        return set[str]().union(*(feed.granted for feed in self.all))

    def is_granted(self, symbol: str) -> bool:
        """Return whether the symbol is granted on its connection or on that one's double."""
        return any(symbol in feed.granted for feed in self.all if symbol in feed.symbols)

    def read_since(self, symbol: str) -> float:
        """Return since when any connection has read a symbol without interruption, in ns; infinite if none reads it."""
        return min((feed.read_since(symbol) for feed in self.all), default=math.inf)

    def heard_at_ns(self, symbols: Collection[str]) -> int:
        """Return the time of the last data on the quietest connection of these symbols, in ns; 0 if one is down.

        If several connections have a symbol, the latest data counts.
        """
        heard = {feed.number: feed.heard_at_ns() for feed in self.all if not feed.granted.isdisjoint(symbols)}
        return min((max((heard[feed.number] for feed in self.all if symbol in feed.granted), default=0) for symbol in symbols),
                   default=self._context.clock.now_ns())

    def read_beside(self, number: int, symbol: str) -> bool:
        """Return whether the symbol is granted on another connection."""
        return any(symbol in feed.granted for feed in self.all if feed.number != number and feed.established_at_ns)

    def follow(self, down_since_ns: int, began_ns: int) -> None:
        """Bring the feeds in line with the placement; new feeds get the two times (see Feed)."""
        for number, place in enumerate(self._placement.places):
            if number < len(self.feeds):
                self._change(self.feeds[number], place.symbols)
            else:
                self.feeds.append(self._new_feed(number, place.symbols, down_since_ns, began_ns))
        self._follow_doubles()
        if self._leaving:
            self._begin_run()

    def _new_feed(self, number: int, symbols: Collection[str], down_since_ns: int = 0, began_ns: int = 0,
                  follows: Feed | None = None) -> Feed:
        feed = Feed(self._context, number, symbols, down_since_ns, began_ns, follows)
        self._spawn(f"feed {self._context.venue.name}#{number}", feed.run)
        return feed

    def _change(self, feed: Feed, wanted: set[str]) -> None:
        """Subscribe new symbols on this connection; one that moves away stays until it is read elsewhere, if there is room."""
        add, drop = wanted - feed.symbols, feed.symbols - wanted
        for symbol in wanted & self._leaving.keys():
            if self._leaving[symbol][0] == feed.number:
                del self._leaving[symbol]  # it has come back
        moving = {symbol for symbol in drop if symbol in self._placement and symbol in feed.granted}
        limits = self._context.venue.limits
        if add and (limits.connection_bytes or len(feed.symbols | add) > limits.symbols_per_connection):
            moving.clear()
        for symbol in drop - moving:
            self._leaving.pop(symbol, None)
        for symbol in moving:
            self._leaving.setdefault(symbol, (feed.number, 0.0))
        feed.change(add, drop - moving)

    def _follow_doubles(self) -> None:
        """Open, change and close doubles according to the symbols to read twice."""
        doubled = self._doubled() - self._not_doubled.keys()
        for number, place in enumerate(self._placement.places):
            wanted, feed = place.symbols & doubled, self.doubles.get(number)
            if feed is None:
                if not wanted:
                    continue
                self._context.buffer.doubled = True
                self.doubles[number] = self._new_feed(DOUBLE + number, wanted, follows=self.feeds[number])
                self._begin_run()
            else:  # a symbol that the venue rejects only on the first connection is still read here
                self._context.buffer.doubled |= bool(wanted)
                wanted |= {symbol for symbol in feed.symbols if symbol in feed.granted and self._is_left_out(symbol)}
                feed.change(wanted - feed.symbols, feed.symbols - wanted)
        if self._context.buffer.doubled and not any(double.symbols for double in self.doubles.values()):
            self._context.buffer.doubled = False

    def ask_doubles_again(self) -> None:
        """Request symbols again that were rejected on second connections."""
        self._not_doubled.clear()

    def reject(self, number: int, symbols: Collection[str], reason: str) -> bool:
        """Leave out symbols that the venue rejects on a double; return whether `number` is a double."""
        if number < DOUBLE:
            return False
        self._not_doubled |= dict.fromkeys(symbols, reason)
        self.doubles[number - DOUBLE].symbols -= set(symbols)
        return True

    def not_doubled(self) -> str:
        """Return a text about symbols that one connection reads instead of two, with the venue's reason; empty without any."""
        wanted = sorted(self._doubled() & self._not_doubled.keys())
        if not wanted:
            return ""
        named = ", ".join(wanted[:NAMED]) + (f" and {len(wanted) - NAMED} more" if len(wanted) > NAMED else "")
        return f"{named}: on one connection instead of two, as the venue rejects the second: {self._not_doubled[wanted[0]]}"

    def _begin_run(self) -> None:
        if not self._following:
            self._following = True
            self._spawn(f"connections {self._context.venue.name}", self._run)

    def _run(self) -> None:
        try:
            while self._leaving or self.doubles:
                self.release_moved()
                self.leave_silent()
                if self._stopping.wait(LOOK_S if self._leaving else DOUBLES_LOOK_S):
                    return
        finally:
            self._following = False

    def release_moved(self) -> None:
        """Unsubscribe moved symbols from their old connections once the new ones have had them for a while."""
        now = self._context.clock.monotonic()
        for symbol, (number, drop_at) in list(self._leaving.items()):
            gone = symbol not in self._placement
            if not gone and not drop_at:
                if self._is_read(symbol):
                    lag_s = abs(self._context.buffer.lag_ns(self._context.clock.now_ns())) / NS_PER_S
                    self._leaving[symbol] = number, now + max(OVERLAP_S, min(OVERLAP_LAGS * lag_s, LONGEST_OVERLAP_S))
            elif not gone and not self._is_read(symbol):
                self._leaving[symbol] = number, 0.0  # the new connection is down, so the old one keeps the symbol
            elif gone or now >= drop_at:
                del self._leaving[symbol]
                self.feeds[number].change((), [symbol])

    def _is_read(self, symbol: str) -> bool:
        """Return whether the connection that the symbol belongs to now is up and has it."""
        feed = self.feeds[self._placement.connection_of(symbol)]
        return bool(feed.established_at_ns) and symbol in feed.granted

    def leave_silent(self) -> None:
        """Reopen each connection of a pair that has had no trade since it came up although the other one has."""
        context = self._context
        now, now_ns = context.clock.monotonic(), context.clock.now_ns()
        for number, double in self.doubles.items():
            for feed in (self.feeds[number], double):
                if not feed.established_at_ns or not feed.without_trades(now):
                    continue
                since_ns = feed.established_at_ns + context.slack_ns()
                if any(since_ns < self._traded_at(symbol) < now_ns - DELIVERED_WITHIN_NS
                       for symbol in double.granted if symbol in feed.granted):
                    feed.leave("subscribed and silent, although the connection beside it has trades")

    def rows(self, now: float, now_ns: int) -> list[dict[str, Any]]:
        """Return a row for each connection that has symbols; an age is None before the first connection or trade."""
        def age_s(since_ns: int) -> float | None:
            return round((now_ns - since_ns) / NS_PER_S, 3) if since_ns else None

        return [{"connection": feed.number, "doubles": feed.double.number if feed.double else None, "up": feed.up,
                 "symbols": len(feed.symbols), "granted": len(feed.granted), "peer": feed.peer,
                 "age_s": age_s(feed.established_at_ns), "last_trade_s": age_s(feed.traded_at_ns),
                 "down_s": round(feed.down_s(now), 1), "problem": "" if feed.up else feed.trouble}
                for feed in sorted(self.all, key=lambda feed: feed.number) if feed.symbols]

    def pairs(self) -> list[dict[str, Any]]:
        """Return a row for each pair of connections: which one was first, how often (in a sample), and by how much."""
        found = []
        for number, double in self.doubles.items():
            first = self.feeds[number]
            if double.symbols:
                lead, double_lead = (self._context.buffer.races.lead(feed.source, beside.source)
                                     for feed, beside in ((first, double), (double, first)))
                found.append({"connection": number, "double": double.number, "symbols": len(double.symbols),
                              "up": [first.up, double.up], "addresses": [first.peer, double.peer],
                              "first": [lead[0], double_lead[0]], "lead_ms": [round(lead[1], 3), round(double_lead[1], 3)]})
        self._context.buffer.races.keep([feed.source for feed in self.all])
        return found


def symbols_of(catalogue: Catalogue, venue: tuple[str, str]) -> Callable[[str], set[str]]:
    """Return the function that finds a coin's symbols on a venue."""
    def found(coin: str) -> set[str]:
        return {catalogue.instruments[number].symbol for number in catalogue.matching(coin) if catalogue.venues[number] == venue}
    return found


def symbols_read(feeds: Sequence[Feed]) -> int:
    """Return how many symbols are granted on any of these connections, each counted once."""
    return len(set[str]().union(*(feed.granted for feed in feeds)))
