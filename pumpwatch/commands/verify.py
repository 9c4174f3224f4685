"""The command `verify`: check that stored trades are intact, and that all trades are stored."""

from __future__ import annotations

import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pumpwatch.commands.cells import count, time_cell
from pumpwatch.commands.options import config_option, json_option, moment, refuse_unknown
from pumpwatch.commands.output import print_json, print_message, print_table
from pumpwatch.commands.table import Column
from pumpwatch.errors import EXIT_FOUND, EXIT_OK, UsageError

SHOWN = 40  # contradictions in the table; --json gives all
SHOWN_PROBLEMS = 5  # of a segment
TOP = 20  # symbols of a venue that --against compares

if TYPE_CHECKING:
    from pumpwatch.config import Config
    from pumpwatch.hookspecs import Sink
    from pumpwatch.ops.verify_run import Verified, Wanted
    from pumpwatch.plugins import Plugins


def since(context: click.Context, parameter: click.Parameter, value: str | None) -> int | None:
    """Parse a duration such as 24h into the moment that long ago, in ns since 1970."""
    if value is not None and not re.fullmatch(r"\d+(\.\d+)?[smhd]", value):
        raise click.BadParameter(f"{value!r} is not a duration: give 90m, 24h or 7d")
    return moment(context, parameter, None if value is None else f"-{value}")


@click.command()
@click.option("--since", "since_ns", callback=since, metavar="SPAN", help="Judge the minutes of the last 24h, or another SPAN.")
@click.option("--from", "start_ns", callback=moment, metavar="TIME", help="Judge the minutes from this moment on.")
@click.option("--to", "end_ns", callback=moment, metavar="TIME", help="Judge the minutes before this moment; by default now.")
@click.option("--against", type=click.Choice(("venue",)), help="Also compare each minute with the venue's own candles.")
@click.option("--top", type=click.IntRange(0), metavar="N", default=TOP, show_default=True,
              help="With --against: compare the N symbols of each venue with the most trades; 0 compares all. A request covers "
                   "60 to 1,500 minutes of a symbol; a fifth of the venue's allowance is used.")
@click.option("--sinks", "with_sinks", is_flag=True, help="Also look for every acknowledged trade in every sink; with a time: "
                                                          "compare count and checksum of each minute.")
@click.option("--quick", is_flag=True, help="Use the ledger of minutes instead of reading the journal.")
@click.option("--exchange", metavar="NAME", help="Only this exchange.")
@click.option("--market", type=click.Choice(("spot", "futures")), help="Only this market.")
@click.option("--symbol", "symbols", metavar="SYMBOL", multiple=True, help="Only this symbol, as the venue spells it; may be "
                                                                           "repeated.")
@click.option("--coin", "coins", metavar="COIN", multiple=True, help="Only this coin, on every venue; may be repeated.")
@click.option("--fail-on-gaps", is_flag=True, help="Exit code 1 also if a minute is in a gap.")
@json_option
@config_option
def verify(since_ns: int | None, start_ns: int | None, end_ns: int | None, against: str | None, top: int, with_sinks: bool,
           quick: bool, exchange: str | None, market: str | None, symbols: tuple[str, ...], coins: tuple[str, ...],
           fail_on_gaps: bool, as_json: bool, config: Config) -> int:
    """Check what is stored; with a time, judge each minute.

    Without a time it reads every batch of the journal and checks its checksum. With --since or --from each minute of each
    symbol is complete (all its trades are stored), filled (from the venue's history), gap (trades may be missing), quiet (the
    symbol did not trade) or unread (the collector did not watch the symbol then, so nothing is known). A minute is judged two
    minutes after its end, because a dead connection is noticed late.

    `proof` is the basis of completeness. With `id`, the venue numbers its trades one by one, and no number is missing. With
    `connection`, it does not, and only the connection is known to have been up; --against venue then compares the minutes with
    the venue's own candles. Works beside a running collector. Exit code 1 if data outside the gaps is damaged or missing, or if
    it differs from a sink or a candle.

    \b
    Example: pumpwatch verify --sinks
             pumpwatch verify --since 24h --fail-on-gaps
             pumpwatch verify --since 1h --against venue --coin PEPE
    """
    from pumpwatch.plugins import load_plugins

    plugins = load_plugins(config)
    sinks = plugins.make_sinks(config) if with_sinks else {}
    if since_ns is None and start_ns is None:
        if against or quick or fail_on_gaps or end_ns is not None or exchange or market or symbols or coins:
            raise UsageError("these options need a time", "add --since 24h, or --from TIME")
        return _read_all(config, sinks, as_json)
    if since_ns is not None and (start_ns is not None or end_ns is not None):
        raise UsageError("--since excludes --from and --to", "leave out one or the other")
    if quick and with_sinks:
        raise UsageError("--quick and --sinks exclude each other", "what a sink has acknowledged is known from the journal alone")
    from pumpwatch.clock import Clock
    from pumpwatch.listing.inbox import coin_name
    from pumpwatch.ops.verify_run import Selection, Wanted

    selection = Selection(exchange, market, frozenset(symbols), tuple(map(coin_name, coins)))
    refuse_unknown({(venue.exchange, venue.market_type) for venue in plugins.venues}, exchange, market)
    begin_ns = since_ns if since_ns is not None else start_ns
    wanted = Wanted(begin_ns or 0, Clock().now_ns() if end_ns is None else end_ns, selection, quick, top if against else None)
    return _judge(config, plugins, wanted, sinks, fail_on_gaps, as_json)


def _judge(config: Config, plugins: Plugins, wanted: Wanted, sinks: dict[str, Sink], fail_on_gaps: bool, as_json: bool) -> int:
    from pumpwatch.commands import verify_view
    from pumpwatch.ops.verify_run import verify as run

    with progress_bar() as show:
        found = run(config, plugins, wanted, sinks, show)
    if as_json:
        print_json(verify_view.as_json(found, wanted.selection.names_symbols))
    else:
        _print(found)
    print_message(verify_view.verdict(found), *(() if as_json else verify_view.explanations(found, wanted.end_ns)))
    return EXIT_FOUND if found.contradicted or (fail_on_gaps and found.summary.gap_minutes) else EXIT_OK


def _print(found: Verified) -> None:
    from pumpwatch.commands import verify_view as view

    first, end = (time_cell(ns, with_day=True, digits=0).full for ns in (found.start_ns, found.end_ns))
    print_table(view.VENUES, view.venue_rows(list(found.summary.venues.values())),
                f"{first} to {end} UTC, minutes of symbols")
    if found.sinks:
        print_table(view.SINKS, view.sink_rows(found.sinks), "\nsinks, by minute")
    if found.candles:
        print_table(view.CANDLES, view.candle_rows(found.candles), "\nthe venues' own candles")
    flaws = view.all_flaws(found)
    if flaws:
        shown = f", the first {SHOWN}" if len(flaws) > SHOWN else ""
        print_table(view.FLAWS, view.flaw_rows(flaws[:SHOWN]), f"\n{count(len(flaws), 'contradiction')}{shown}")
    print_message(*(f"not read: {line}" for line in found.unreadable[:SHOWN]))


@contextmanager
def progress_bar() -> Iterator[Callable[[str, int, int], None]]:
    """Show a bar on stderr while the block runs, if stderr is a terminal."""
    if not sys.stderr.isatty():
        yield lambda what, done, total: None
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

    with Progress(TextColumn("{task.description}"), BarColumn(), TextColumn("{task.percentage:>3.0f} %"), TimeRemainingColumn(),
                  console=Console(stderr=True, markup=False, emoji=False), transient=True) as bars:
        tasks = {what: bars.add_task(what, total=None, visible=False) for what in ("journal", "sinks", "candles")}

        def show(what: str, done: int, total: int) -> None:
            bars.update(tasks[what], completed=done, total=total, visible=True)

        yield show


def _read_all(config: Config, sinks: dict[str, Sink], as_json: bool) -> int:
    """Read every batch of the journal, and look for its trades in the sinks."""
    from pumpwatch.ops.verify import verify as run

    checked = list(run(Path(config.store.dir), sinks))
    if as_json:
        print_json({"segment": part.segment, "where": part.where, "expected": part.expected, "found": part.found,
                    "good": part.good, "problems": part.problems, "hint": part.hint} for part in checked)
    else:
        rows: list[list[str] | str] = []
        for part in checked:
            rows.append([part.segment, part.where, f"{part.expected:,}", f"{part.found:,}", "ok" if part.good else "fail"])
            rows += part.problems[:SHOWN_PROBLEMS]
            rows += [part.hint] if part.hint else []
        print_table((Column("segment"), Column("where"), Column("trades", right=True), Column("found", right=True),
                     Column("state")), rows)
    print_message(f"{sum(part.found for part in checked if part.where == 'journal'):,} trades read")
    return EXIT_OK if all(part.good for part in checked) else EXIT_FOUND
