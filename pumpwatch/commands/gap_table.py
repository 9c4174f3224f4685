"""Gaps as a person reads them: an outage is one row, however many venues and symbols it hit."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from pumpwatch.clock import NS_PER_S
from pumpwatch.commands.cells import count, lasted, one_day, time_cell, venue_cell
from pumpwatch.commands.fill_note import Fills, fills_of, note
from pumpwatch.commands.table import CUT, Cell, Column
from pumpwatch.model import Gap

Venue = tuple[str, str]  # exchange, market_type
CONNECTION = re.compile(r"^connection \d+ with \d+ symbols?: ")  # which symbols is another column
NO_FILLS: Fills = {}
TOGETHER_NS = NS_PER_S  # gaps of one reason that are this near to each other are one outage

OUTAGES = (
    Column("from"), Column("lasted", right=True), Column("venues"), Column("symbols"), Column("state", rank=1),
    Column("reason", wraps=True),
)
GAPS = (
    Column("from"), Column("lasted", right=True), Column("venue"), Column("symbol"), Column("state"),
    Column("ids", rank=1), Column("reason", wraps=True),
)


@dataclass(slots=True)
class Outage:
    """Gaps of one reason and state that overlap or follow each other closely. Times in ns, [from, to)."""

    from_ns: int
    to_ns: int
    state: str
    reason: str
    gaps: list[Gap] = field(default_factory=list)

    def add(self, gap: Gap) -> None:
        """Take a gap into it."""
        self.from_ns, self.to_ns = min(self.from_ns, gap.from_ns), max(self.to_ns, gap.to_ns)
        self.gaps.append(gap)


def outages(gaps: Iterable[Gap]) -> list[Outage]:
    """Return gaps summed up, by the time at which they begin."""
    latest: dict[tuple[str, str], Outage] = {}
    found = []
    for gap in sorted(gaps, key=lambda gap: gap.from_ns):
        key = (_kind(gap.reason), gap.state.value)
        outage = latest.get(key)
        if outage is None or gap.from_ns > outage.to_ns + TOGETHER_NS:
            outage = latest[key] = Outage(gap.from_ns, gap.to_ns, gap.state.value, gap.reason)
            found.append(outage)
        outage.add(gap)
    return found


def outage_rows(found: Sequence[Outage], symbols_of: Callable[[Venue], int],
                fills: Fills = NO_FILLS) -> list[list[str | Cell] | str]:
    """Return a row of OUTAGES each, and below it what the venues' histories gave.

    `symbols_of` says how many symbols of a venue are known, 0 where that is not known.
    """
    with_day = not one_day(outage.from_ns for outage in found)
    rows: list[list[str | Cell] | str] = []
    for outage in found:
        rows.append([time_cell(outage.from_ns, with_day=with_day, digits=0), lasted(outage.to_ns - outage.from_ns),
                     _venues(outage), _symbols(outage, symbols_of), outage.state, _reason(outage)])
        rows += [text] if (text := note(fills_of(outage.gaps, fills))) else []
    return rows


def gap_rows(gaps: Sequence[Gap], fills: Fills = NO_FILLS) -> list[list[str | Cell] | str]:
    """Return a row of GAPS each, whose long reason goes on below, and then what the venue's history gave."""
    with_day = not one_day(gap.from_ns for gap in gaps)
    rows: list[list[str | Cell] | str] = []
    for gap in gaps:
        rows.append([time_cell(gap.from_ns, with_day=with_day, digits=3, short_digits=0), lasted(gap.to_ns - gap.from_ns),
                     venue_cell(gap.exchange, gap.market_type), _named(gap), gap.state.value, _ids(gap),
                     CONNECTION.sub("", gap.reason)])
        rows += [text] if (text := note(fills_of([gap], fills))) else []
    return rows


def _kind(reason: str) -> str:
    """Return a reason without the symbols' number and with `…` for each other number in it."""
    return re.sub(r"\d+", CUT, CONNECTION.sub("", reason))


def _reason(outage: Outage) -> str:
    """Return the one reason of an outage, or the words that its reasons have in common."""
    reasons = {CONNECTION.sub("", gap.reason) for gap in outage.gaps}
    return reasons.pop() if len(reasons) == 1 else _kind(outage.reason)


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
