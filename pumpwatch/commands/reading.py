"""What is stored and what was recorded: trades, decode, titles."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from pumpwatch.commands.options import config_option
from pumpwatch.commands.output import print_json

if TYPE_CHECKING:
    from pumpwatch.config import Config

MARKETS = ("spot", "futures")


@click.command()
@click.argument("file", default="-")
@click.option("--source", metavar="NAME", help="Whose titles these are; needed where several are installed.")
@config_option
def titles(file: str, source: str | None, config: Config) -> int:
    """Judge notice titles, one a line.

    A line is a title as it is, or JSON with a `title`. One JSON verdict a line: kind, symbols (those that get a KRW
    market), markets (symbol to list), needs_body, notes.

    \b
    Example: pumpwatch titles notices.txt --source upbit
    """
    from pumpwatch.errors import UsageError
    from pumpwatch.listing.titles import titles_command
    from pumpwatch.plugins import load_plugins

    plugins = load_plugins(config)
    if source is None:
        if len(plugins.sources) != 1:
            raise UsageError(f"{len(plugins.sources)} listing sources are installed",
                             f"name one with --source: {', '.join(sorted(plugins.sources))}")
        source = next(iter(plugins.sources))
    print_json(titles_command(file, plugins.source(source)))
    return 0
