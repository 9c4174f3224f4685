"""What is stored, what was recorded, what trades: trades, decode, titles, init-symbols."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import click

from pumpwatch.commands.options import config_option, json_option, moment, refuse_unknown
from pumpwatch.commands.output import print_json, print_table, say
from pumpwatch.errors import EXIT_FOUND, EXIT_OK, EXIT_UNAVAILABLE, PluginError, ServiceUnavailable, UsageError

if TYPE_CHECKING:
    from pumpwatch.catalogue import Catalogue
    from pumpwatch.config import Config
    from pumpwatch.model import TradeBatch

SHOWN = 40  # rows of a table; --json and --csv give all


@click.command()
@click.argument("coin")
@click.option("--from", "start_ns", callback=moment, default="-20m", show_default=True, metavar="TIME", help="Since.")
@click.option("--to", "end_ns", callback=moment, default="now", show_default=True, metavar="TIME", help="Before.")
@click.option("--exchange", metavar="NAME", help="Only this exchange.")
@click.option("--market", type=click.Choice(("spot", "futures")), help="Only this market.")
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV with a header line.")
@click.option("--parquet", metavar="FILE", help="Write a Parquet file.")
@json_option
@config_option
def trades(coin: str, start_ns: int, end_ns: int, exchange: str | None, market: str | None, as_csv: bool,
           parquet: str | None, as_json: bool, config: Config) -> int:
    """Show a coin's stored trades, wherever they are.

    TIME is ISO 8601 (UTC where no zone is given), an epoch in s, ms, us or ns, `now`, or `-20m`. Where the trades came
    from goes to stderr, as do the nearest coins where there is none of that name; exit code 69 where a place that may
    hold some did not answer.

    \b
    Example: pumpwatch trades PEPE --from 2026-11-21T10:00:00Z --to 2026-11-21T10:01:00Z --json
    """
    from pumpwatch.plugins import load_plugins
    from pumpwatch.store import export
    from pumpwatch.store.stored import StoredTrades

    if start_ns > end_ns:
        raise UsageError("--from is after --to", "give the earlier moment with --from")
    if as_csv + as_json + bool(parquet) > 1:
        raise UsageError("--json, --csv and --parquet are three ways to give the same: choose one")
    stored = StoredTrades(config, load_plugins(config))
    refuse_unknown(stored.venues(), exchange, market)
    found, catalogue = stored.of(coin, start_ns, end_ns, exchange, market), stored.catalogue
    batch = found.batch
    if parquet:
        export.write_parquet(batch, catalogue, Path(parquet).absolute())
    elif as_json:
        export.write_json_lines(batch, catalogue, sys.stdout.buffer)
    elif as_csv:
        export.write_csv(batch, catalogue, sys.stdout.buffer)
    else:
        _print_trades(batch, catalogue)
    sys.stdout.buffer.flush()
    for part in found.parts:
        say(f"{part.source}: {part.rows:,} trades in {part.ms:.0f} ms" + (f", {part.problem}" if part.problem else ""))
    say(f"{len(batch):,} trades of {coin.upper()}")
    if not catalogue.matching(coin):
        say(f"no such coin is stored in {config.store.dir}; nearest: {', '.join(_nearest(coin, catalogue)) or 'none'}")
    return EXIT_UNAVAILABLE if any(part.problem for part in found.parts) else EXIT_OK


def _nearest(coin: str, catalogue: Catalogue) -> list[str]:
    """Return up to three coins of the catalogue that are spelt much like this one."""
    import difflib

    return difflib.get_close_matches(coin.upper(), catalogue.coins(), 3, 0.5)


def _print_trades(batch: TradeBatch, catalogue: Catalogue) -> None:
    from pumpwatch.store import export

    if len(batch):
        print_table(export.TABLE_FIELDS, export.table_rows(batch.take(slice(SHOWN)), catalogue))
    if len(batch) > SHOWN:
        say(f"the first {SHOWN} of {len(batch):,}; --json and --csv give all")


@click.command()
@click.argument("venue")
@click.argument("file", default="-")
@click.option("--instruments", metavar="FILE", help="The venue's recorded symbol list, for contract sizes; else 1.")
@config_option
def decode(venue: str, file: str, instruments: str | None, config: Config) -> int:
    """Turn recorded frames into trades.

    VENUE is an exchange and a market, such as binance.spot. A line is a frame as it came, or JSON with the frame in
    `raw`. One JSON trade a line; frames that are neither trades nor known control go to stderr, and the exit code is 1.

    \b
    Example: pumpwatch decode binance.spot frames.txt
    """
    from pumpwatch.pipeline.decode import Decoder
    from pumpwatch.plugins import load_plugins

    try:
        found = load_plugins(config).venue(venue)
    except PluginError as error:
        raise UsageError(error.message, error.hint) from error
    body = _open(instruments).read() if instruments else None
    decoder = Decoder(found, body)
    with _open(file) as lines:
        print_json(decoder.lines(lines))
    for line, reason in decoder.refused:
        say(f"line {line}: refused: {reason}")
    if decoder.guessed:
        say(f"a contract counts 1, as {'--instruments lacks it' if instruments else 'there is no --instruments'}: "
            f"{', '.join(sorted(decoder.guessed)[:5])}{' and others' if len(decoder.guessed) > 5 else ''}")
    say(f"trades: {decoder.trades:,}, control frames: {decoder.controls:,}, refused: {len(decoder.refused):,}")
    return EXIT_FOUND if decoder.refused else EXIT_OK


def _open(file: str) -> BinaryIO:
    if file == "-":
        return sys.stdin.buffer
    try:
        return Path(file).open("rb")
    except OSError as error:
        raise UsageError(f"{file}: cannot be read: {error.strerror}") from error


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
    from pumpwatch.listing.title_verdict import titles_command
    from pumpwatch.plugins import load_plugins

    plugins = load_plugins(config)
    if source is None:
        if len(plugins.sources) != 1:
            raise UsageError(f"{len(plugins.sources)} listing sources are installed",
                             f"name one with --source: {', '.join(sorted(plugins.sources))}")
        source = next(iter(plugins.sources))
    try:
        judge = plugins.source(source)
    except PluginError as error:
        raise UsageError(error.message, error.hint) from error
    print_json(titles_command(file, judge))
    return EXIT_OK


@click.command("init-symbols")
@click.option("-o", "--output", metavar="FILE", help="Write there instead of `symbols_file` of the config; - is stdout.")
@click.option("--as-config", is_flag=True, help="Print the `exchanges` section of a config that collects just these symbols, "
                                                "to be pruned.")
@click.option("--plan", "as_plan", is_flag=True, help="Show on which connections the symbols would be read, and how long "
                                                      "the venues' limits make it take.")
@json_option
@config_option
def init_symbols(output: str | None, as_config: bool, as_plan: bool, as_json: bool, config: Config) -> int:
    """Ask every configured venue what trades there.

    Writes config/symbols.yaml: for each venue every symbol with its base and multiplier, and what is left out and why. A
    running collector keeps that file up to date. With --json one instrument a line, with --plan one connection a line,
    and nothing is written. Exit code 69 where a venue did not answer; what the file knew of it stays.

    \b
    Example: pumpwatch init-symbols --plan
    """
    from pumpwatch.commands import init_symbols as symbols
    from pumpwatch.plugins import load_plugins

    if sum((bool(output), as_config, as_plan)) > 1:
        raise UsageError("--output, --as-config and --plan are three different things: choose one")
    plugins = load_plugins(config)
    plugins.fit(config)
    lists, problems = symbols.ask_venues(config, plugins)
    if not lists:
        raise ServiceUnavailable(f"no venue gave its list: {'; '.join(problems) or 'none is to be collected'}")
    if as_plan:
        places = symbols.plan(lists)
        if as_json:
            print_json(places)
        else:
            print_table(symbols.PLAN_HEADINGS, symbols.plan_table(places), f"{len(places)} connections")
    elif as_json:
        print_json(symbols.rows_of(lists))
    elif as_config:
        click.echo(symbols.as_config(lists), nl=False)
    else:
        where = config.symbols_file if not output else output if output == "-" else str(Path(output).absolute())
        if not where:
            raise UsageError("the config has no `symbols_file`", "say where to with -o FILE, or -o - for stdout")
        if where == "-":
            click.echo(symbols.as_file(lists, "").text(), nl=False)
        else:
            symbols.as_file(lists, where).write()
            print_table(("venue", "symbols", "left out"), symbols.counts(lists), where)
    for problem in problems:
        say(problem)
    say(f"{sum(len(one.instruments) for one in lists):,} symbols, {sum(len(one.left_out) for one in lists):,} left out")
    return EXIT_UNAVAILABLE if problems else EXIT_OK
