"""Commands that show data: trades, decode, titles, init-symbols."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

import click

from pumpwatch.commands.options import config_option, json_option, moment, refuse_unknown
from pumpwatch.commands.output import LINE, hushed, print_json, print_lines, print_message, print_table, shown, terminal_width
from pumpwatch.commands.repeat import repeat
from pumpwatch.commands.table import Column, cut, wrapped
from pumpwatch.errors import EXIT_FOUND, EXIT_OK, EXIT_UNAVAILABLE, PluginError, ServiceUnavailable, UsageError

if TYPE_CHECKING:
    from pumpwatch.catalogue import Catalogue
    from pumpwatch.commands.init_symbols import ListedSymbols
    from pumpwatch.config import Config
    from pumpwatch.model import TradeBatch
    from pumpwatch.store.query import QueryPart
    from pumpwatch.store.stored import StoredTrades

SHOWN, SHOWN_BEFORE = 40, 10  # trades of a table without --limit; stored trades that --follow begins with
FOLLOW_S = 0.5
AHEAD_NS = 60_000_000_000  # a venue's clock may be ahead of ours by this much


@click.command()
@click.argument("coin")
@click.option("--from", "start_ns", callback=moment, default="-20m", show_default=True, metavar="TIME",
              help="Trades since this moment.")
@click.option("--to", "end_ns", callback=moment, default="now", show_default=True, metavar="TIME",
              help="Trades before this moment.")
@click.option("--exchange", metavar="NAME", help="Only this exchange.")
@click.option("--market", type=click.Choice(("spot", "futures")), help="Only this market.")
@click.option("--limit", type=click.IntRange(1), metavar="N", help=f"Only the last N trades. A table has {SHOWN} by default, "
                                                                   "--json, --csv and --parquet have all.")
@click.option("-f", "--follow", is_flag=True, help="Continue with new trades as they become durable, until Ctrl-C.")
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV with a header line.")
@click.option("--parquet", metavar="FILE", help="Write a Parquet file.")
@json_option
@config_option
def trades(coin: str, start_ns: int, end_ns: int, exchange: str | None, market: str | None, limit: int | None, follow: bool,
           as_csv: bool, parquet: str | None, as_json: bool, config: Config) -> int:
    """Show the last stored trades of a coin.

    TIME is ISO 8601 (UTC unless it names a zone), an epoch in s, ms, us or ns, `now`, or `-20m`. The trades come from the
    journal and the sinks. stderr lists how many each gave, and similar names if the coin is unknown. Exit code 69 if a store
    that may hold some trades did not answer.

    \b
    Example: pumpwatch trades PEPE --limit 100
             pumpwatch trades PEPE --follow
             pumpwatch trades PEPE --from 2026-11-21T10:00Z --to 2026-11-21T10:01Z
    """
    from pumpwatch.ops.disk_watch import refuse_where_full
    from pumpwatch.plugins import load_plugins
    from pumpwatch.store.stored import StoredTrades

    if parquet:
        refuse_where_full(Path(parquet).absolute().parent, config.disk)
    if start_ns > end_ns:
        raise UsageError("--from is after --to", "give the earlier moment with --from")
    if as_csv + as_json + bool(parquet) > 1:
        raise UsageError("--json, --csv and --parquet exclude each other: choose one")
    if follow and (as_csv or parquet or _is_given("end_ns")):
        raise UsageError("--follow excludes --csv, --parquet and --to", "leave them out; Ctrl-C ends it")
    stored = StoredTrades(config, load_plugins(config))
    refuse_unknown(stored.venues(), exchange, market)
    if follow:
        return _follow(stored, config, coin, start_ns, _Choice(exchange, market), limit, as_json)
    found = stored.of(coin, start_ns, end_ns, exchange, market)
    form = "parquet" if parquet else "csv" if as_csv else "json" if as_json else "table"
    count = len(found.batch)
    last = limit or (SHOWN if form == "table" else count)
    _export(found.batch.take(slice(max(0, count - last), None)), count, stored.catalogue, coin, form, parquet)
    for part in found.parts:
        _report_part(part)
    print_message(f"{count:,} trades of {coin.upper()}")
    _report_unknown(coin, stored.catalogue, config)
    return EXIT_UNAVAILABLE if any(part.problem for part in found.parts) else EXIT_OK


def _report_part(part: QueryPart) -> None:
    where = f" {part.detail}" if part.detail else ""
    problem = f", {part.problem}" if part.problem else ""
    print_message(f"{part.source}: {part.rows:,} trades{where} in {part.ms:.0f} ms{problem}")


class _Choice(NamedTuple):
    exchange: str | None
    market: str | None


def _is_given(parameter: str) -> bool:
    source = click.get_current_context().get_parameter_source(parameter)
    return source is click.core.ParameterSource.COMMANDLINE


def _export(batch: TradeBatch, found: int, catalogue: Catalogue, coin: str, form: str, parquet: str | None) -> None:
    """Print trades as JSON, CSV or a table, or write them to a Parquet file. found: how many trades they are the last of."""
    from pumpwatch.commands.trade_table import per_remark, trade_lines, trades_title
    from pumpwatch.store import export

    if parquet:
        export.write_parquet(batch, catalogue, Path(parquet).absolute())
    elif form == "json":
        export.write_json_lines(batch, catalogue, sys.stdout.buffer)
    elif form == "csv":
        export.write_csv(batch, catalogue, sys.stdout.buffer)
    elif len(batch):
        width = terminal_width()
        remark = per_remark(batch, catalogue)
        print_lines([trades_title(batch, coin, found), *map(shown, trade_lines(batch, catalogue, width)),
                     *(wrapped(remark, width) if remark else ())])
    sys.stdout.buffer.flush()


def _follow(stored: StoredTrades, config: Config, coin: str, start_ns: int, choice: _Choice, limit: int | None,
            as_json: bool) -> int:
    """Print the last stored trades, then each new trade once. Report parts of the store that could not be read."""
    from pumpwatch.clock import Clock
    from pumpwatch.commands.follow import NewTrades, keys_of, without
    from pumpwatch.commands.trade_table import TradeLines
    from pumpwatch.store import export

    catalogue = stored.catalogue
    new = NewTrades(Path(config.store.dir), catalogue, lambda: [
        number for number in catalogue.matching(coin) if choice.exchange in (None, catalogue.venues[number][0])
        and choice.market in (None, catalogue.venues[number][1])])
    lines = TradeLines(catalogue, terminal_width())

    def show(batch: TradeBatch) -> None:
        if as_json:
            export.write_json_lines(batch, catalogue, sys.stdout.buffer)
            sys.stdout.buffer.flush()
        elif len(batch):
            print_lines(map(shown, lines.add(batch)))

    print_message(f"new trades of {coin.upper()} as they become durable, times in UTC; Ctrl-C ends it")
    new.start()
    now_ns = Clock().now_ns()
    found = stored.of(coin, start_ns, now_ns + AHEAD_NS, *choice)
    before = found.batch
    for part in found.parts:
        if part.problem:
            _report_part(part)
    known = keys_of(before.take(before.received_at > now_ns - AHEAD_NS))  # if committed after `start`, `look` returns them again
    _report_unknown(coin, catalogue, config)
    show(before.take(slice(-(limit or SHOWN_BEFORE), None)))
    return repeat(lambda: show(without(new.look(), known)), FOLLOW_S)


def _report_unknown(coin: str, catalogue: Catalogue, config: Config) -> None:
    """Report coins with similar names if nothing is stored of this one."""
    import difflib

    if not catalogue.matching(coin):
        nearest = difflib.get_close_matches(coin.upper(), catalogue.coins(), 3, 0.5)
        similar = f"; nearest: {', '.join(nearest)}" if nearest else ""
        print_message(f"no coin of this name is stored in {config.store.dir}{similar}")


@click.command()
@click.argument("venue")
@click.argument("file", default="-")
@click.option("--instruments", metavar="FILE", help="The venue's recorded symbol list, for contract sizes; else they are 1.")
@config_option
def decode(venue: str, file: str, instruments: str | None, config: Config) -> int:
    """Turn recorded frames into trades.

    VENUE is an exchange and a market, such as binance.spot. Each line of FILE is a frame as received, or JSON with the frame in
    `raw`. Prints one JSON trade a line. Frames that are neither trades nor known control frames are reported on stderr; the
    exit code is then 1.

    \b
    Example: pumpwatch decode binance.spot frames.txt
    """
    from pumpwatch.pipeline.decode import Decoder
    from pumpwatch.plugins import load_plugins

    try:
        found = load_plugins(config).venue(venue)
    except PluginError as error:
        raise UsageError(error.message, error.hint) from error
    body = None
    if instruments:
        with _open(instruments) as listed:
            body = listed.read()
    decoder = Decoder(found, body)
    with _open(file) as lines:
        print_json(decoder.lines(lines))
    for line, reason in decoder.refused:
        print_message(f"line {line}: refused: {reason}")
    if decoder.guessed:
        print_message(f"contract size taken as 1, {'not found in' if instruments else 'without'} --instruments: "
                      f"{', '.join(sorted(decoder.guessed)[:5])}{' and others' if len(decoder.guessed) > 5 else ''}")
    print_message(f"trades: {decoder.trades:,}, control frames: {decoder.controls:,}, refused: {len(decoder.refused):,}")
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
@click.option("--source", metavar="NAME", help="The source of these titles; by default the first one of the config.")
@config_option
def titles(file: str, source: str | None, config: Config) -> int:
    """Judge notice titles, one a line.

    Each line is a title, or JSON with a `title`. Prints one JSON verdict a line: kind, symbols (those that get a KRW market),
    markets (a list for each symbol), needs_body, notes.

    \b
    Example: pumpwatch titles notices.txt --source upbit
    """
    from pumpwatch.hookspecs import MarketSource
    from pumpwatch.listing.title_verdict import titles_command
    from pumpwatch.plugins import load_plugins

    plugins = load_plugins(config)
    judges = {name: found for name, found in plugins.sources.items()
              if not isinstance(found, MarketSource) and found.verdict is not None}
    if source is None:
        source = next((name for name in (*config.listing.sources, *sorted(judges)) if name in judges), "")
    try:
        judge = judges.get(source) or plugins.source(source)
    except PluginError as error:
        raise UsageError(error.message, error.hint) from error
    if isinstance(judge, MarketSource) or judge.verdict is None:
        raise UsageError(f"the listing source `{source}` does not judge titles",
                         f"name one with --source: {', '.join(sorted(judges))}")
    print_json(titles_command(file, judge))
    return EXIT_OK


@click.command("init-symbols")
@click.option("-o", "--output", metavar="FILE", help="Write to this file instead of `symbols_file` of the config; - is stdout.")
@click.option("--as-config", is_flag=True, help="Print the `exchanges` section of a config that collects exactly these symbols, "
                                                "for you to prune.")
@click.option("--plan", "as_plan", is_flag=True, help="Show the connections on which the symbols would be read, and how long "
                                                      "subscribing takes within the venues' limits.")
@json_option
@config_option
def init_symbols(output: str | None, as_config: bool, as_plan: bool, as_json: bool, config: Config) -> int:
    """Ask every configured venue for its symbols.

    Writes config/symbols.yaml: for each venue, every symbol with its base and multiplier, and every excluded symbol with the
    reason. A running collector keeps that file up to date. --json prints one instrument a line, --plan one connection a line;
    both write nothing. Exit code 69 if a venue did not answer; its symbols in the file then stay.

    \b
    Example: pumpwatch init-symbols --plan
    """
    from pumpwatch.commands import init_symbols as symbols
    from pumpwatch.plugins import load_plugins

    if sum((bool(output), as_config, as_plan)) > 1:
        raise UsageError("--output, --as-config and --plan exclude each other: choose one")
    plugins = load_plugins(config)
    plugins.fit(config)
    with hushed("pumpwatch.instruments.volumes"):
        lists, problems = symbols.ask_venues(config, plugins)
    for problem in [*problems, *symbols.without_volumes(lists)]:
        print_message(cut(shown(problem), LINE - 2))
    if not lists:
        raise ServiceUnavailable("no venue gave its list of symbols", "check the network: `pumpwatch check --connect` tries "
                                                                      "each service")
    if as_plan:
        places = symbols.plan(lists)
        if as_json:
            print_json(places)
        else:
            print_table(symbols.PLAN, symbols.plan_table(places), f"{len(places)} connections")
    elif as_json:
        print_json(symbols.rows_of(lists))
    elif as_config:
        click.echo(symbols.as_config(lists), nl=False)
    else:
        _write_symbols(lists, output, config)
    print_message(f"{sum(len(venue.instruments) for venue in lists):,} symbols, "
                  f"{sum(len(venue.left_out) for venue in lists):,} left out")
    return EXIT_UNAVAILABLE if problems else EXIT_OK


def _write_symbols(lists: Sequence[ListedSymbols], output: str | None, config: Config) -> None:
    from pumpwatch.commands import init_symbols as symbols

    where = config.symbols_file if not output else output if output == "-" else str(Path(output).absolute())
    if not where:
        raise UsageError("the config has no `symbols_file`", "name a file with -o FILE, or -o - for stdout")
    if where == "-":
        click.echo(symbols.as_file(lists, "").text(), nl=False)
        return
    symbols.as_file(lists, where).write()
    print_table(("venue", Column("symbols", right=True), Column("left out", right=True)), symbols.counts(lists), where)
