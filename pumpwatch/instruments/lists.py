"""Fetch a venue's instrument list page by page, validate it, and apply the configured choice."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from difflib import get_close_matches
from typing import Any

from pumpwatch.catalogue import coin_of, split_multiplier
from pumpwatch.config import VenueConfig
from pumpwatch.errors import REFUSALS, ServiceUnavailable
from pumpwatch.model import Instrument
from pumpwatch.net.texts import one_line
from pumpwatch.venue import HttpRequest, Venue, Volumes

PAGES = 100  # of one list; a longer list counts as endless
LONGEST_NAME = 100  # characters of a symbol


def fetch_instruments(venue: Venue, ask: Callable[[HttpRequest], bytes],
                      on_invalid: Callable[[str], None] = lambda row: None,
                      pages: list[bytes] | None = None) -> list[Instrument]:
    """Fetch all pages of a venue's instrument list. Raises ServiceUnavailable if the answer is not such a list.

    Invalid rows (without a name, with a contract size of 0) are passed to `on_invalid` and left out. The last of several rows
    with the same symbol counts. pages: gets the bodies of the list.
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
    for instrument in listed:
        if possible(instrument):
            found[instrument.symbol] = instrument
        else:
            on_invalid(repr(instrument)[:300])
    if not found:
        raise ServiceUnavailable(f"the instrument list is empty ({_shown(bodies)})")
    return list(found.values())


def fetch_volumes(volumes: Volumes, ask: Callable[[HttpRequest], bytes]) -> dict[str, float]:
    """Fetch 24-hour volumes; leave out invalid ones. Raises ServiceUnavailable if the answer is not a list of volumes."""
    try:
        parsed = volumes.parse(ask(volumes.request))
        return {symbol: volume for symbol, volume in parsed.items() if _possible_volume(volume)}
    except REFUSALS as error:
        raise ServiceUnavailable(_in_words(error)) from error


def _possible_volume(volume: Any) -> bool:
    return isinstance(volume, (int, float)) and 0 <= volume < math.inf


def _shown(bodies: Sequence[bytes]) -> str:
    """Return the size and the beginning of an answer; an HTML page explains more than a parser error."""
    size = sum(map(len, bodies))
    return f"{size:,} bytes, {bodies[0][:60]!r}" if size else "0 bytes"


def _in_words(error: Exception) -> str:
    return one_line(f"{type(error).__name__} {error}", 200)


def possible_name(name: Any) -> bool:
    """Return whether `name` can be the name of a symbol or a coin: printable text of a sensible length."""
    return isinstance(name, str) and 0 < len(name) <= LONGEST_NAME and name.isprintable()


def possible(instrument: Instrument) -> bool:
    """Return whether an instrument can be subscribed and its trades can be scaled."""
    names: tuple[Any, ...] = (instrument.symbol, instrument.base, instrument.quote)
    sizes: tuple[Any, ...] = (instrument.contract_size, instrument.price_divisor)
    return (all(map(possible_name, names))
            and all(isinstance(size, (int, float)) and 0 < size < math.inf for size in sizes)
            and _possible_volume(instrument.volume))


def _next_page(venue: Venue, body: bytes) -> HttpRequest | None:
    if venue.next_instruments is None:
        return None
    try:
        return venue.next_instruments(body)
    except REFUSALS as error:
        raise ServiceUnavailable(f"not a page of an instrument list ({_shown([body])}): {_in_words(error)}") from error


def only(instruments: Iterable[Instrument], options: VenueConfig) -> list[Instrument]:
    """Return the instruments that the configuration chooses: the named ones, or all, without the excluded ones."""
    wanted, excluded = set(options.symbols), set(options.excluded)
    coins = {name for coin in options.coins for name in _names_of(coin)}
    return [instrument for instrument in instruments
            if (not wanted or instrument.symbol in wanted) and instrument.symbol not in excluded
            and (not coins or coin_of(instrument) in coins)]


def absent_coins(instruments: Iterable[Instrument], coins: Iterable[str]) -> list[str]:
    """Return the coins that no instrument trades."""
    traded = set(map(coin_of, instruments))
    return [coin for coin in coins if traded.isdisjoint(_names_of(coin))]


def _names_of(coin: str) -> tuple[str, str]:
    """Return a coin's name as given and without a multiplier, because a real name may look like one with a multiplier."""
    name = coin.strip().upper()
    return name, coin_of(Instrument(symbol=name, base=name, quote="", multiplier=split_multiplier(name)))


def unlisted(instruments: Iterable[Instrument], symbols: Sequence[str]) -> dict[str, str]:
    """Return each of `symbols` that is not listed, with the most similar listed symbol or an empty text."""
    listed = {instrument.symbol for instrument in instruments}
    missing = [symbol for symbol in symbols if symbol not in listed]
    plain = {_plain(symbol): symbol for symbol in sorted(listed)} if missing else {}
    return {symbol: next((plain[name] for name in get_close_matches(_plain(symbol), plain, 1)), "") for symbol in missing}


def _plain(symbol: str) -> str:
    return "".join(letter for letter in symbol.upper() if letter.isalnum())
