"""The command `retention`: remove what is due now, or show it."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from pumpwatch.commands.cells import count, size, time_cell
from pumpwatch.commands.options import config_option, json_option
from pumpwatch.commands.output import hushed, print_json, print_message, print_table
from pumpwatch.commands.table import Column
from pumpwatch.errors import EXIT_OK, EXIT_UNAVAILABLE, ServiceUnavailable

if TYPE_CHECKING:
    from collections.abc import Sequence

    from pumpwatch.config import Config
    from pumpwatch.ops.retention_plan import Due

LEVELS = ("ok", "clean_up", "emergency", "full")
DUE = (Column("in"), Column("name"), Column("from"), Column("to"), Column("trades", right=True), Column("size", right=True),
       Column("why", wraps=True), Column("copied", rank=1))


@click.command()
@click.option("--dry-run", is_flag=True, help="Print what would be removed, with sizes and dates; remove nothing.")
@click.option("--level", type=click.Choice(LEVELS), help="With --dry-run: assume this level of the disks.")
@json_option
@config_option
def retention(dry_run: bool, level: str | None, as_json: bool, config: Config) -> int:
    """Remove data that is too old or too large, now.

    That is segments of the journal, and days of sinks that can drop days. A collector does this each minute; a running one is
    asked to do it at once, and logs what it removes. Without a running collector, only days of sinks are removed. Exit code 69
    if a sink does not answer.

    \b
    Example: pumpwatch retention --dry-run
             pumpwatch retention --dry-run --level emergency
    """
    from pumpwatch.errors import UsageError
    from pumpwatch.ops import health, retention_request
    from pumpwatch.ops.disk_watch import Level
    from pumpwatch.ops.retention_plan import plan, run_on_sinks
    from pumpwatch.plugins import load_plugins

    if level and not dry_run:
        raise UsageError("--level is for --dry-run alone", "without --dry-run the disks' own level counts")
    with hushed("pumpwatch.plugins"):
        sinks = load_plugins(config).make_sinks(config)
    if dry_run:
        found = plan(config, sinks, assumed=Level[level.upper()] if level else None)
        _show(found.due, as_json)
        levels = ", ".join(f"{name} {reached.word}" for name, reached in found.levels.items())
        return _end(found.problems, f"{_total(found.due)} would be removed; {levels}; nothing was removed")
    folder = Path(config.store.dir)
    try:
        health.read(folder)
    except ServiceUnavailable:
        gone, problems = run_on_sinks(config, sinks)
        _show(gone, as_json)
        return _end(problems, f"{_total(gone)} removed; no collector runs on {folder}, so its journal is unchanged")
    retention_request.drop(folder)
    print_message("requested: the collector removes what is due now, and logs it")
    return EXIT_OK


def _show(due: Sequence[Due], as_json: bool) -> None:
    if as_json:
        print_json(asdict(row) for row in due)
    elif due:
        print_table(DUE, ([row.store, row.name, time_cell(row.from_ns, with_day=True, digits=0),
                           time_cell(row.to_ns, with_day=True, digits=0), f"{row.trades:,}", size(row.size_bytes), row.why,
                           {None: "", True: "yes", False: "not yet"}[row.copied]] for row in due))


def _total(due: Sequence[Due]) -> str:
    return f"{count(len(due), 'file or day', 'files and days')} of {size(sum(row.size_bytes for row in due))}"


def _end(problems: Sequence[str], line: str) -> int:
    print_message(*problems, line)
    return EXIT_UNAVAILABLE if problems else EXIT_OK
