"""Commands about channels: send each a test."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from pumpwatch.commands.options import config_option, json_option
from pumpwatch.commands.output import print_json, print_table, say
from pumpwatch.commands.table import Column

if TYPE_CHECKING:
    from pumpwatch.config import Config


@click.group()
def notify() -> None:
    """Test the channels that are told about listings."""


@notify.command()
@click.argument("names", metavar="[CHANNEL]...", nargs=-1)
@json_option
@config_option
def test(names: tuple[str, ...], as_json: bool, config: Config) -> int:
    """Send a drill to each channel, and say how it went.

    Needs no running collector. Exit code 69 if a channel did not take it, 78 if the config names no channel or an invalid one.

    \b
    Example: pumpwatch notify test
             pumpwatch notify test phone
    """
    from pumpwatch.errors import EXIT_OK, EXIT_UNAVAILABLE
    from pumpwatch.notify.trial import try_channels

    results = try_channels(config, names)
    if as_json:
        print_json({"name": result.name, "kind": result.kind, "taken": result.taken, "reason": result.reason, "ms": result.ms}
                   for result in results)
    else:
        print_table((Column("channel"), Column("kind"), Column("result"), Column("ms", right=True), Column("reason", wraps=True)),
                    ([result.name, result.kind, "taken" if result.taken else "failed", f"{result.ms:,.0f}", result.reason]
                     for result in results))
    failed = [result.name for result in results if not result.taken]
    say(f"{len(results) - len(failed)} of {len(results)} channels took the message")
    return EXIT_UNAVAILABLE if failed else EXIT_OK
