"""The command `notify test`: send a test message to each channel."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from pumpwatch.commands.options import config_option, json_option
from pumpwatch.commands.output import print_json, print_message, print_table
from pumpwatch.commands.table import Column

if TYPE_CHECKING:
    from pumpwatch.config import Config


@click.group()
def notify() -> None:
    """Test the channels that receive messages about listings."""


@notify.command()
@click.argument("names", metavar="[CHANNEL]...", nargs=-1)
@json_option
@config_option
def test(names: tuple[str, ...], as_json: bool, config: Config) -> int:
    """Send a drill to each channel, and show the results.

    Needs no running collector. Exit code 69 if a channel did not accept it, 78 without a valid channel in the config.

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
    print_message(f"{len(results) - len(failed)} of {len(results)} channels accepted the message")
    return EXIT_UNAVAILABLE if failed else EXIT_OK
