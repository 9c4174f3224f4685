"""Commands that show kept paper runs: the list, one run, and the summary of a run over all its archives."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from pumpwatch.clock import NS_PER_MS, NS_PER_S
from pumpwatch.commands.cells import time_cell
from pumpwatch.commands.options import config_option, json_option, with_config
from pumpwatch.commands.output import print_json, print_message, print_table, program
from pumpwatch.commands.table import Cell, Column

if TYPE_CHECKING:
    from pumpwatch.config import Config
    from pumpwatch.paper.results import ArchiveResult, ListingOutcome, RunResult
    from pumpwatch.paper.summary import RunSummary

RUNS = (Column("run"), Column("made", "made, UTC", rank=4), Column("strategy"), Column("coins", wraps=True),
        Column("delay", right=True), Column("listings", right=True, rank=2), Column("lost", right=True, rank=3),
        Column("median", right=True), Column("PnL", right=True, rank=1))
OUTCOMES = (Column("coin"), Column("delay", right=True), Column("entry", right=True), Column("slippage", right=True, rank=1),
            Column("exit", right=True), Column("by"), Column("entry after", right=True, rank=4),
            Column("exit after", right=True, rank=4), Column("fees", right=True, rank=2), Column("PnL", right=True),
            Column("PnL %", right=True), Column("drawdown", right=True, rank=2), Column("fills", right=True, rank=3),
            Column("rejected", right=True, rank=3))
SUMS = (Column("delay", right=True), Column("listings", right=True), Column("lost", right=True), Column("median", right=True),
        Column("lower quartile", "lower", right=True), Column("upper quartile", "upper", right=True),
        Column("95 % interval", right=True), Column("worst", right=True, rank=1), Column("best", right=True, rank=1),
        Column("PnL", right=True, rank=2))
NAMED = 20  # coins in a line


@click.command()
@click.option("--limit", type=click.IntRange(min=1), default=20, show_default=True, help="The number of runs, the newest first.")
@json_option
@config_option
def runs(limit: int, as_json: bool, config: Config) -> int:
    """List the kept paper runs, the newest first.

    Each delay of a run is a row: how many listings had an entry, the share of them that lost, the median result in percent of
    the size, and the sum of all results. --json has a line for each run, with its summary.

    \b
    Example: pumpwatch paper runs
    """
    from pumpwatch.paper.kept import headings
    from pumpwatch.paper.run_page import percent_text

    found, total = headings(Path(config.store.dir), limit)
    if as_json:
        print_json([{"made_ms": made_ms, "run": heading} for heading, made_ms in found])
        return 0
    rows: list[list[str | Cell]] = []
    for heading, made_ms in found:
        coins = ", ".join(heading.coins)
        for row in heading.summary.delays:
            rows.append([heading.run_id, time_cell(made_ms * NS_PER_MS, with_day=True, digits=0), heading.strategy, coins,
                         _ms(row.delay_ms), f"{row.entered:,}", _share(row.lost_share), percent_text(row.median_percent),
                         f"{row.pnl:+,.2f}"])
    if rows:
        print_table(RUNS, rows)
        print_message(f"one of them: {program()} paper show {found[0][0].run_id}{with_config(config)}")
    if total > len(found):
        print_message(f"{total - len(found):,} more runs: --limit {total}, or their headings cannot be read")
    if not total:
        print_message(f"no run is kept yet; make one: {program()} paper run COIN --at TIME{with_config(config)}")
    return 0


@click.command()
@click.argument("run", required=False, default="")
@json_option
@config_option
def show(run: str, as_json: bool, config: Config) -> int:
    """Show a kept paper run: a row for each listing and delay.

    RUN is the id of a run or its beginning; by default the newest. --json has the whole result, with each fill.

    \b
    Example: pumpwatch paper show
    """
    from pumpwatch.paper.kept import PAGE, file_of, kept_run
    from pumpwatch.paper.summary import summarise

    found = kept_run(Path(config.store.dir), run)
    if as_json:
        from msgspec import to_builtins

        print_json([to_builtins(found)])
        return 0
    print_outcomes(found)
    if len(found.archives) > 1:
        print_summary(summarise(found))
    page = file_of(Path(config.store.dir), found.run_id, PAGE)
    print_message(f"{found.strategy}, size {found.size:f}, seed {found.seed}, run {found.run_id}",
                  *([f"page {page}"] if page else []))
    return 0


@click.command()
@click.argument("run", required=False, default="")
@click.option("--seed", type=click.IntRange(min=0), help="The seed of the interval; by default the run's.")
@json_option
@config_option
def summary(run: str, seed: int | None, as_json: bool, config: Config) -> int:
    """Sum up a paper run over all its archives.

    For each delay it shows the listings with an entry, the share that lost, the median and the quartiles in percent of the size,
    and, from ten listings on, a 95 % interval of the median by a bootstrap. Listings that the figures leave out are counted and
    named. RUN is the id of a run or its beginning; by default the newest.

    \b
    Example: pumpwatch paper summary
             pumpwatch paper summary --json
    """
    from pumpwatch.paper.kept import kept_run
    from pumpwatch.paper.summary import summarise

    found = summarise(kept_run(Path(config.store.dir), run), seed)
    if as_json:
        from msgspec import to_builtins

        print_json([to_builtins(found)])
    else:
        print_summary(found)
    return 0


def print_outcomes(result: RunResult) -> None:
    """Print a row for each listing and delay to stdout."""
    print_table(OUTCOMES, [_outcome_row(archive, outcome) for archive in result.archives for outcome in archive.outcomes])


def _outcome_row(archive: ArchiveResult, row: ListingOutcome) -> list[str]:
    from pumpwatch.paper.run_page import price_text

    entry, out = ("-" if at is None else f"{(at - archive.triggered_at) / NS_PER_S:+.3f} s" for at in (row.entry_at, row.exit_at))
    slippage = "-" if row.slippage_bp is None else f"{row.slippage_bp:+.1f} bp"
    return [archive.coin, _ms(row.delay_ms), price_text(row.entry_price), slippage, price_text(row.exit_price),
            row.exit_reason.replace("_", " "), entry, out, f"{row.fees:,.2f}", f"{row.pnl:+,.2f}", f"{row.pnl_percent:+.2f} %",
            f"{row.worst_drawdown:,.2f}", f"{len(row.fills):,}", f"{len(row.rejected):,}"]


def print_summary(summary: RunSummary) -> None:
    """Print a summary to stdout; print the listings that it leaves out, and the limits of its figures, to stderr."""
    from pumpwatch.paper.run_page import sum_cells

    print_table(SUMS, [sum_cells(row) for row in summary.delays], f"{summary.played:,} of {summary.listings:,} listings played")
    for row in summary.delays:
        if row.without_entry:
            print_message(f"no entry after {_ms(row.delay_ms)}: {_named(row.without_entry)}")
    for left in summary.left_out:
        print_message(f"left out: {left.coin}{f' ({Path(left.archive).name})' if left.archive else ''}: {left.reason}")
    print_message(*summary.notes)


def _named(coins: tuple[str, ...]) -> str:
    more = len(coins) - NAMED
    return ", ".join(coins[:NAMED]) + (f" and {more:,} more" if more > 0 else "")


def _ms(delay_ms: int) -> str:
    return f"{delay_ms:,} ms"


def _share(share: float | None) -> str:
    return "-" if share is None else f"{share * 100:.0f} %"
