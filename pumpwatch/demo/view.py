"""What a person sees of a demo: the display while it runs, and the report at its end."""

from __future__ import annotations

import time
from typing import Any

from rich.console import Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from pumpwatch.demo.run import Demo, Report
from pumpwatch.store.committer import percentile_ms

GOOD, BAD = "green", "bold red"


class Display:
    """A live display on stderr; `show` is called by the demo several times a second."""

    def __init__(self, live: Live) -> None:
        self._live = live

    def show(self, demo: Demo) -> None:
        """Redraw."""
        self._live.update(view(demo), refresh=True)


def view(demo: Demo) -> RenderableType:
    """Return the display of one moment."""
    elapsed = min(demo.seconds, time.monotonic() - demo.started) if demo.started else 0.0
    head = Table.grid(padding=(0, 1))
    head.add_row(ProgressBar(total=demo.seconds, completed=elapsed, width=40), f"{elapsed:3.0f} of {demo.seconds:.0f} s",
                 Text(demo.step, style="bold"))
    if demo.collector is None:
        return head
    figures: dict[str, Any] = demo.figures()
    venues = Table(box=None, padding=(0, 2))
    for name, justify in (("venue", "left"), ("connections", "right"), ("symbols", "right"), ("trades/s", "right"),
                          ("trades", "right"), ("lag", "right"), ("gaps", "right")):
        venues.add_column(name, justify=justify)  # type: ignore[arg-type]
    for row in figures["venues"]:
        venues.add_row(f"{row['exchange']} {row['market_type']}", f"{row['connections_up']}/{row['connections']}",
                       str(row["instruments"]), f"{row['trades_per_s']:,.0f}", f"{row['trades_total']:,}",
                       f"{row['lag_ms']:.0f} ms", str(row["gaps_open"]))
    stores = Table.grid(padding=(0, 2))
    journal, latency = figures["journal"], demo.collector.committer.latency_ms
    stores.add_row("journal", f"{journal['durable_trades']:,} trades durable, {journal['bytes'] / 1e6:.1f} MB",
                   f"read to durable: half within {percentile_ms(latency, 0.5)} ms, "
                   f"99 % within {percentile_ms(latency, 0.99)} ms")
    for sink in figures["sinks"]:
        stores.add_row(sink["name"], f"{sink['state']}, {sink['backlog_trades']:,} trades to send", "")
    return Group(head, Text(), venues, Text(), stores)


def report_view(report: Report) -> RenderableType:
    """Return the report as a person reads it."""
    table = Table.grid(padding=(0, 2))
    table.add_column(justify="left")
    table.add_column(justify="right")
    table.add_column(justify="left", style="dim")

    def count(name: str, value: int, bad: bool, remark: str = "") -> None:
        table.add_row(name, Text(f"{value:,}", style=BAD if bad else ""), remark)

    count("sent by the venues", report.sent, report.sent == 0, "their own record")
    count(f"stored in {report.store}", report.stored, report.stored != report.sent)
    count("missing", report.missing, report.missing > 0)
    count("doubled", report.doubled, report.doubled > 0)
    count("altered or unknown", report.different + report.unknown, report.different + report.unknown > 0)
    table.add_row()
    table.add_row("CPU", f"{report.cpu_us_per_trade:.1f} µs", f"a trade; {report.cpu_percent_of_a_core:.1f} % of a core at "
                                                             f"{report.trades_per_s:,.0f} trades/s, display included")
    table.add_row("memory", f"{report.max_rss_bytes / 1e6:.0f} MB", "at most")
    table.add_row("read to durable", f"{report.durable_ms_p99} ms",
                  f"for 99 % of the trades; half within {report.durable_ms_p50} ms")
    table.add_row()
    table.add_row(f"listing of {report.coin}", f"{report.archive_trades:,}", "trades in its window")
    verdict = Text("Every trade that was sent is stored, once.", style=GOOD) if report.good else Text(
        "Sent and stored differ, or the listing has no archive: see collector.log in the data folder.", style=BAD)
    return Group(verdict, Text(), table, Text(), Text(f"archive  {report.archive or 'none'}"), Text(f"data     {report.data}"))
