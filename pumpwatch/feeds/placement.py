"""Decides which symbols are read on which connection of a venue.

Placement is stable: a symbol stays on its connection as long as it trades, so that a refresh does not disturb connections
without need. A new symbol goes to the connection with the least volume that has room; if none has room, a new connection is
opened. A connection is first filled to its usual number; a tenth of its capacity stays free for new symbols.
"""

from __future__ import annotations

import dataclasses
import heapq
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from pumpwatch.feeds.subscriptions import added_bytes
from pumpwatch.model import Instrument
from pumpwatch.venue import Venue

USUAL_SYMBOLS = 100  # on one connection, if the venue allows more; a lost connection then loses little
SLOW_CONNECTS_PER_S = 1.0  # below that, many connections would take long to come up, so they are fuller
HEADROOM = 10  # a tenth of a connection is kept for new symbols
SHRUNKEN = 0.8  # a list this much shorter than the one before is considered broken
AGREED = 6  # this many consecutive lists without the same symbols are believed: half an hour at the usual refresh
DROPPED_AFTER = 3  # consecutive lists without a symbol; one or two may omit it by mistake


@dataclass(slots=True)
class Slot:
    """The symbols of one connection. still: removed symbols that it has until it is reopened, if the venue cannot unsubscribe."""

    most: int  # symbols that it can hold
    still: int = 0
    symbols: set[str] = dataclasses.field(default_factory=set)
    volume: float = 0.0
    bytes: int = 0  # of its subscriptions

    @property
    def held(self) -> int:
        """Return how many symbols it holds."""
        return len(self.symbols) + self.still


class Placement:
    """The placement of one venue's symbols.

    per_connection: lowers the venue's limit; 0 keeps the usual number.
    capacity: symbols that a connection gets at first. most: symbols that it may have later.
    source_of: returns for a place a number that changes when its connection is reopened.
    """

    def __init__(self, venue: Venue, per_connection: int = 0, source_of: Callable[[int], int] = lambda number: 0) -> None:
        limits = venue.limits
        most = min(per_connection or limits.symbols_per_connection, limits.symbols_per_connection)
        self.capacity = max(1, most - most // HEADROOM)
        if not per_connection and limits.connects_per_second >= SLOW_CONNECTS_PER_S:
            self.capacity = min(self.capacity, USUAL_SYMBOLS)
        self.most = min(most, self.capacity + -(-self.capacity // (HEADROOM - 1)))
        self._most_bytes = limits.connection_bytes or math.inf
        self._venue = venue
        self.places: list[Slot] = []
        self.kept: set[str] = set()  # read although they are missing from the last lists
        self.leaving: set[str] = set()  # missing from the last list; the next lists decide
        self._absent: dict[str, int] = {}  # symbol -> consecutive lists without it
        self._missing: set[str] = set()  # from the last list
        self._agreed = 0  # consecutive lists without exactly these
        self._where: dict[str, int] = {}
        self._volume: dict[str, float] = {}
        self._bytes: dict[str, int] = {}
        self._source_of = source_of
        # Removed symbols of a venue that cannot unsubscribe: place and source of the connection that has them until it is
        # reopened. A symbol that returns is placed there.
        self._still_on: dict[str, tuple[int, int]] = {}

    def __contains__(self, symbol: str) -> bool:
        return symbol in self._where

    def __len__(self) -> int:
        return len(self._where)

    def refresh(self, instruments: Sequence[Instrument], trades: Callable[[str], bool] = lambda symbol: False,
                ) -> tuple[set[str], set[str]]:
        """Apply the venue's current list; return (symbols added, symbols removed).

        A broken answer must not unsubscribe symbols that trade. A symbol is removed after DROPPED_AFTER lists without it. An
        empty or suddenly much shorter list removes nothing until AGREED lists agree. A symbol for which `trades` is true is never
        removed. A volume of 0 does not replace a known one.
        """
        listed = {instrument.symbol: instrument.volume for instrument in instruments}
        missing = set(self._where) - listed.keys()
        self._agreed = self._agreed + 1 if missing == self._missing else 1
        self._missing = missing
        shrunken = len(listed) < SHRUNKEN * len(self._where) and self._agreed < AGREED
        self._absent = {symbol: self._absent.get(symbol, 0) + 1 for symbol in missing}
        self.kept = {symbol for symbol in missing if shrunken or trades(symbol)}
        self.leaving = {symbol for symbol in missing - self.kept if self._absent[symbol] < DROPPED_AFTER}
        gone = missing - self.kept - self.leaving
        for symbol in gone:
            self.remove(symbol)
        self._update_volumes(listed)
        came = {symbol: volume for symbol, volume in listed.items() if symbol not in self._where}
        self._place_all(came)
        return set(came), gone

    def add(self, instruments: Iterable[Instrument]) -> set[str]:
        """Place instruments beside those that are placed; return the symbols added."""
        volumes = {instrument.symbol: instrument.volume for instrument in instruments if instrument.symbol not in self._where}
        self._place_all(volumes)
        return set(volumes)

    @property
    def volumes(self) -> Mapping[str, float]:
        """The volume of each placed symbol."""
        return self._volume

    def remove(self, symbol: str) -> None:
        """Remove a symbol that was delisted or rejected from its connection."""
        number = self._where.get(symbol)
        if number is not None:
            self._take_off(symbol)
            if not self._venue.drops:
                self._still_on[symbol] = number, self._source_of(number)
                self.places[number].still += 1

    def _take_off(self, symbol: str) -> None:
        place = self.places[self._where.pop(symbol)]
        place.symbols.discard(symbol)
        place.volume = max(0.0, place.volume - self._volume.pop(symbol))
        place.bytes -= self._bytes.pop(symbol)

    def connection_of(self, symbol: str) -> int:
        """Return the number of the connection that a symbol is on."""
        return self._where[symbol]

    def move(self, symbol: str) -> None:
        """Move a symbol to another connection, a new one if no other has room."""
        if symbol in self._where:
            self._clear(self._where[symbol], [symbol])

    def mark_full(self, number: int, symbols: Iterable[str]) -> None:
        """Place these symbols on other connections, and limit this one to its remaining symbols."""
        place, without = self.places[number], set(symbols)
        place.most = max(1, min(place.most, len(place.symbols - without) + place.still))
        self._clear(number, without)

    def _clear(self, number: int, symbols: Iterable[str]) -> None:
        """Place symbols of one connection on others."""
        moved = {symbol: self._volume[symbol] for symbol in symbols if self._where.get(symbol) == number}
        for symbol in moved:
            self._take_off(symbol)
        self._place_all(moved, number)

    def _update_volumes(self, listed: Mapping[str, float]) -> None:
        """Update the volumes of placed symbols."""
        for symbol, number in self._where.items():
            if volume := listed.get(symbol):
                self.places[number].volume += volume - self._volume[symbol]
                self._volume[symbol] = volume

    def _place_all(self, volumes: Mapping[str, float], away_from: int = -1) -> None:
        """Place new symbols, the busiest first; open as few connections as leave headroom on each."""
        self._forget_reopened()
        sizes = {symbol: added_bytes(self._venue, symbol) if self._most_bytes < math.inf else 0 for symbol in volumes}
        for symbol in volumes.keys() & self._still_on.keys():
            number, _ = self._still_on.pop(symbol)
            self.places[number].still -= 1
            self._put(symbol, volumes[symbol], sizes.pop(symbol), number)
        volumes = {symbol: volume for symbol, volume in volumes.items() if symbol in sizes}
        others = [place for number, place in enumerate(self.places) if number != away_from]
        wanted = max(
            _connections_needed(len(volumes), [(place.held, self._usual(place), place.most) for place in others], self.capacity),
            _connections_needed(sum(sizes.values()), [(place.bytes, self._usual_bytes, self._most_bytes) for place in others],
                     self._usual_bytes))
        self.places += [Slot(self.most) for _ in range(wanted)]
        largest = max(sizes.values(), default=0)
        ranks = [self._rank(number, largest) for number in range(len(self.places)) if number != away_from]
        heapq.heapify(ranks)
        for symbol in sorted(volumes, key=lambda name: -volumes[name]):
            while ranks and not self._has_room(self.places[ranks[0][-1]], largest):
                heapq.heappop(ranks)
            if not ranks:
                self.places.append(Slot(self.most))
                ranks.append(self._rank(len(self.places) - 1, largest))
            number = ranks[0][-1]
            self._put(symbol, volumes[symbol], sizes[symbol], number)
            heapq.heapreplace(ranks, self._rank(number, largest))

    def _rank(self, number: int, size: int) -> tuple[bool, float, int, int]:
        """Return a sort key for filling: connections below their usual number come first, then those with less volume."""
        place = self.places[number]
        usual = place.held < self._usual(place) and place.bytes + size < self._usual_bytes
        return not usual, place.volume, place.held, number

    def _has_room(self, place: Slot, size: int) -> bool:
        return place.held < place.most and place.bytes + size < self._most_bytes

    def _forget_reopened(self) -> None:
        """Forget removed symbols of reopened connections, which do not have them any more."""
        for symbol, (number, source) in list(self._still_on.items()):
            if source != self._source_of(number):
                del self._still_on[symbol]
                self.places[number].still -= 1

    def _usual(self, place: Slot) -> int:
        return min(self.capacity, place.most)

    @property
    def _usual_bytes(self) -> float:
        return self._most_bytes * (1 - 1 / HEADROOM)

    def _put(self, symbol: str, volume: float, size: int, number: int) -> None:
        place = self.places[number]
        place.symbols.add(symbol)
        place.volume += volume
        place.bytes += size
        self._where[symbol], self._volume[symbol], self._bytes[symbol] = number, volume, size


def _connections_needed(wanted: float, connections: Sequence[tuple[float, float, float]], usual: float) -> int:
    """Return how many new connections are needed: 0 if everything fits, otherwise enough for each to keep its headroom.

    connections: (current, usual, maximum) of each connection. usual: that of a new one.
    """
    if wanted <= sum(max(0, most - has) for has, _, most in connections):
        return 0
    return math.ceil((wanted - sum(max(0, usually - has) for has, usually, _ in connections)) / usual)
