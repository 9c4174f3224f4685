"""Which symbols are read on which connection of a venue.

Placement is stable: a symbol stays where it is as long as it trades, so a refresh disturbs no connection that does not
need it. Newcomers go to the connection with the least recent volume that has room; when none has, a new one is opened.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from typing import Any

from pumpwatch.config import VenueConfig
from pumpwatch.errors import REFUSALS, ServiceUnavailable
from pumpwatch.model import HttpRequest, Instrument, Limits, Venue

USUAL_SYMBOLS = 100  # on one connection where the venue allows more: a lost connection then loses little
SLOW_CONNECTS_PER_S = 1.0  # below that many connections would take long to stand, first and after an outage: they are fuller
HEADROOM = 0.9  # of a venue's own limit, for newcomers
PAGES = 100  # a list that never ends is no list
LONGEST_NAME = 100  # characters of a symbol
SHRUNKEN = 0.8  # a list this much shorter than the one before is taken for a broken answer


@dataclass(slots=True)
class Place:
    """One connection's share."""

    symbols: set[str]
    volume: float = 0.0


class Roster:
    """The placement of one venue's symbols. `per_connection` lowers the venue's limit; 0 keeps the usual number."""

    def __init__(self, limits: Limits, per_connection: int = 0) -> None:
        usual = int(limits.symbols_per_connection * HEADROOM)
        if limits.connects_per_second >= SLOW_CONNECTS_PER_S:
            usual = min(usual, USUAL_SYMBOLS)
        self.capacity = max(1, min(per_connection or usual, limits.symbols_per_connection))
        self.places: list[Place] = []
        self.kept: set[str] = set()  # read although the last list did not have them
        self._where: dict[str, int] = {}
        self._volume: dict[str, float] = {}

    def __contains__(self, symbol: str) -> bool:
        return symbol in self._where

    def __len__(self) -> int:
        return len(self._where)

    def refresh(self, instruments: Sequence[Instrument], trades: Callable[[str], bool] = lambda symbol: False,
                ) -> tuple[set[str], set[str]]:
        """Take the venue's current list; return (symbols that came, symbols that went).

        A broken answer must not unsubscribe what trades: an empty or suddenly much shorter list removes nothing, and no list
        a symbol that `trades`.
        """
        listed = {one.symbol: one.volume for one in instruments}
        missing = set(self._where) - listed.keys()
        shrunken = len(listed) < SHRUNKEN * len(self._where)
        self.kept = {symbol for symbol in missing if shrunken or trades(symbol)}
        gone = missing - self.kept
        for symbol in gone:
            self.remove(symbol)
        came = [symbol for symbol in listed if symbol not in self._where]
        for symbol in sorted(came, key=lambda name: -listed[name]):
            self._place(symbol, listed[symbol], len(listed))
        return set(came), gone

    def remove(self, symbol: str) -> None:
        """Take a symbol off its connection: delisted, or refused."""
        number = self._where.pop(symbol, None)
        if number is not None:
            self.places[number].symbols.discard(symbol)
            self.places[number].volume -= self._volume.pop(symbol)

    def move(self, symbol: str) -> None:
        """Put a symbol on another connection than its own, a new one where no other has room."""
        number = self._where.get(symbol)
        if number is not None:
            volume = self._volume[symbol]
            self.remove(symbol)
            self._place(symbol, volume, len(self), avoid=number)

    def _place(self, symbol: str, volume: float, total: int, avoid: int = -1) -> None:
        wanted = -(-total // self.capacity)
        while len(self.places) < wanted:
            self.places.append(Place(set()))
        with_room = [number for number, place in enumerate(self.places)
                     if len(place.symbols) < self.capacity and number != avoid]
        if not with_room:
            self.places.append(Place(set()))
            with_room = [len(self.places) - 1]
        number = min(with_room, key=lambda n: (self.places[n].volume, len(self.places[n].symbols)))
        self.places[number].symbols.add(symbol)
        self.places[number].volume += volume
        self._where[symbol], self._volume[symbol] = number, volume


def fetch_instruments(venue: Venue, ask: Callable[[HttpRequest], bytes],
                      on_left_out: Callable[[str], None] = lambda one: None) -> list[Instrument]:
    """Ask a venue for its instruments, every page. Raises ServiceUnavailable when it does not answer with such a list.

    A row that no instrument can have (no name, a contract of nothing) is left out and told to on_left_out; of two with one
    symbol the last counts.
    """
    bodies: list[bytes] = []
    for request in venue.instruments_requests:
        page: HttpRequest | None = request
        while page is not None and len(bodies) < PAGES:
            bodies.append(ask(page))
            page = _next_page(venue, bodies[-1])
    try:
        listed = venue.parse_instruments(bodies)
    except REFUSALS as error:
        raise ServiceUnavailable(
            f"not an instrument list ({_shown(bodies)}): {_in_words(error)}") from error
    for one in listed:
        if not _possible(one):
            on_left_out(repr(one)[:300])
    possible = {one.symbol: one for one in listed if _possible(one)}
    if not possible:
        raise ServiceUnavailable(f"an instrument list without an instrument ({_shown(bodies)})")
    return list(possible.values())


def _shown(bodies: Sequence[bytes]) -> str:
    """Return how much it was and how it begins: a page in HTML says more than a parser about it."""
    size = sum(map(len, bodies))
    return f"{size:,} bytes, {bodies[0][:60]!r}" if size else "0 bytes"


def _in_words(error: Exception) -> str:
    return f"{type(error).__name__} {' '.join(str(error).split())}"[:200]


def _possible(one: Instrument) -> bool:
    """Return whether it can be subscribed to, and its trades be scaled."""
    names: tuple[Any, ...] = (one.symbol, one.base, one.quote)
    sizes: tuple[Any, ...] = (one.contract_size, one.price_divisor)
    volume: Any = one.volume
    return (all(isinstance(name, str) and 0 < len(name) <= LONGEST_NAME and name.isprintable() for name in names)
            and all(isinstance(size, (int, float)) and 0 < size < math.inf for size in sizes)
            and isinstance(volume, (int, float)) and 0 <= volume < math.inf)


def _next_page(venue: Venue, body: bytes) -> HttpRequest | None:
    if venue.next_instruments is None:
        return None
    try:
        return venue.next_instruments(body)
    except REFUSALS as error:
        raise ServiceUnavailable(f"not a page of an instrument list ({_shown([body])}): {_in_words(error)}") from error


def only(instruments: Iterable[Instrument], options: VenueConfig) -> list[Instrument]:
    """Return the instruments named in the config, or all when it names none, without those that it excludes."""
    wanted, excluded = set(options.symbols), set(options.excluded)
    return [one for one in instruments if (not wanted or one.symbol in wanted) and one.symbol not in excluded]


def unlisted(instruments: Iterable[Instrument], symbols: Sequence[str]) -> dict[str, str]:
    """Return each of `symbols` that no instrument has, with the nearest one that exists (empty: nothing is near)."""
    listed = {one.symbol for one in instruments}
    missing = [symbol for symbol in symbols if symbol not in listed]
    plain = {_plain(symbol): symbol for symbol in sorted(listed)} if missing else {}
    return {symbol: next((plain[name] for name in get_close_matches(_plain(symbol), plain, 1)), "") for symbol in missing}


def _plain(symbol: str) -> str:
    return "".join(letter for letter in symbol.upper() if letter.isalnum())
