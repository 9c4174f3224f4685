"""Reads some slices of a venue's symbols while other collectors read the others; the division may change at any time.

Every symbol has its slice (`pumpwatch.slicing`). A slice is taken up in one of two ways. `beside`: another collector reads it
until this one delivers, so nothing is missing. Otherwise nobody has read it since some moment, and a gap covers its symbols from
then until they are granted. Leaving a slice causes no gap, because another collector delivers it. Symbols of slices that are not
read here are neither placed, nor watched, nor missing.

A venue that cannot unsubscribe keeps sending the symbols of a slice that was left. The connections with these symbols are
renewed, one after the other, without a gap for the other symbols.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass, field

import numpy as np

from pumpwatch.catalogue import Catalogue
from pumpwatch.clock import NS_PER_S
from pumpwatch.feeds.connections import VenueConnections
from pumpwatch.feeds.hand_over import LONGEST_OVERLAP_S, OVERLAP_LAGS, OVERLAP_S
from pumpwatch.feeds.placement import Placement
from pumpwatch.feeds.rejected_symbols import RejectedSymbols
from pumpwatch.feeds.session import FeedContext
from pumpwatch.feeds.silent_symbols import LastTimes, SilentSymbolWatch
from pumpwatch.feeds.unread_symbols import UnreadSymbols
from pumpwatch.model import Instrument
from pumpwatch.slicing import slice_of

log = logging.getLogger(__name__)

UNREAD = "its collector ended, not read here yet"
ELSEWHERE = "another collector reads the symbols now"


class Slices:
    """The slices of one venue that are read here. count: all slices of the venue; 0: it is not divided, and all is read here."""

    def __init__(self, count: int = 0) -> None:
        self.count = count
        self.numbers: set[int] = set()
        self._of: dict[str, int] = {}  # a cache, because it is looked up often

    @property
    def divided(self) -> bool:
        """Return whether other collectors may read some of the symbols."""
        return self.count > 0

    def of(self, symbol: str) -> int:
        """Return the number of a symbol's slice, 0 if the venue is not divided."""
        if not self.count:
            return 0
        number = self._of.get(symbol)
        if number is None:
            number = self._of[symbol] = slice_of(symbol, self.count)
        return number

    def reads(self, symbol: str) -> bool:
        """Return whether a symbol belongs to a slice that is read here."""
        return not self.count or self.of(symbol) in self.numbers


@dataclass(slots=True)
class Unwatched:
    """Symbols whose watching ended at since_ns (0: none). every: all symbols that an earlier run watched."""

    since_ns: int = 0
    symbols: set[str] = field(default_factory=set)
    every: bool = False

    def add(self, symbols: Collection[str], at_ns: int) -> None:
        """Add symbols that are not watched from `at_ns` on."""
        if symbols:
            self.since_ns = self.since_ns or at_ns
            self.symbols.update(symbols)


@dataclass(frozen=True, slots=True)
class SlicedParts:
    """The parts of a venue's feeds that a change of slices concerns. follow: brings the connections in line with the placement.

    resumed: called with the numbers of instruments that another collector may have read until now.
    """

    placement: Placement
    connections: VenueConnections
    rejected: RejectedSymbols
    unread: UnreadSymbols
    silence: SilentSymbolWatch
    last_times: LastTimes
    resumed: Callable[[Collection[int]], None]
    follow: Callable[[], None]


class SliceReader:
    """Takes up and leaves the slices of one venue. Every method returns at once."""

    def __init__(self, slices: Slices, context: FeedContext, catalogue: Catalogue, parts: SlicedParts,
                 down_since_ns: int) -> None:
        self._slices, self._context, self._catalogue, self._parts = slices, context, catalogue, parts
        self._down_since_ns = down_since_ns  # when the previous run ended, 0 without one
        self._listed: dict[int, list[Instrument]] = {}  # the latest list by slice
        self._pending: dict[int, int] = {}  # slices without a list yet -> since when nobody reads them, 0: unknown
        self._has_list = False

    def read(self, number: int, since_ns: int, *, beside: bool = False) -> None:
        """Read a slice from now on, or update since when nobody read it. See `VenueFeeds.read_slice`."""
        fresh = number not in self._slices.numbers
        self._slices.numbers.add(number)
        if not self._has_list:
            if not beside:
                known_ns = self._pending.get(number, 0)
                self._pending[number] = min(known_ns, since_ns) if known_ns and since_ns else known_ns or since_ns
            return
        if fresh:
            self._place(number)
        if not beside:
            self._record_unread(number, since_ns)

    def remember_list(self, chosen: Iterable[Instrument]) -> list[Instrument]:
        """Remember the venue's latest list, by slice; return the instruments that are read here."""
        self._listed = {}
        for instrument in chosen:
            self._listed.setdefault(self._slices.of(instrument.symbol), []).append(instrument)
        return [instrument for number in sorted(self._listed) if not self._slices.divided or number in self._slices.numbers
                for instrument in self._listed[number]]

    def first_list_placed(self) -> None:
        """Begin the gaps of slices that were taken up before the first list, which is placed now."""
        if self._has_list:
            return
        self._has_list = True
        for number in self._slices.numbers:
            self._resume(self.symbols(number))
        for number, since_ns in self._pending.items():
            if number in self._slices.numbers:
                self._record_unread(number, since_ns)
        self._pending.clear()

    def symbols(self, number: int) -> list[str]:
        """Return the symbols of a slice in the latest list."""
        return [instrument.symbol for instrument in self._listed.get(number, ())]

    @property
    def elsewhere(self) -> list[str]:
        """The listed symbols of the slices that are not read here."""
        if not self._slices.divided:
            return []
        return [instrument.symbol for number, listed in self._listed.items() if number not in self._slices.numbers
                for instrument in listed]

    def leave(self, number: int) -> None:
        """Stop reading a slice: another collector delivers it."""
        self._pending.pop(number, None)
        if number not in self._slices.numbers:
            return
        self._slices.numbers.discard(number)
        parts, of = self._parts, self._slices.of
        gone = {symbol for symbol in parts.placement.volumes if of(symbol) == number}
        left = gone.union(self.symbols(number))
        if not left:
            return
        holders = [feed for feed in parts.connections.all if feed.granted & left]
        for feed in parts.connections.all:
            feed.gap.leave(left, ELSEWHERE)
        parts.silence.leave(left)
        for symbol in gone:
            parts.placement.remove(symbol)
        parts.rejected.forget(left)
        self._context.ever_granted.difference_update(left)
        parts.follow()
        parts.unread.record_gaps()
        if not self._context.venue.drops:
            for feed in holders:
                feed.renew("another collector reads a part of its symbols, and the venue has no request to unsubscribe them")
        log.info("slice left venue=%s slice=%d symbols=%d", self._context.venue.name, number, len(gone))

    def delivers(self, number: int) -> bool:
        """Return whether every symbol of a slice has been granted for long enough.

        A trade that the venue sent before the subscription may reach the other reader later, by up to the venue's lag.
        """
        lag_s = abs(self._context.buffer.lag_ns(self._context.clock.now_ns())) / NS_PER_S
        overlap_s = max(OVERLAP_S, min(OVERLAP_LAGS * lag_s, LONGEST_OVERLAP_S))
        return self.read_since(number) <= self._context.clock.now_ns() - int(overlap_s * NS_PER_S)

    def read_since(self, number: int) -> float:
        """Return since when every symbol of a slice has been read, in ns; infinite if one is not read, 0 without symbols."""
        if number not in self._slices.numbers or not self._has_list:
            return math.inf
        placement, connections = self._parts.placement, self._parts.connections
        return max((connections.read_since(symbol) for symbol in self.symbols(number) if symbol in placement), default=0)

    def heard_at_ns(self, number: int) -> int:
        """Return up to when every symbol of a slice was certainly read, in ns; 0 if a connection is down.

        That is the last data on its quietest connection. Later data may be lost without a sign if this process is killed now.
        """
        placement = self._parts.placement
        return self._parts.connections.heard_at_ns([symbol for symbol in self.symbols(number) if symbol in placement])

    def missed_since(self, since_ns: int, *, killed: bool) -> None:
        """Begin the gaps of symbols that were not granted by `since_ns`, when the previous process on this folder ended."""
        for number in self._slices.numbers if self._has_list else ():
            self._record_unread(number, since_ns, killed=killed)

    def _place(self, number: int) -> None:
        left_out = self._parts.rejected.left_out
        came = self._parts.placement.add(instrument for instrument in self._listed.get(number, ())
                                         if instrument.symbol not in left_out)
        self._resume(came)
        self._parts.follow()
        log.info("slice taken up venue=%s slice=%d symbols=%d", self._context.venue.name, number, len(came))

    def _resume(self, symbols: Iterable[str]) -> None:
        ids = self._ids()
        self._parts.resumed([ids[symbol] for symbol in symbols if symbol in ids])

    def _ids(self) -> dict[str, int]:
        venue = self._context.venue
        return dict(self._catalogue.ids_of((venue.exchange, venue.market_type)))

    def _record_unread(self, number: int, since_ns: int, *, killed: bool = False) -> None:
        """Begin the gap of the symbols that nobody has read since `since_ns`; 0: since this collector last read them."""
        symbols = [symbol for symbol in self.symbols(number)
                   if symbol in self._parts.placement or symbol in self._parts.rejected]
        known, since_ns = since_ns > 0, since_ns or self._last_read_ns(symbols)
        if not since_ns:
            return  # neither another collector nor an earlier run here is known
        if killed or not known:  # the other process may not have noticed yet that a connection was dead
            since_ns -= int(self._context.venue.stale_after_s * NS_PER_S)
        unread = [symbol for symbol in symbols if self._parts.connections.read_since(symbol) > since_ns]
        self._parts.unread.add_together(unread, since_ns - self._context.slack_ns(), UNREAD)

    def _last_read_ns(self, symbols: Collection[str]) -> int:
        """Return the time of the newest stored trade of these symbols, or else the end of the previous run."""
        if any(self._parts.connections.read_since(symbol) < math.inf for symbol in symbols):
            return 0  # they are read here, although Redis does not know it
        ids = self._ids()
        numbers = np.array([ids[symbol] for symbol in symbols if symbol in ids], np.int32)
        return int(self._parts.last_times(numbers).max(initial=0)) or self._down_since_ns
