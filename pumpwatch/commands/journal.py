"""Care of what is stored, and what is missing of it: verify, backup, restore, gaps."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pumpwatch.commands.options import config_option, json_option, moment, refuse_unknown
from pumpwatch.commands.output import print_json, print_table, say
from pumpwatch.errors import EXIT_FOUND, EXIT_OK

SHOWN = 40  # rows of a table; --json gives all

if TYPE_CHECKING:
    from pumpwatch.config import Config
    from pumpwatch.model import Gap


@click.command()
@click.option("--sinks", "with_sinks", is_flag=True, help="Look for every acknowledged trade in every sink as well.")
@json_option
@config_option
def verify(with_sinks: bool, as_json: bool, config: Config) -> int:
    """Read everything that is stored and count it.

    Every batch of the journal is read, checksums included. Works beside a running collector. Exit code 1 where something
    is damaged or missing.

    \b
    Example: pumpwatch verify --sinks
    """
    from pumpwatch.ops.verify import verify as run
    from pumpwatch.plugins import load_plugins

    sinks = load_plugins(config).make_sinks(config) if with_sinks else {}
    checked = list(run(Path(config.store.dir), sinks))
    if as_json:
        print_json({"segment": one.segment, "where": one.where, "expected": one.expected, "found": one.found,
                    "good": one.good, "problems": one.problems, "hint": one.hint} for one in checked)
    else:
        print_table(("segment", "where", "trades", "found", "state", "problems"), (
            (one.segment, one.where, f"{one.expected:,}", f"{one.found:,}", "ok" if one.good else "fail",
             [*one.problems[:5], *([one.hint] if one.hint else [])]) for one in checked))
    say(f"{sum(one.found for one in checked if one.where == 'journal'):,} trades read")
    return EXIT_OK if all(one.good for one in checked) else EXIT_FOUND


@click.command()
@click.argument("file")
@json_option
@config_option
def backup(file: str, as_json: bool, config: Config) -> int:
    """Copy journal and ledger into one tar file.

    Consistent beside a running collector. Archives of listings are plain files and are not in it.

    \b
    Example: pumpwatch backup pumpwatch-2026-11-21.tar
    """
    from pumpwatch.ops.backup import backup as run

    target = Path(file).absolute()
    return _say_files(run(Path(config.store.dir), target), as_json, f"in {target}")


@click.command()
@click.argument("file")
@json_option
@config_option
def restore(file: str, as_json: bool, config: Config) -> int:
    """Put a backup into an empty data folder.

    Every file's sum is checked first; a folder that holds a journal or a ledger is left alone.

    \b
    Example: pumpwatch restore pumpwatch-2026-11-21.tar -c restored.yaml
    """
    from pumpwatch.ops.backup import restore as run

    return _say_files(run(Path(file).absolute(), Path(config.store.dir)), as_json, f"restored into {config.store.dir}")


def _say_files(rows: list[dict[str, Any]], as_json: bool, where: str) -> int:
    if as_json:
        print_json(rows)
    say(f"{len(rows)} files, {sum(row['bytes'] for row in rows):,} bytes, {where}")
    return EXIT_OK


@click.command()
@click.option("--from", "start_ns", callback=moment, default="-24h", show_default=True, metavar="TIME", help="That end after.")
@click.option("--to", "end_ns", callback=moment, default="now", show_default=True, metavar="TIME", help="That begin before.")
@click.option("--exchange", metavar="NAME", help="Only of this exchange.")
@click.option("--all", "with_filled", is_flag=True, help="Also those that were filled.")
@json_option
@config_option
def gaps(start_ns: int, end_ns: int, exchange: str | None, with_filled: bool, as_json: bool, config: Config) -> int:
    """List what may be missing: where, from when to when, and why.

    A gap without a symbol is one of a whole venue, or of a connection (--json names its symbols). One with ids is proven by
    a jump in them. Works beside a
    running collector. Exit code 1 where there are gaps.

    \b
    Example: pumpwatch gaps --from -2h --exchange okx
    """
    from pumpwatch.errors import ServiceUnavailable
    from pumpwatch.plugins import load_plugins
    from pumpwatch.store.ledger import Ledger, is_missing
    from pumpwatch.store.waiting import waiting_gaps

    folder = Path(config.store.dir)
    if is_missing(folder):
        raise ServiceUnavailable(f"nothing is stored in {folder}", "name the collector's config with -c")
    ledger = Ledger(folder, read_only=True)
    try:
        between = ledger.gaps_between(start_ns, end_ns)
    finally:
        ledger.close()
    between += [gap for gap in waiting_gaps(folder) if gap.to_ns > start_ns and gap.from_ns < end_ns and gap not in between]
    if exchange is not None:
        known = {(venue.exchange, venue.market_type) for venue in load_plugins(config).venues}
        refuse_unknown(known | {(gap.exchange, gap.market_type) for gap in between}, exchange)
    found = [gap for gap in between if exchange in (None, gap.exchange) and (with_filled or gap.state != "filled")]
    if as_json:
        print_json({"exchange": gap.exchange, "market_type": gap.market_type, "symbol": gap.symbol, "from_ns": gap.from_ns,
                    "to_ns": gap.to_ns, "first_id": gap.first_id, "last_id": gap.last_id, "state": gap.state.value,
                    "reason": gap.reason, "symbols": gap.symbols} for gap in found)
    elif found:
        print_table(("venue", "symbol", "from", "seconds", "ids", "state", "reason"), map(_gap_cells, found[-SHOWN:]),
                    f"the last {SHOWN} of {len(found):,}" if len(found) > SHOWN else "")
    say(f"{len(found):,} gaps")
    return EXIT_FOUND if found else EXIT_OK


def _gap_cells(gap: Gap) -> tuple[str, ...]:
    from datetime import UTC, datetime

    began = datetime.fromtimestamp(gap.from_ns / 1e9, UTC)
    named = gap.symbol or (f"{len(gap.symbols):,} of a connection" if gap.symbols else "all")
    return (f"{gap.exchange}.{gap.market_type}", named, f"{began:%Y-%m-%dT%H:%M:%SZ}",
            f"{(gap.to_ns - gap.from_ns) / 1e9:,.1f}", "" if gap.first_id is None else f"{gap.first_id} to {gap.last_id}",
            gap.state.value, gap.reason)
