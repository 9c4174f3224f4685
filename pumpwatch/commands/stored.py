"""Care of what is stored: verify, backup, restore."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from pumpwatch.commands.options import config_option, json_option
from pumpwatch.commands.output import print_json, print_table, say
from pumpwatch.errors import EXIT_FOUND, EXIT_OK

if TYPE_CHECKING:
    from pumpwatch.config import Config


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
    from pumpwatch.config import options_of
    from pumpwatch.ops.verify import verify as run
    from pumpwatch.plugins import load_plugins

    sinks: dict[str, Any] = {}
    if with_sinks:
        kinds = load_plugins(config).sinks
        sinks = {name: kinds[name].create(options_of(config, "sinks", name, kinds[name].options))
                 for name in config.sinks if name in kinds}
    checked = list(run(Path(config.store.dir), sinks))
    if as_json:
        print_json({"segment": one.segment, "where": one.where, "expected": one.expected, "found": one.found,
                    "good": one.good, "problems": one.problems} for one in checked)
    else:
        print_table(("segment", "where", "trades", "found", "state", "problems"), (
            (one.segment, one.where, f"{one.expected:,}", f"{one.found:,}", "ok" if one.good else "fail",
             "\n".join(one.problems[:5])) for one in checked))
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

    return _say_files(run(Path(config.store.dir), Path(file)), as_json, f"in {file}")


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

    return _say_files(run(Path(file), Path(config.store.dir)), as_json, f"restored into {config.store.dir}")


def _say_files(rows: list[dict[str, Any]], as_json: bool, where: str) -> int:
    if as_json:
        print_json(rows)
    say(f"{len(rows)} files, {sum(row['bytes'] for row in rows):,} bytes, {where}")
    return EXIT_OK
