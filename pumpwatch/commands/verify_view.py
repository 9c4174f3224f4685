"""The result of `verify` for a time: as tables, and as JSON objects with stable keys."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from pumpwatch.commands.cells import count, one_day, time_cell, venue_cell
from pumpwatch.commands.table import Cell, Column, Row
from pumpwatch.ops.candle_check import CandleSum
from pumpwatch.ops.completeness import BY_CONNECTION, BY_ID, SETTLE_S, Contradiction, VenueSum
from pumpwatch.ops.minute_states import State
from pumpwatch.ops.sink_minutes import SinkSum
from pumpwatch.ops.verify_run import Verified
from pumpwatch.store.minutes import MINUTE_NS

WORST, REASONS = 3, 3  # of a venue

VENUES = (
    Column("venue"), Column("complete", right=True), Column("filled", right=True), Column("gap", right=True),
    Column("quiet", right=True), Column("unread", right=True, rank=2, optional=True), Column("trades", right=True),
    Column("proof", rank=1),
)
SINKS = (
    Column("sink"), Column("minutes", right=True), Column("trades", right=True), Column("differ", right=True),
    Column("not sent yet", right=True, rank=1), Column("state"),
)
CANDLES = (
    Column("venue"), Column("symbols", right=True), Column("minutes", right=True), Column("agree", right=True),
    Column("shifted", right=True, rank=1), Column("in gaps", right=True), Column("differ", right=True),
    Column("too old", right=True, rank=2),
)
FLAWS = (Column("minute"), Column("venue"), Column("symbol"), Column("found", wraps=True))


def number(value: int) -> Cell:
    """Return a number: 648,000, short 648k."""
    short = f"{value:,}" if value < 100_000 else f"{value / 1000:,.0f}k" if value < 100_000_000 else f"{value / 1e6:,.0f}M"
    return Cell(f"{value:,}", short)


def venue_rows(found: Sequence[VenueSum]) -> list[Row | str]:
    """Return a row of VENUES for each venue, with the worst symbols and reasons of its gaps below it."""
    rows: list[Row | str] = []
    for venue in found:
        minutes = venue.minutes
        rows.append([venue_cell(venue.exchange, venue.market_type), *(number(minutes[state]) for state in (
            State.COMPLETE, State.FILLED, State.GAP, State.QUIET)),
            number(minutes[State.UNREAD]) if minutes[State.UNREAD] else "", number(venue.trades), venue.proof])
        if venue.gap_minutes:
            rows.append(f"worst: {', '.join(f'{symbol} {gaps} min' for symbol, gaps in venue.gap_minutes.most_common(WORST))}"
                        + (f" and {count(len(venue.gap_minutes) - WORST, 'other')}" if len(venue.gap_minutes) > WORST else ""))
            rows += [f"{minutes:,} min: {reason}" for reason, minutes in venue.reasons.most_common(REASONS)]
    return rows


def sink_rows(found: Sequence[SinkSum]) -> list[Row | str]:
    """Return a row of SINKS for each sink, with its problem below it."""
    rows: list[Row | str] = []
    for sink in found:
        state = "fail" if sink.flaws else "unreachable" if sink.problem else "ok"
        rows.append([sink.name, number(sink.compared), number(sink.trades), number(len(sink.flaws)), number(sink.waiting), state])
        rows += [sink.problem] if sink.problem else []
    return rows


def candle_rows(found: Sequence[CandleSum]) -> list[Row | str]:
    """Return a row of CANDLES for each venue, with rejected candles and problems below it."""
    rows: list[Row | str] = []
    for venue in found:
        rows.append([venue_cell(venue.exchange, venue.market_type), *map(number, (
            venue.symbols, venue.compared, venue.agreed, venue.shifted, venue.in_gaps, len(venue.flaws), venue.beyond))])
        rows += [venue.note] if venue.note else []
        rows += [f"rejected: {text}" for text in venue.refused[:WORST]]
        rows += [f"no answer: {text}" for text in venue.problems[:WORST]]
        if venue.flaws and venue.why:
            rows.append(f"may differ by {venue.tolerance:.3%}: {venue.why}")
    return rows


def all_flaws(found: Verified) -> list[Contradiction]:
    """Return everything that contradicts the ledger, the oldest first."""
    flaws = [*found.summary.flaws, *(flaw for sink in found.sinks for flaw in sink.flaws),
             *(flaw for venue in found.candles for flaw in venue.flaws)]
    return sorted(flaws, key=lambda flaw: (flaw.from_ns, flaw.exchange, flaw.market_type, flaw.symbol))


def flaw_rows(flaws: Sequence[Contradiction]) -> list[Row]:
    """Return a row of FLAWS for each contradiction."""
    with_day = not one_day(flaw.from_ns for flaw in flaws)
    return [[time_cell(flaw.from_ns, with_day=with_day, digits=0), venue_cell(flaw.exchange, flaw.market_type), flaw.symbol,
             flaw.detail] for flaw in flaws]


def explanations(found: Verified, wanted_end_ns: int) -> list[str]:
    """Explain the terms that occur in the tables, and the end of the judged time."""
    venues = list(found.summary.venues.values())
    proofs, lines = {venue.proof for venue in venues}, []
    if wanted_end_ns - found.end_ns >= MINUTE_NS:
        until = time_cell(found.end_ns, with_day=False, digits=0).short
        lines.append(f"judged until {until}: a minute is judged {SETTLE_S / 60:.0f} minutes after its end, because a dead "
                     "connection is noticed late")
    if any(venue.minutes[State.UNREAD] for venue in venues):
        lines.append("unread: the collector did not watch the symbol then, so nothing is known about these minutes")
    if BY_ID in proofs:
        lines.append("proof id: the venue numbers its trades one by one, and no number is missing")
    if BY_CONNECTION in proofs:
        lines.append("proof connection: the venue does not number its trades so; only the connection is known to have been up. "
                     "`--against venue` compares the minutes with the venue's own candles")
    return lines


def verdict(found: Verified) -> str:
    """Return the result in one line."""
    total: dict[State, int] = {state: sum(venue.minutes[state] for venue in found.summary.venues.values()) for state in State}
    judged = sum(total.values()) - total[State.UNREAD]
    whole = judged - total[State.GAP]
    problems = count(len(all_flaws(found)), "contradiction")
    if not judged:
        return f"none of these minutes can be judged yet; {problems}"
    share = f"{100 * whole / judged:.3f}".rstrip("0").rstrip(".")
    if whole < judged and share == "100":
        share = "99.999"
    return (f"{share} % of {count(judged, 'minute')} of symbols are complete, filled or quiet, "
            f"{count(total[State.GAP], 'is in a gap', 'are in gaps')}; {problems}")


def as_json(found: Verified, with_runs: bool) -> Iterator[dict[str, Any]]:
    """Yield the objects of `--json`; `kind` says what each is."""
    yield {"kind": "window", "from_ns": found.start_ns, "to_ns": found.end_ns, "contradicted": found.contradicted,
           "gap_minutes": found.summary.gap_minutes, "unreadable": found.unreadable}
    yield from ({"kind": "venue", **venue.as_json()} for venue in found.summary.venues.values())
    for sink in found.sinks:
        yield {"kind": "sink", "name": sink.name, "minutes": sink.compared, "trades": sink.trades, "differ": len(sink.flaws),
               "not_sent_yet": sink.waiting, "problem": sink.problem}
    for candles in found.candles:
        yield {"kind": "candles", "exchange": candles.exchange, "market_type": candles.market_type, "symbols": candles.symbols,
               "minutes": candles.compared, "agree": candles.agreed, "shifted": candles.shifted, "in_gaps": candles.in_gaps,
               "differ": len(candles.flaws), "too_old": candles.beyond, "tolerance": candles.tolerance, "why": candles.why,
               "rejected": candles.refused, "problems": candles.problems, "note": candles.note}
    yield from ({"kind": "contradiction", **flaw.as_json()} for flaw in all_flaws(found))
    for day in found.days if with_runs else ():
        for line in day.timelines.values():
            for row in range(len(line.symbols)):
                yield from ({"kind": "run", "exchange": line.exchange, "market_type": line.market_type, "symbol": run.symbol,
                             "from_ns": run.first * MINUTE_NS, "to_ns": run.end * MINUTE_NS, "state": run.state.name.lower(),
                             "reason": run.reason, "trades": run.trades} for run in line.runs(row))
