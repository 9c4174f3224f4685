"""Judge how complete each venue's trades in an archive are, from the recorded gaps.

- `traded`: there are trades, and no gap overlaps the window.
- `no trade`: the venue lists the coin, there is no trade, and no gap overlaps the window.
- `not listed`: no instrument of the venue is the coin quoted in USDT.
- `incomplete`: trades may be missing in the parts of the window listed in `missing`, each with its reason.

Filled gaps do not count. If a part of the store could not answer, every venue of the coin is incomplete for the whole window. If
a venue's instrument list has not arrived, that venue is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from pumpwatch.catalogue import Catalogue, VenueKey
from pumpwatch.listing.manifest import MissingSpan, SymbolRow, VenueRow
from pumpwatch.model import Gap, GapState, Instrument

TRADED, NO_TRADE, NOT_LISTED, INCOMPLETE = "traded", "no trade", "not listed", "incomplete"
NO_LIST = "no instrument list yet"

Interval = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Doubts:
    """The reasons why trades of a window may be missing: gaps, problems of the store, venues (`binance.spot`) without a list."""

    gaps: Sequence[Gap] = ()
    problems: Sequence[str] = ()
    unlisted: Sequence[str] = ()


def symbol_row(instrument: Instrument) -> SymbolRow:
    """Return the facts of an instrument that an archive stores."""
    return SymbolRow(instrument.symbol, instrument.base, instrument.quote, instrument.multiplier, instrument.contract_size,
                     instrument.status)


def touches(gap: Gap, venue: VenueKey, symbols: Sequence[str], intervals: Sequence[Interval]) -> bool:
    """Return whether a gap may have cost trades of these symbols of a venue in the intervals."""
    if (gap.exchange, gap.market_type) != venue or not any(map(gap.touches, symbols)):
        return False
    return any(gap.from_ns < end and max(gap.to_ns, gap.from_ns + 1) > start for start, end in intervals)


def venue_rows(catalogue: Catalogue, ids: Sequence[int], trades: Mapping[VenueKey, int], intervals: Sequence[Interval],
               doubts: Doubts) -> tuple[VenueRow, ...]:
    """Return a row for each venue of the catalogue, by name. ids: the coin's instruments. trades: the count per venue."""
    named = [(exchange, market_type) for exchange, _, market_type in (name.partition(".") for name in doubts.unlisted)]
    return tuple(_venue_row(venue, [catalogue.instruments[number] for number in ids if catalogue.venues[number] == venue],
                            trades.get(venue, 0), intervals, doubts)
                 for venue in sorted({*catalogue.venues, *named}))


def _venue_row(venue: VenueKey, instruments: Sequence[Instrument], trades: int, intervals: Sequence[Interval],
               doubts: Doubts) -> VenueRow:
    start, end = intervals[0][0], intervals[-1][1]
    symbols = [instrument.symbol for instrument in instruments]
    missing = [MissingSpan(max(start, gap.from_ns), min(end, gap.to_ns), gap.reason) for gap in doubts.gaps
               if gap.state != GapState.FILLED and touches(gap, venue, symbols, intervals)]
    if instruments:
        missing += [MissingSpan(start, end, problem) for problem in doubts.problems]
    if ".".join(venue) in doubts.unlisted:
        missing.append(MissingSpan(start, end, NO_LIST))
    state = NO_TRADE if not trades else TRADED
    if missing:
        state = INCOMPLETE
    elif not instruments:
        state = NOT_LISTED
    return VenueRow(*venue, state, trades, tuple(map(symbol_row, instruments)),
                    tuple(sorted(dict.fromkeys(missing), key=lambda part: (part.from_ns, part.to_ns, part.reason))))
