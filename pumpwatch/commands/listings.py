"""Commands for listings: show them, rebuild or check an archive, start a drill."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from pumpwatch.commands.options import config_option, json_option, moment, with_config
from pumpwatch.commands.output import (
    print_json,
    print_line,
    print_lines,
    print_message,
    print_table,
    program,
    shown,
    terminal_width,
)
from pumpwatch.errors import UsageError
from pumpwatch.printable import printable

if TYPE_CHECKING:
    from pumpwatch.config import Config


@click.group()
def listing() -> None:
    """Show listings, rebuild and check archives, start a drill."""


@listing.command()
@click.argument("coin")
@click.option("--at", "at_ns", callback=moment, required=True, metavar="TIME", help="The moment of the announcement.")
@json_option
@config_option
def replay(coin: str, at_ns: int, as_json: bool, config: Config) -> int:
    """Rebuild a window's archive from the store.

    Works with and without a running collector. The same trades, gaps and listings give the same files byte for byte, except
    manifest.json. Order books are kept from the existing archive, their only store. TIME is ISO 8601 (UTC unless it names a
    zone), an epoch, or `-20m`.

    \b
    Example: pumpwatch listing replay PEPE --at 2026-11-21T10:00:00Z
    """
    from pumpwatch.listing.replay import replay as run

    made = run(config, coin, at_ns)
    if as_json:
        print_json([made])
    else:
        print_line(made["archive"])
        print_message(f"{made['trades']:,} trades of {made['coin']} from {', '.join(made['venues']) or 'no venue'}")
        print_message(f"{made['books']:,} order books, kept from the archive" if made["books"] else
                      "no order books: the archive that was written while the window was open is their only store")
    return 0


@listing.command()
@click.argument("coin")
@click.option("--title", default="", help="The notice's title; with --source that board's rules judge it.")
@click.option("--source", "source_name", metavar="NAME", default="", help="Treat it as a notice of this board.")
@click.option("--delay", "delay_s", metavar="SECONDS", type=click.FloatRange(min=0), default=0.0,
              help="Treat it as published this long ago.")
@json_option
@config_option
def fake(coin: str, title: str, source_name: str, delay_s: float, as_json: bool, config: Config) -> int:
    """Start a drill: give a running collector a notice for a coin.

    The collector reads it within a second and treats it like a notice of a board: window, archive, rows in the sinks and
    messages, each marked as a drill. Exit code 69 if no collector runs on the config's data folder.

    \b
    Example: pumpwatch listing fake PEPE
             pumpwatch listing fake PEPE --source upbit --delay 2.5
    """
    from pumpwatch.listing.inbox import chosen_source, drop
    from pumpwatch.ops import health

    health.read(Path(config.store.dir))  # raises if no collector runs
    source = chosen_source(config, source_name) if source_name else None
    dropped = drop(config, coin, title=title, source=source, delay_s=delay_s)
    if as_json:
        print_json([dropped])
    else:
        print_message(f"drill {dropped['notice_id']} for {dropped['symbol']} is in {dropped['file']}")
    return 0


@listing.command()
@click.argument("path", type=click.Path(path_type=Path))
@json_option
def verify(path: Path, as_json: bool) -> int:
    """Check an archive against its manifest.

    PATH is an archive's folder. It must hold every file of manifest.json with its size and SHA-256, and no other file. Exit
    code 1 if a file differs. Neither a config nor a collector is needed.

    \b
    Example: pumpwatch listing verify data/PEPE_20261121T100000Z
    """
    from pumpwatch.listing.archive_check import check_archive

    checked = check_archive(path)
    if as_json:
        print_json([{"archive": str(checked.archive), "good": not checked.faults, "files": checked.files, "bytes": checked.bytes,
                     "trades": checked.trades,
                     "faults": [{"file": fault.file, "problem": fault.problem} for fault in checked.faults]}])
    elif checked.faults:
        for fault in checked.faults:
            print_line(printable(f"{fault.file}: {fault.problem}"))
    else:
        print_line(f"{checked.files} files with {checked.trades:,} trades match the manifest")
    return 1 if checked.faults else 0


@listing.command()
@click.argument("wanted", metavar="[ID]", required=False)
@click.option("--plot", is_flag=True, help="Draw the price, a dot for each trade of every venue.")
@json_option
@config_option
def show(wanted: str | None, plot: bool, as_json: bool, config: Config) -> int:
    """Show all listings, or the markets of one.

    ID is a coin, a notice's id or an archive's name. With it, the command shows the market that moved first, the highest peak,
    and a row for each market; --plot draws the price. Without it, each listing is a line. Exit code 1 if the listing is not
    known. An archive is final when no more trades of its window are expected, and complete when no venue's trades may be
    missing. A late listing was seen long after its publication.

    \b
    Example: pumpwatch listing show
             pumpwatch listing show PEPE --plot
    """
    if plot and (as_json or not wanted):
        raise UsageError("--plot draws one listing", "name it, without --json: pumpwatch listing show COIN --plot")
    from pumpwatch.commands.listing_view import LISTINGS, listing_lines, listing_rows
    from pumpwatch.listing.replay import show as find

    found = find(config, wanted)
    if as_json:
        print_json(found)
    elif wanted:
        for number, row in enumerate(found):
            print_lines([*([""] if number else []), *listing_lines(shown(row), terminal_width())])
            if plot and row["state"] == "written":
                print_lines(["", *_plot(Path(row["archive"]))])
    elif found:
        print_table(LISTINGS, listing_rows(found))
        print_message(f"who moved first: {program()} listing show {found[-1]['coin']}{with_config(config)}")
    if not found:
        print_message(f"listing `{printable(wanted)}` is not known" if wanted else "no listing yet")
    return 1 if wanted and not found else 0


def _plot(archive: Path) -> list[str]:
    from pumpwatch.commands.price_plot import price_plot
    from pumpwatch.listing.archived_prices import read_prices

    prices = read_prices(archive)
    return price_plot(prices.seconds, prices.price, terminal_width())
