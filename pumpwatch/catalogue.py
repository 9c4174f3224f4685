"""Number every instrument that this process knows.

A trade holds its instrument as an int32 id; this table maps ids to names. Ids are assigned in order of arrival and are valid
only within one process: stored files carry the names that they need (see store.journal). Any thread may add and read.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import numpy as np
from gevent.monkey import get_original
from numpy.typing import NDArray

from pumpwatch.model import Instrument

# 1000PEPE, 10000000AIDOGE, 1MBABYDOGE, SHIB1000. Real names may begin with a digit (1INCH, 0G, 2Z) or end with one (API3).
_PREFIX = re.compile(r"(10{3,9}|1M(?=.{3}))(?=[^\W\d])")
_SUFFIX = re.compile(r"(?<=[^\W\d])10{3,9}$")
_ALIASES = {"XBT": "BTC"}
VenueKey = tuple[str, str]  # exchange, market_type


class Catalogue:
    """Instruments by id, and ids by venue and symbol.

    `revision` increases with each new instrument, and whenever an instrument's contract size or price divisor changes.
    """

    def __init__(self) -> None:
        self.instruments: list[Instrument] = []
        self.venues: list[VenueKey] = []  # venues[id] is the venue of instrument id; written last, so its length counts
        self.revision = 0
        self._by_venue: dict[VenueKey, dict[str, int]] = {}
        self._by_coin: dict[str, set[int]] = {}
        self._adding = get_original("threading", "Lock")()  # the journal's reader adds names from a native thread

    def __len__(self) -> int:
        return len(self.venues)

    def add(self, venue: VenueKey, instrument: Instrument) -> int:
        """Return the id of a venue's symbol. A known symbol keeps its id, and its facts are replaced."""
        number = self.add_if_new(venue, instrument)
        before, self.instruments[number] = self.instruments[number], instrument
        if (before.contract_size, before.price_divisor) != (instrument.contract_size, instrument.price_divisor):
            with self._adding:
                self.revision += 1
        if (was := coin_of(before)) != (now := coin_of(instrument)):
            with self._adding:
                self._by_coin[was].discard(number)
                self._by_coin.setdefault(now, set()).add(number)
        return number

    def add_if_new(self, venue: VenueKey, instrument: Instrument) -> int:
        """Return the id of a venue's symbol. A known symbol keeps its id and its facts."""
        ids = self.ids_of(venue)
        known = ids.get(instrument.symbol)
        if known is not None:
            return known
        with self._adding:
            if instrument.symbol not in ids:
                self.instruments.append(instrument)
                self.venues.append(venue)
                self.revision += 1  # before the symbol can be found, so that a reader that finds it sees the new revision
                ids[instrument.symbol] = number = len(self.venues) - 1
                self._by_coin.setdefault(coin_of(instrument), set()).add(number)
            return ids[instrument.symbol]

    def ids_of(self, venue: VenueKey) -> dict[str, int]:
        """Return a venue's table symbol -> id; it grows as instruments are added."""
        return self._by_venue.setdefault(venue, {})

    def matching(self, coin: str) -> list[int]:
        """Return the ids of a coin's instruments that are quoted in USDT, on all venues, ascending.

        Instruments match by base and quote, never by the symbol's spelling: both PEPE and 1000PEPE find 1000PEPEUSDT and
        PEPE_USDT.
        """
        name = _plain(coin)
        # sorted() copies in one step, whatever another thread adds meanwhile
        found = {number for coin in (name, _split(name)[1]) for number in sorted(self._by_coin.get(coin, ()))}
        return sorted(number for number in found if self.instruments[number].quote.upper() == "USDT")

    def coins(self) -> list[str]:
        """Return every coin that has an instrument quoted in USDT."""
        return sorted(coin for coin in list(self._by_coin) if self.matching(coin))

    def names(self, ids: Iterable[int] | NDArray[np.int32]) -> list[tuple[str, str, str]]:
        """Return (exchange, market_type, symbol) of each id."""
        return [(*self.venues[number], self.instruments[number].symbol) for number in ids]


def split_multiplier(base: str) -> int:
    """Return the multiplier in a base asset's name: 1000 for 1000PEPE or SHIB1000, 1000000 for 1MBABYDOGE, 1 for 1INCH."""
    return _split(_plain(base))[0]


def coin_of(instrument: Instrument) -> str:
    """Return the coin behind an instrument: PEPE for base 1000PEPE with multiplier 1000, BTC for XBT.

    With multiplier 1 the base is the coin's real name, digits included.
    """
    name = _plain(instrument.base)
    multiplier, coin = _split(name)
    return coin if multiplier == instrument.multiplier else name


def _plain(name: str) -> str:
    name = "".join(name.split()).upper()
    return _ALIASES.get(name, name)


def _split(name: str) -> tuple[int, str]:
    """Return (multiplier, coin) of a plain name."""
    if found := _PREFIX.match(name):
        digits = found[1]
        multiplier = 1_000_000 if digits == "1M" else int(digits)
        return multiplier, _plain(name[len(digits):])
    if found := _SUFFIX.search(name):
        return int(found[0]), _plain(name[:found.start()])
    return 1, name
