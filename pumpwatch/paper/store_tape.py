"""Make a tape from the stored trades around a time, with the window of `listing replay`."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

import numpy as np

from pumpwatch.clock import Clock
from pumpwatch.config import Config
from pumpwatch.listing.books import read_books
from pumpwatch.listing.replay import stored_window
from pumpwatch.paper.archive_tape import market_of, tape_books
from pumpwatch.paper.tape import Tape, make_tape


def store_tape(config: Config, coin: str, at_ns: int, venues: Collection[str] = (), *, clock: Clock | None = None) -> Tape:
    """Return the tape of a coin's window around a time. Order books come from its archive, if there is one.

    Raises as `listing.replay.replay` does.
    """
    window = stored_window(config, coin, at_ns, clock=clock)
    catalogue, intervals = window.catalogue, window.span.intervals
    ids = [number for number in catalogue.matching(window.span.coin)
           if not venues or ".".join(catalogue.venues[number]) in venues]
    ids.sort(key=lambda number: (catalogue.venues[number], catalogue.instruments[number].symbol))
    found = [(catalogue.venues[number], catalogue.instruments[number]) for number in ids]
    markets = [market_of(*venue, instrument.symbol, instrument.multiplier) for venue, instrument in found]
    listing = min(window.span.listings, key=lambda found: found.announced_at_ns)
    if listing.source == "replay":  # its trigger is the time of this command, on which the result must not depend
        listing = replace(listing, triggered_at_ns=listing.detected_at_ns)
    times = window.batch.timestamp
    inside = np.zeros(len(times), bool)
    for start, end in intervals:
        inside |= (times >= start) & (times < end)
    archive = str(window.path) if window.path.is_dir() else ""
    books = tape_books(read_books(window.path), markets) if archive else {}
    return make_tape(listing, markets, ids, window.batch.take(inside), intervals[-1][1], books=books, archive=archive)
