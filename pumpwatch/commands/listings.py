"""Listings: look at them, make an archive again, drop a notice into a running collector."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import click

from pumpwatch.commands.options import config_option, json_option, moment
from pumpwatch.commands.output import print_json, print_table, put, say
from pumpwatch.printable import printable

if TYPE_CHECKING:
    from pumpwatch.config import Config


@click.group()
def listing() -> None:
    """Look at listings and their archives."""


@listing.command()
@click.argument("coin")
@click.option("--at", "at_ns", callback=moment, required=True, metavar="TIME", help="When it was announced.")
@json_option
@config_option
def replay(coin: str, at_ns: int, as_json: bool, config: Config) -> int:
    """Make a window's archive again from the store.

    With or without a running collector. TIME is ISO 8601 (UTC where no zone is given), an epoch, or `-20m`.

    \b
    Example: pumpwatch listing replay PEPE --at 2026-11-21T10:00:00Z
    """
    from pumpwatch.listing.replay import replay as run

    made = run(config, coin, at_ns)
    if as_json:
        print_json([made])
    else:
        put(made["archive"])
        say(f"{made['trades']:,} trades of {made['coin']} from {', '.join(made['venues']) or 'no venue'}")
    return 0


@listing.command()
@click.argument("coin")
@click.option("--title", default="", help="The notice's title.")
@json_option
@config_option
def fake(coin: str, title: str, as_json: bool, config: Config) -> int:
    """Drop a notice for this coin into a running collector.

    It takes the notice within a second and opens a window, as if a notice board had published it now. Exit code 69 where
    no collector runs on the config's data folder.

    \b
    Example: pumpwatch listing fake PEPE
    """
    from pumpwatch.listing.inbox import drop
    from pumpwatch.ops import health

    health.read(Path(config.store.dir))  # that one runs
    dropped = drop(config, coin, title=title)
    if as_json:
        print_json([dropped])
    else:
        say(f"notice {dropped['notice_id']} for {dropped['symbol']} is in {dropped['file']}")
    return 0


@listing.command()
@click.argument("wanted", metavar="[ID]", required=False)
@json_option
@config_option
def show(wanted: str | None, as_json: bool, config: Config) -> int:
    """Show listings and their archives.

    ID is a coin, a notice's id or an archive's name, and shows the analysis as well; exit code 1 where there is none. An
    archive is final once no trade of its window is to come; until then it is looked at again. A late one was seen long after
    its publication.

    \b
    Example: pumpwatch listing show PEPE --json
    """
    from pumpwatch.listing.replay import show as find

    rows = find(config, wanted)
    if as_json:
        print_json(rows)
    elif rows:
        print_table(("listing", "coin", "announced", "late", "state", "trades", "final", "archive"), (
            (printable(row["id"]), printable(row["coin"]), row["announced_at"], "yes" if row["late"] else "no",
             row["state"], f"{row['trades']:,}", {None: "-", True: row["final_at"], False: "not yet"}[row["final"]],
             row["archive"] or printable(row["problem"])) for row in rows))
    if not rows:
        say(f"no listing is called {printable(wanted)}" if wanted else "no listing yet")
    return 1 if wanted and not rows else 0
