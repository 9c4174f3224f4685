"""Make run.html: one file that shows a paper run in any browser, without a network.

For each listing it shows the prices on the traded venues, on one axis in seconds from the trigger, with marks for the buys and
sells of each delay, and below the value of each delay's account. A table has a row for each listing and delay; a run of several
listings has a summary above. Prices of bundles (1000PEPE) are divided by the multiplier.

As in `listing.chart`, all external text is escaped, and the page's content security policy allows only its own scripts, by their
hashes.
"""

from __future__ import annotations

import html
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from itertools import islice
from pathlib import Path
from string import Template
from typing import Any

import msgspec
import numpy as np

from pumpwatch.clock import NS_PER_MS, NS_PER_S
from pumpwatch.listing.chart import COLORS, LIBRARY, Grid, page_file, script_hash, script_json
from pumpwatch.model import FUTURES, Float64, Int64
from pumpwatch.paper.results import ArchiveResult, ListingOutcome, RunResult
from pumpwatch.paper.summary import LEVEL, DelayRow, RunSummary

OWN = "pumpwatch.paper"
CHARTS = 40  # listings with a chart; more would make the page slow
BEFORE_NS, AFTER_NS = 10 * NS_PER_S, 5 * NS_PER_S  # shown before the trigger and after the last action
OUTCOMES = ("coin", "delay", "entry after", "entry price", "slippage", "exit after", "exit price", "exit by", "fees", "PnL",
            "PnL %", "worst drawdown", "fills", "rejected")
SUMS = ("delay", "listings", "lost", "median", "lower quartile", "upper quartile", f"median, {LEVEL * 100:.0f} % interval",
        "worst", "best", "PnL")


@dataclass(frozen=True, slots=True)
class PriceLine:
    """The recorded prices of one instrument by time. venue: such as `binance.spot`. prices: not divided by the multiplier."""

    venue: str
    symbol: str
    timestamps: Int64
    prices: Float64
    multiplier: int = 1


class _Symbol(msgspec.Struct):
    symbol: str
    multiplier: int = 1


class _Columns(msgspec.Struct):
    timestamp: list[int]
    symbol: list[str]
    price: list[float | None]


class _Raw(msgspec.Struct):
    symbols: list[_Symbol]
    trades: _Columns


def run_page(result: RunResult, summary: RunSummary, prices: Mapping[int, Sequence[PriceLine]] | None = None) -> bytes:
    """Return the page of a run. prices: by the number of the archive; by default read from the archive's folder.

    A listing whose prices cannot be read has a chart without prices.
    """
    played = ((number, archive) for number, archive in enumerate(result.archives) if archive.left_out is None)
    charts = [_chart(archive, _lines(archive, prices.get(number) if prices else None))
              for number, archive in islice(played, CHARTS)]
    scripts = (page_file(LIBRARY), page_file("run.js", OWN))
    names = list(dict.fromkeys(archive.coin for archive in result.archives))
    title = ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
    text = Template(page_file("run.html", OWN)).substitute(
        title=html.escape(f"{title or 'no listing'}: {result.strategy}"), about=html.escape(_about(result)),
        style=page_file("chart.css") + page_file("run.css", OWN), summary=_summary(summary) if len(result.archives) > 1 else "",
        notes="\n".join(f"<p class=note>{html.escape(note)}</p>" for note in summary.notes), left_out=_left_out(summary),
        table=_table(OUTCOMES, _outcome_rows(result), 2), data=script_json(charts), library=scripts[0], script=scripts[1],
        more=f"<p class=note>The first {CHARTS} listings have a chart.</p>" if summary.played > CHARTS else "",
        hashes=" ".join(map(script_hash, scripts)))
    return text.encode("utf-8", "replace")


def _about(result: RunResult) -> str:
    rules = [f"hold {result.rules.hold_s:g} s" if result.rules.hold_s is not None else "",
             f"trailing stop {result.rules.trailing_stop_percent:g} %" if result.rules.trailing_stop_percent is not None else "",
             f"target {result.rules.target_percent:g} %" if result.rules.target_percent is not None else ""]
    latency = f"latency {result.latency.kind}" + (f" {result.latency.ms:g} ms" if result.latency.kind == "fixed" else "")
    return ", ".join(filter(None, (f"size {result.size:f}", latency, *rules, f"at most {result.share * 100:g} % of a trade",
                                   f"leverage {result.leverage}" if result.leverage != 1 else "", f"seed {result.seed}",
                                   f"run {result.run_id}")))


def _lines(archive: ArchiveResult, given: Sequence[PriceLine] | None) -> list[PriceLine]:
    """Return the prices of the traded instruments."""
    traded = {(fill.venue, fill.symbol) for outcome in archive.outcomes for fill in outcome.fills}
    if given is None and archive.archive:
        given = [line for venue in sorted({venue for venue, _ in traded}) for line in _read(Path(archive.archive), venue)]
    return [line for line in given or () if (line.venue, line.symbol) in traded]


def _read(archive: Path, venue: str) -> Iterator[PriceLine]:
    try:
        raw = msgspec.json.decode((archive / "raw" / f"{venue.replace('.', '/', 1)}.json").read_bytes(), type=_Raw)
    except (OSError, msgspec.DecodeError):
        return
    at, price = np.array(raw.trades.timestamp, np.int64), np.array(raw.trades.price, np.float64)  # null becomes NaN
    symbols = np.array(raw.trades.symbol, object)
    for row in raw.symbols:
        own = (symbols == row.symbol) & np.isfinite(price) & (price > 0)
        yield PriceLine(venue, row.symbol, at[own], price[own], row.multiplier)


def _chart(archive: ArchiveResult, lines: Sequence[PriceLine]) -> dict[str, Any]:
    """Return the data that the page's script draws for one listing."""
    moments = [at for outcome in archive.outcomes for at, _ in outcome.equity] + [
        fill.at for outcome in archive.outcomes for fill in outcome.fills]
    start, end = archive.triggered_at - BEFORE_NS, max([archive.triggered_at, *moments]) + AFTER_NS
    for line in lines:  # the axis ends at the last step with a value
        near = line.timestamps[(line.timestamps >= start) & (line.timestamps < end)]
        moments += [int(at) for at in (*near[:1], *near[-1:])]
    start, end = min([archive.triggered_at, *moments]), max([archive.triggered_at, *moments]) + 1
    grid = Grid(archive.triggered_at, start, end)
    venues: list[dict[str, Any]] = []
    place: dict[tuple[str, str], tuple[int, int]] = {}
    for line in lines:
        inside = (line.timestamps >= start) & (line.timestamps < end)
        where = grid.steps(line.timestamps[inside])
        last = np.flatnonzero(np.diff(where, append=-1))
        place[line.venue, line.symbol] = len(venues), line.multiplier
        venues.append({"name": f"{line.venue} {line.symbol}", "color": COLORS[-1 - len(venues) % len(COLORS)],
                       "futures": line.venue.endswith(f".{FUTURES}"), "at": where[last].tolist(),
                       "price": (line.prices[inside][last] / line.multiplier).tolist()})
    return {"coin": archive.coin, "step_ms": grid.step_ms, "first_ms": grid.first_ms, "count": grid.count, "venues": venues,
            "zero": grid.step(archive.triggered_at),
            "delays": [{"name": _ms(outcome.delay_ms), "color": COLORS[number % len(COLORS)], **_equity(outcome, grid),
                        "fills": _fills(outcome, grid, place)} for number, outcome in enumerate(archive.outcomes)]}


def _equity(outcome: ListingOutcome, grid: Grid) -> dict[str, Any]:
    """Return the last value of the account in each step that has one."""
    values = {step: float(value) for at, value in outcome.equity if (step := grid.step(at)) is not None}
    return {"at": list(values), "value": list(values.values())}


def _fills(outcome: ListingOutcome, grid: Grid, place: Mapping[tuple[str, str], tuple[int, int]]) -> list[dict[str, Any]]:
    """Return a mark for each step, market and side with fills: their mean price and quantity, per single coin."""
    sums: dict[tuple[int, int, str], list[float]] = {}
    for fill in outcome.fills:
        step, (line, multiplier) = grid.step(fill.at), place.get((fill.venue, fill.symbol), (-1, 1))
        if step is not None and line >= 0:
            found = sums.setdefault((step, line, fill.side), [0.0, 0.0])
            found[0] += float(fill.quantity) * multiplier
            found[1] += float(fill.quantity * fill.price)
    return [{"at": step, "line": line, "side": side, "quantity": quantity, "price": value / quantity}
            for (step, line, side), (quantity, value) in sorted(sums.items()) if quantity]


def _outcome_rows(result: RunResult) -> Iterator[Sequence[str]]:
    for archive in result.archives:
        for row in archive.outcomes:
            yield (archive.coin, _ms(row.delay_ms), _after(row.entry_at, archive), price_text(row.entry_price),
                   f"{row.slippage_bp:+.1f} bp" if row.slippage_bp is not None else "-", _after(row.exit_at, archive),
                   price_text(row.exit_price), row.exit_reason.replace("_", " "), f"{row.fees:,.2f}", f"{row.pnl:+,.2f}",
                   f"{row.pnl_percent:+.2f} %", f"{row.worst_drawdown:,.2f}", f"{len(row.fills):,}", f"{len(row.rejected):,}")


def _summary(summary: RunSummary) -> str:
    return f"<h2>All listings</h2>\n{_table(SUMS, map(sum_cells, summary.delays), 1)}"


def sum_cells(row: DelayRow) -> list[str]:
    """Return a row of the summary as text, a cell for each of SUMS."""
    low, high = row.interval_percent or (None, None)
    return [_ms(row.delay_ms), f"{row.entered:,}", f"{row.lost_share * 100:.0f} %" if row.lost_share is not None else "-",
            percent_text(row.median_percent), percent_text(row.low_quartile_percent), percent_text(row.high_quartile_percent),
            f"{percent_text(low)} to {percent_text(high)}" if low is not None else "-",
            percent_text(row.worst_percent), percent_text(row.best_percent), f"{row.pnl:+,.2f}"]


def _left_out(summary: RunSummary) -> str:
    if not summary.left_out:
        return ""
    rows = [(row.coin, Path(row.archive).name, row.reason) for row in summary.left_out]
    return f"<h2>Left out</h2>\n{_table(('coin', 'archive', 'reason'), rows, 3)}"


def _table(heads: Sequence[str], rows: Iterator[Sequence[str]] | Sequence[Sequence[str]] | map[list[str]], texts: int) -> str:
    """Return a table whose first `texts` columns are text and whose others are numbers."""
    def line(tag: str, cells: Sequence[str]) -> str:
        return "<tr>" + "".join(f'<{tag}{" class=number" if number >= texts else ""}>{html.escape(cell)}</{tag}>'
                                for number, cell in enumerate(cells)) + "</tr>"

    return "\n".join(['<div class="wide" tabindex="0"><table>', line("th", heads), *(line("td", row) for row in rows),
                      "</table></div>"])


def _ms(delay_ms: int) -> str:
    return f"{delay_ms:,} ms"


def _after(at: int | None, archive: ArchiveResult) -> str:
    return "-" if at is None else f"{(at - archive.triggered_at) / NS_PER_MS / 1000:+.3f} s"


def percent_text(value: float | None) -> str:
    """Return a percentage such as +1.25 %; `-` if it is unknown."""
    return "-" if value is None else f"{value:+.2f} %"


def price_text(value: Decimal | None) -> str:
    """Return a price with at most seven significant digits, without an exponent; `-` if there is none."""
    return "-" if value is None else f"{Decimal(f'{value:.7g}').normalize():f}"
