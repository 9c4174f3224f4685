"""Every instrument this process knows, numbered.

A trade names its instrument by an int32; this table turns it back into words. Ids are given in order of arrival and
live as long as the process: whatever is stored carries the names it needs (see store.journal). Adding is safe from any
thread; an id, once returned, may be read from any.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import numpy as np
from gevent.monkey import get_original
from numpy.typing import NDArray

from pumpwatch.model import Instrument

_MULTIPLIER = re.compile(r"(?:10{3,6}(?=[A-Z])|1M(?=[A-Z]{3,}))")
VenueKey = tuple[str, str]  # exchange, market_type


class Catalogue:
    """Instruments by id, and ids by venue and symbol."""

    def __init__(self) -> None:
        self.instruments: list[Instrument] = []
        self.venues: list[VenueKey] = []  # venues[id] is the venue of instrument id
        self._by_venue: dict[VenueKey, dict[str, int]] = {}
        self._adding = get_original("threading", "Lock")()  # the journal's reader adds names from a native thread

    def __len__(self) -> int:
        return len(self.instruments)

    def add(self, venue: VenueKey, instrument: Instrument) -> int:
        """Return the id of this symbol on this venue; a known symbol keeps its id and takes the new facts."""
        number = self.add_if_new(venue, instrument)
        self.instruments[number] = instrument
        return number

    def add_if_new(self, venue: VenueKey, instrument: Instrument) -> int:
        """Return the id of this symbol on this venue; a known symbol keeps its facts too."""
        ids = self.ids_of(venue)
        known = ids.get(instrument.symbol)
        if known is not None:
            return known
        with self._adding:
            if instrument.symbol not in ids:
                self.instruments.append(instrument)
                self.venues.append(venue)
                ids[instrument.symbol] = len(self.instruments) - 1
            return ids[instrument.symbol]

    def ids_of(self, venue: VenueKey) -> dict[str, int]:
        """Return the live symbol -> id table of a venue; it grows as instruments are added."""
        return self._by_venue.setdefault(venue, {})

    def matching(self, coin: str) -> list[int]:
        """Return the ids of every instrument whose base is this coin (`PEPE` finds 1000PEPE), quoted in USDT."""
        wanted = coin.upper()
        return [number for number, one in enumerate(self.instruments)
                if one.quote == "USDT" and coin_of(one) == wanted]

    def names(self, ids: Iterable[int] | NDArray[np.int32]) -> list[tuple[str, str, str]]:
        """Return (exchange, market_type, symbol) of each id."""
        return [(*self.venues[number], self.instruments[number].symbol) for number in ids]


def split_multiplier(base: str) -> int:
    """Return the multiplier a base asset's name carries: 1000 for 1000PEPE, 1000000 for 1MBABYDOGE, 1 for 1INCH."""
    found = _MULTIPLIER.match(base)
    if not found:
        return 1
    return 1_000_000 if found.group(0) == "1M" else int(found.group(0))


def coin_of(instrument: Instrument) -> str:
    """Return the coin behind an instrument: PEPE for base 1000PEPE with multiplier 1000."""
    base = instrument.base.upper()
    if instrument.multiplier != 1:
        digits = str(instrument.multiplier)
        base = base.removeprefix(digits).removesuffix(digits)
    return base
