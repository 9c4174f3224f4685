"""Gaps as table rows; an outage is one row for all venues and symbols that it hit."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from pumpwatch.commands.cells import count, lasted, one_day, time_cell, venue_cell
from pumpwatch.commands.fill_note import Fills, fills_of, fills_text
from pumpwatch.commands.outages import CONNECTION, Outage, Venue
from pumpwatch.commands.table import Cell, Column
from pumpwatch.model import Gap, GapState

NO_FILLS: Fills = {}

OUTAGES = (
    Column("from"), Column("lasted", right=True), Column("venues"), Column("symbols"), Column("state", rank=1),
    Column("reason", wraps=True),
)
GAPS = (
    Column("from"), Column("lasted", right=True), Column("venue"), Column("symbol"), Column("state"),
    Column("ids", rank=1), Column("reason", wraps=True),
)


def outage_rows(found: Sequence[Outage], symbols_of: Callable[[Venue], int],
                fills: Fills = NO_FILLS) -> list[list[str | Cell] | str]:
    """Return a row of OUTAGES for each outage, and below it the result of the backfill.

    `symbols_of` returns the number of a venue's symbols, or 0 if it is unknown.
    """
    with_day = not one_day(outage.from_ns for outage in found)
    rows: list[list[str | Cell] | str] = []
    for outage in found:
        rows.append([time_cell(outage.from_ns, with_day=with_day, digits=0), lasted(outage.to_ns - outage.from_ns),
                     _venues(outage), _symbols(outage, symbols_of), outage.state.value, outage.reason()])
        states = outage.states()
        below = [f"gaps: {states}" if states else "",
                 fills_text(fills_of(outage.gaps, fills), with_day=with_day, unfinished=outage.state is GapState.OPEN)]
        rows += ["; ".join(filter(None, below))] if any(below) else []
    return rows


def gap_rows(gaps: Sequence[Gap], fills: Fills = NO_FILLS) -> list[list[str | Cell] | str]:
    """Return a row of GAPS for each gap, and below it the result of the backfill."""
    with_day = not one_day(gap.from_ns for gap in gaps)
    rows: list[list[str | Cell] | str] = []
    for gap in gaps:
        rows.append([time_cell(gap.from_ns, with_day=with_day, digits=3, short_digits=0), lasted(gap.to_ns - gap.from_ns),
                     venue_cell(gap.exchange, gap.market_type), _named(gap), gap.state.value, _ids(gap),
                     CONNECTION.sub("", gap.reason)])
        text = fills_text(fills_of([gap], fills), with_day=with_day, unfinished=gap.state is GapState.OPEN)
        rows += [text] if text else []
    return rows


def _venues(outage: Outage) -> str | Cell:
    venues = {(gap.exchange, gap.market_type) for gap in outage.gaps}
    return venue_cell(*venues.pop()) if len(venues) == 1 else Cell(count(len(venues), "venue"), f"{len(venues):,}")


def _symbols(outage: Outage, symbols_of: Callable[[Venue], int]) -> str | Cell:
    whole = {(gap.exchange, gap.market_type) for gap in outage.gaps if not gap.symbol and not gap.symbols}
    named = {(gap.exchange, gap.market_type, symbol) for gap in outage.gaps
             for symbol in (gap.symbols or (gap.symbol,)) if symbol and (gap.exchange, gap.market_type) not in whole}
    if not whole and len(named) == 1:
        return next(iter(named))[2]
    known = [symbols_of(venue) for venue in sorted(whole)]
    if not all(known):
        return "all"
    number = len(named) + sum(known)
    return Cell(count(number, "symbol"), f"{number:,}")


def _named(gap: Gap) -> str:
    return gap.symbol or (count(len(gap.symbols), "symbol") if gap.symbols else "all")


def _ids(gap: Gap) -> str:
    return "" if gap.first_id is None else f"{gap.first_id} to {gap.last_id}"
