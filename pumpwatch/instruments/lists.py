"""What a venue lists: its instruments, asked for page by page, with only what can be one; which of them the config chooses."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from difflib import get_close_matches
from typing import Any

from pumpwatch.catalogue import coin_of, split_multiplier
from pumpwatch.config import VenueConfig
from pumpwatch.errors import REFUSALS, ServiceUnavailable
from pumpwatch.model import HttpRequest, Instrument, Venue, Volumes
from pumpwatch.net.texts import one_line

PAGES = 100  # a list that never ends is no list
LONGEST_NAME = 100  # characters of a symbol


def fetch_instruments(venue: Venue, ask: Callable[[HttpRequest], bytes],
                      on_left_out: Callable[[str], None] = lambda one: None,
                      pages: list[bytes] | None = None) -> list[Instrument]:
    """Ask a venue for its instruments, every page. Raises ServiceUnavailable when it does not answer with such a list.

    A row that no instrument can have (no name, a contract of nothing) is left out and told to on_left_out; of two with one
    symbol the last counts. pages: is filled with the bodies of the list.
    """
    bodies = [] if pages is None else pages
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
    found: dict[str, Instrument] = {}
    for one in listed:
        if possible(one):
            found[one.symbol] = one
        else:
            on_left_out(repr(one)[:300])
    if not found:
        raise ServiceUnavailable(f"an instrument list without an instrument ({_shown(bodies)})")
    return list(found.values())


def fetch_volumes(volumes: Volumes, ask: Callable[[HttpRequest], bytes]) -> dict[str, float]:
    """Ask what traded lately; whatever cannot be a volume is left out. Raises ServiceUnavailable where that is not told."""
    try:
        told = volumes.parse(ask(volumes.request))
        return {symbol: volume for symbol, volume in told.items() if _possible_volume(volume)}
    except REFUSALS as error:
        raise ServiceUnavailable(_in_words(error)) from error


def _possible_volume(volume: Any) -> bool:
    return isinstance(volume, (int, float)) and 0 <= volume < math.inf


def _shown(bodies: Sequence[bytes]) -> str:
    """Return how much it was and how it begins: a page in HTML says more than a parser about it."""
    size = sum(map(len, bodies))
    return f"{size:,} bytes, {bodies[0][:60]!r}" if size else "0 bytes"


def _in_words(error: Exception) -> str:
    return one_line(f"{type(error).__name__} {error}", 200)


def possible_name(name: Any) -> bool:
    """Return whether it can name a symbol or a coin: text of a sensible length, that any file or terminal can show."""
    return isinstance(name, str) and 0 < len(name) <= LONGEST_NAME and name.isprintable()


def possible(one: Instrument) -> bool:
    """Return whether it can be subscribed to, and its trades be scaled."""
    names: tuple[Any, ...] = (one.symbol, one.base, one.quote)
    sizes: tuple[Any, ...] = (one.contract_size, one.price_divisor)
    return (all(map(possible_name, names))
            and all(isinstance(size, (int, float)) and 0 < size < math.inf for size in sizes)
            and _possible_volume(one.volume))


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
    coins = {name for coin in options.coins for name in _names_of(coin)}
    return [one for one in instruments if (not wanted or one.symbol in wanted) and one.symbol not in excluded
            and (not coins or coin_of(one) in coins)]


def _names_of(coin: str) -> tuple[str, str]:
    """Return a coin's name as given and without a multiplier: a coin's real name may look as if it had one."""
    name = coin.strip().upper()
    return name, coin_of(Instrument(symbol=name, base=name, quote="", multiplier=split_multiplier(name)))


def unlisted(instruments: Iterable[Instrument], symbols: Sequence[str]) -> dict[str, str]:
    """Return each of `symbols` that no instrument has, with the nearest one that exists (empty: nothing is near)."""
    listed = {one.symbol for one in instruments}
    missing = [symbol for symbol in symbols if symbol not in listed]
    plain = {_plain(symbol): symbol for symbol in sorted(listed)} if missing else {}
    return {symbol: next((plain[name] for name in get_close_matches(_plain(symbol), plain, 1)), "") for symbol in missing}


def _plain(symbol: str) -> str:
    return "".join(letter for letter in symbol.upper() if letter.isalnum())
