"""Commands that show market data: candles, ticker, orderbook, stats, store."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import click

from pumpwatch.commands.options import config_option, json_option, moment
from pumpwatch.commands.output import print_json, print_lines, print_message, print_table, terminal_width
from pumpwatch.errors import EXIT_FOUND, EXIT_OK, EXIT_UNAVAILABLE, ServiceUnavailable, UsageError

if TYPE_CHECKING:
    from pumpwatch.config import Config
    from pumpwatch.market.answers import CandleAnswer, Found

SHOWN = 40  # candles of a table unless --limit says otherwise

F = TypeVar("F", bound=Callable[..., Any])


def _narrowed(command: F) -> F:
    """Add `--exchange` and `--market`."""
    for option in (click.option("--market", type=click.Choice(("spot", "futures")), help="Only this market."),
                   click.option("--exchange", metavar="NAME", help="Only this exchange.")):
        command = option(command)
    return command


def _asking(default: bool) -> Callable[[F], F]:
    return click.option("--ask/--no-ask", default=default, show_default=True,
                        help="Ask the venues for data that is not stored here, within their limits.")


@click.command()
@click.argument("coins", nargs=-1, required=True)
@click.option("--interval", default="1m", show_default=True, metavar="NAME", help="1m, 5m, 15m, 1h, 4h or 1d.")
@click.option("--from", "start_ns", callback=moment, default="-24h", show_default=True, metavar="TIME",
              help="Candles since this moment.")
@click.option("--to", "end_ns", callback=moment, default="now", show_default=True, metavar="TIME",
              help="Candles before this moment.")
@_narrowed
@click.option("--limit", type=click.IntRange(1), metavar="N",
              help=f"Only the last N of each symbol. A table has {SHOWN} lines by default, --json and --csv have all.")
@click.option("--csv", "as_csv", is_flag=True, help="Print CSV with a header line.")
@click.option("--plot", is_flag=True, help="Draw the closing prices of each symbol.")
@_asking(False)
@json_option
@config_option
def candles(coins: Sequence[str], interval: str, start_ns: int, end_ns: int, exchange: str | None, market: str | None,
            limit: int | None, as_csv: bool, plot: bool, ask: bool, as_json: bool, config: Config) -> int:
    """Show the candles of coins, on every venue that lists them.

    TIME is ISO 8601 (UTC unless it names a zone), an epoch in s, ms, us or ns, `now`, or `-20m`. Candles come from the candle
    store, and the newest from stored trades. With --ask, minutes before the first known one come from the venue. Times without
    candles in which trades may be missing are listed on stderr. Volumes are in base units. Exit code 69 if a part could not be
    read.

    \b
    Example: pumpwatch candles SOMI --interval 5m --from -2h
             pumpwatch candles SOMI --exchange binance --csv
    """
    from pumpwatch.commands.market_tables import CANDLES, candle_plot, candle_rows, told_apart, write_csv
    from pumpwatch.market.opened import OpenMarket

    if as_csv + as_json + plot > 1:
        raise UsageError("--json, --csv and --plot exclude each other: choose one")
    with OpenMarket(config) as opened:
        answer = opened.get_candles(coins, interval, start_ns, end_ns, exchange=exchange, market=market, limit=limit, ask=ask)
    if as_json:
        print_json(answer.records())
    elif as_csv:
        write_csv(answer, sys.stdout.buffer)
    elif plot:
        print_lines(candle_plot(answer, terminal_width()))
    elif len(answer.rows):
        rows = candle_rows(answer)
        shown = rows if limit else rows[-SHOWN:]
        print_table(told_apart(CANDLES, shown), shown, f"candles of {interval}, {_of(coins)}, times in UTC")
    return _end(answer, coins)


def _end(answer: CandleAnswer, coins: Sequence[str]) -> int:
    from pumpwatch.commands.market_tables import counted, not_covered_lines

    print_message(*answer.problems, *not_covered_lines(answer), f"{counted(answer.rows)} of {_of(coins)}")
    return EXIT_UNAVAILABLE if answer.problems else EXIT_OK


@click.command()
@click.argument("coins", nargs=-1, required=True)
@_narrowed
@_asking(True)
@json_option
@config_option
def ticker(coins: Sequence[str], exchange: str | None, market: str | None, ask: bool, as_json: bool, config: Config) -> int:
    """Show the last price of coins, and their last 24 hours.

    The price is that of the last recorded trade if it is at most 5 minutes old, else the venue's. The 24-hour figures come from
    complete candles, else from the venue, whose answer is kept for 5 minutes. `from` and `age` are those of the price; a wide
    table shows the source of the 24-hour figures in `24 h`, and --json in `day_source`. Exit code 69 if a venue gave no ticker.

    \b
    Example: pumpwatch ticker SOMI
             pumpwatch ticker SOMI PEPE --exchange okx --json
    """
    from pumpwatch.commands.market_tables import TICKERS, ticker_record, ticker_row
    from pumpwatch.market.opened import OpenMarket

    with OpenMarket(config) as opened:
        found = opened.get_ticker(coins, exchange=exchange, market=market, ask=ask)
    return _show(found, as_json, ticker_record, TICKERS, ticker_row, f"last 24 hours of {_of(coins)}")


@click.command()
@click.argument("coins", nargs=-1, required=True)
@click.option("--depth", type=int, default=20, show_default=True, metavar="N", help="Levels of each side, 1 to 50.")
@_narrowed
@_asking(True)
@json_option
@config_option
def orderbook(coins: Sequence[str], depth: int, exchange: str | None, market: str | None, ask: bool, as_json: bool,
              config: Config) -> int:
    """Show the order books of coins: best prices and spread.

    Each line is a venue; `bids` and `asks` are the value of the requested levels, in USDT.

    A book is kept for 30 seconds; the table shows its age. --json has every level. Exit code 69 if a venue's book is missing,
    crossed or empty.

    \b
    Example: pumpwatch orderbook SOMI --depth 20
    """
    from pumpwatch.commands.market_tables import BOOKS, book_record, book_row
    from pumpwatch.market.opened import OpenMarket

    with OpenMarket(config) as opened:
        found = opened.get_orderbook(coins, depth, exchange=exchange, market=market, ask=ask)
    return _show(found, as_json, book_record, BOOKS, book_row, f"order books of {_of(coins)}, {depth} levels a side")


@click.command()
@click.argument("coins", nargs=-1, required=True)
@_narrowed
@_asking(False)
@json_option
@config_option
def stats(coins: Sequence[str], exchange: str | None, market: str | None, ask: bool, as_json: bool, config: Config) -> int:
    """Show figures of the last 24 hours from stored data.

    The time is exactly 24 hours, not a calendar day: trades of the first and last minute are counted one by one. `since` is the
    time of the first figure, if less is stored. A symbol without a trade is listed on stderr; its figures in --json are null.
    Exit code 69 if a part could not be read.

    \b
    Example: pumpwatch stats SOMI
    """
    from pumpwatch.commands.market_tables import STATS, stats_record, stats_row
    from pumpwatch.market.opened import OpenMarket

    with OpenMarket(config) as opened:
        found = opened.get_stats(coins, exchange=exchange, market=market, ask=ask)
    return _show(found, as_json, stats_record, STATS, stats_row, f"24 hours of {_of(coins)}, times in UTC")


def _show(found: Sequence[Found[Any]], as_json: bool, record: Callable[[Found[Any]], dict[str, Any]], columns: Sequence[Any],
          row: Callable[[Found[Any]], Any], title: str) -> int:
    """Print the answers, and the reasons for missing ones."""
    from pumpwatch.commands.market_tables import told_apart
    from pumpwatch.market.service import NOT_TRADED

    if as_json:
        print_json(record(answer) for answer in found)
    elif any(answer.value is not None for answer in found):
        rows = [row(answer) for answer in found if answer.value is not None]
        print_table(told_apart(columns, rows), rows, title)
    problems = [answer for answer in found if answer.problem]
    print_message(*(f"{answer.exchange}.{answer.market_type} {answer.symbol}: {answer.problem}" for answer in problems))
    return EXIT_UNAVAILABLE if any(answer.problem != NOT_TRADED for answer in problems) else EXIT_OK


def _of(coins: Sequence[str]) -> str:
    return ", ".join(coin.upper()[:40] for coin in coins[:5]) + (" and others" if len(coins) > 5 else "")


@click.command()
@click.option("--check", "checks", is_flag=True, help="Check every candle: doubles, order, prices, series, the file.")
@json_option
@config_option
def store(checks: bool, as_json: bool, config: Config) -> int:
    """Show the size and upkeep of the candle store.

    That includes fragmentation, the last tasks, index use, slow queries and migrations.

    The command only reads, so it may run beside a collector. Exit code 1 if --check finds a flaw, 69 if the folder does not
    have a candle store.

    \b
    Example: pumpwatch store
             pumpwatch store --check
    """
    from pathlib import Path

    from pumpwatch.commands.market_tables import FLAWS, flaw_rows, report_lines
    from pumpwatch.market.market_file import FILE_NAME, READER_HINT
    from pumpwatch.market.sqlite_store import SqliteCandleStore
    from pumpwatch.market.upkeep import CandleUpkeep

    file = Path(config.store.dir) / FILE_NAME
    if not file.exists():
        raise ServiceUnavailable(f"{file}: no candles are stored yet", "a collector stores them while `market.enabled` is true")
    opened = SqliteCandleStore(file, read_only=True)
    try:
        report, flaws = CandleUpkeep(opened).report(), opened.check() if checks else []
    finally:
        opened.close()
    if as_json:
        print_json([report, *({"flaw": flaw.kind, **flaw_rows([flaw])[0]} for flaw in flaws)])
    else:
        print_lines(report_lines(report))
        if flaws:
            print_table(FLAWS, [tuple(row.values()) for row in flaw_rows(flaws[:SHOWN])], f"{len(flaws):,} findings")
    if checks:
        print_message(f"findings: {len(flaws):,}", *([READER_HINT] if any(flaw.kind == "file" for flaw in flaws) else []))
    return EXIT_FOUND if flaws else EXIT_OK
