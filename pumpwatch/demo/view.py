"""The output of a demo: a live display on a terminal, else lines of progress, and the report at the end."""

from __future__ import annotations

import shlex
import time
from collections.abc import Callable
from typing import Any

import click
from rich.live import Live
from rich.text import Text

from pumpwatch.commands.cells import venue_cell
from pumpwatch.commands.table import Cell, Column, render, wrapped
from pumpwatch.demo.run import Demo, Report
from pumpwatch.store.committer import percentile_ms

PROGRESS_S = 5.0  # between two lines of progress of the same step
BAR = 20  # characters
VENUES = (
    Column("venue"), Column("connections", "up", right=True), Column("symbols", right=True), Column("trades/s", right=True),
    Column("trades", right=True, least=7), Column("lag ms", right=True), Column("open gaps", "gaps", right=True),
)
STORES = (Column(""), Column("", wraps=True))
FIGURES = (Column(""), Column("", right=True), Column("", wraps=True))


class Display:
    """A live display on stderr; the demo calls `show` several times a second."""

    def __init__(self, live: Live) -> None:
        self._live = live

    def show(self, demo: Demo) -> None:
        """Redraw."""
        lines = display_lines(demo, self._live.console.width)
        self._live.update(Text("\n".join(lines), no_wrap=True, overflow="crop"), refresh=True)


class DemoProgress:
    """Prints a line of progress at each new step of the demo, and every five seconds."""

    def __init__(self, print_line: Callable[[str], None], now_s: Callable[[], float] = time.monotonic) -> None:
        self._print_line, self._now_s = print_line, now_s
        self._kind, self._printed_s, self._page = "", 0.0, ""

    def show(self, demo: Demo) -> None:
        """Print the progress of the demo, if a line is due."""
        if demo.page and demo.page != self._page:
            self._page = demo.page
            self._print_line(f"page {demo.page}")
        kind = "".join(letter for letter in demo.step if not letter.isdigit())
        if kind == self._kind and self._now_s() - self._printed_s < PROGRESS_S:
            return
        self._kind, self._printed_s = kind, self._now_s()
        stored = ""
        if demo.collector is not None and demo.started:
            stored = f", {demo.figures()['journal']['durable_trades']:,} trades durable"
        self._print_line(f"{_elapsed_s(demo):3.0f} of {demo.seconds:.0f} s: {demo.step}{stored}")


def display_lines(demo: Demo, width: int) -> list[str]:
    """Return the display of one moment as lines of at most `width` characters."""
    elapsed_s = _elapsed_s(demo)
    done = round(BAR * elapsed_s / demo.seconds)
    lines = wrapped(f"{'█' * done}{'░' * (BAR - done)} {elapsed_s:3.0f} of {demo.seconds:.0f} s: {demo.step}", width)
    if demo.collector is None:
        return lines
    lines += [f"page {demo.page}"] if demo.page else []
    figures: dict[str, Any] = demo.figures()
    venues = [_venue_row(venue) for venue in figures["venues"]]
    journal, latency = figures["journal"], demo.collector.committer.latency_ms
    stores = [["journal", f"{journal['durable_trades']:,} trades durable, {journal['bytes'] / 1e6:.1f} MB"],
              ["read to durable", f"half within {percentile_ms(latency, 0.5)} ms, 99 % within {percentile_ms(latency, 0.99)} ms"]]
    stores += [[sink["name"], f"{sink['state']}, {sink['backlog_trades']:,} trades to send"] for sink in figures["sinks"]]
    return [*lines, "", *render(VENUES, venues, width), "", *render(STORES, stores, width)]


def _elapsed_s(demo: Demo) -> float:
    return min(demo.seconds, time.monotonic() - demo.started) if demo.started else 0.0


def _venue_row(venue: dict[str, Any]) -> list[str | Cell]:
    return [venue_cell(venue["exchange"], venue["market_type"]), f"{venue['connections_up']}/{venue['connections']}",
            str(venue["instruments"]), f"{venue['trades_per_s']:,.0f}", f"{venue['trades_total']:,}", f"{venue['lag_ms']:.0f}",
            str(venue["gaps_open"])]


def report_lines(report: Report, width: int, color: bool = False) -> list[str]:
    """Return the report as lines of at most `width` characters; a path may be longer."""
    altered = report.different + report.unknown
    rows = [
        ["sent by the venues", f"{report.sent:,}", "their own record"],
        [f"stored in {report.store}", f"{report.stored:,}", ""],
        ["missing", f"{report.missing:,}", ""],
        ["doubled", f"{report.doubled:,}", ""],
        ["altered or unknown", f"{altered:,}", ""],
        *([["also fetched", f"{report.fetched:,}", "from a venue's history, after a cut"]] if report.fetched else []),
        ["", "", ""],
        ["CPU", f"{report.cpu_us_per_trade:.1f} µs",
         f"a trade; {report.cpu_percent_of_a_core:.1f} % of a core at {report.trades_per_s:,.0f}/s"],
        ["memory", f"{report.max_rss_bytes / 1e6:.0f} MB", "at most"],
        ["read to durable", f"{report.durable_ms_p99} ms", f"for 99 % of the trades; half within {report.durable_ms_p50} ms"],
        ["", "", ""],
        [f"listing of {report.coin}", f"{report.archive_trades:,}", "trades in its window"],
        *_sight_rows(report),
    ]
    verdict = "Every trade that was sent is stored exactly once." if report.good else (
        "Sent and stored differ, or the listing has no archive: see collector.log in the data folder.")
    if color:
        verdict = click.style(verdict, fg="green" if report.good else "red", bold=not report.good)
    return [verdict, "", *render(FIGURES, rows, width), "",
            f"archive  {report.archive or 'none'}", f"data     {report.data}", f"chart    {report.chart or 'none'}"]


def _sight_rows(report: Report) -> list[list[str]]:
    """Return a row for each sight of the listing."""
    return [[f"seen by {seen.source}", f"{seen.after_ms / 1e3:.1f} s",
             ("after its publication" if seen.kind == "notice" else "after it: its market is open")] for seen in report.sights]


def next_lines(report: Report, program: str, config: str) -> list[str]:
    """Return commands that show the data of the demo, and trade it on paper.

    config: the path of its config file as the user would write it.
    """
    paper = (f"paper run --archive {shlex.quote(report.archive)} --delay-ms 100,300",) if report.archive else ()
    return ["", "Look at it:", *(f"  {program} {command} -c {shlex.quote(config)}" for command in (
        f"listing show {report.coin}", f"trades {report.coin}", *paper, "verify"))]
