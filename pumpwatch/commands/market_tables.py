"""The rows of market data in tables, as JSON and as CSV."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Sequence
from dataclasses import asdict, fields, replace
from typing import Any, BinaryIO

import numpy as np

from pumpwatch.clock import NS_PER_S
from pumpwatch.commands.cells import lasted, one_day, size, time_cell, venue_cell
from pumpwatch.commands.output import terminal_width
from pumpwatch.commands.price_plot import price_plot
from pumpwatch.commands.table import Cell, Column, Row, plain, wrapped
from pumpwatch.market.answers import CandleAnswer, Found, SymbolStats
from pumpwatch.market.candle_columns import CandleColumns, CandleOrigin
from pumpwatch.market.interfaces import Flaw
from pumpwatch.order_book import OrderBook
from pumpwatch.ticker import Ticker

NOT_COVERED_LINES = 5
KEYS = ("exchange", "market_type", "symbol", "interval", "timestamp", "open", "high", "low", "close", "volume", "quote_volume",
        "taker_buy_volume", "trades", "complete", "origin")
CANDLES = (Column("time"), Column("venue"), Column("symbol", rank=3, wraps=True), Column("open", right=True),
           Column("high", right=True), Column("low", right=True), Column("close", right=True),
           Column("volume", right=True, rank=1), Column("trades", right=True, rank=2), Column("origin", rank=4),
           Column("note", optional=True, rank=5))
TICKERS = (Column("venue"), Column("symbol", rank=4), Column("price", right=True), Column("change", right=True),
           Column("high", right=True), Column("low", right=True), Column("volume", right=True, rank=1),
           Column("quote volume", right=True, rank=7), Column("trades", right=True, rank=6), Column("from", rank=2),
           Column("age", right=True, rank=3), Column("24 h", rank=5))
BOOKS = (Column("venue"), Column("symbol", rank=3), Column("bid", right=True), Column("ask", right=True),
         Column("spread", right=True), Column("bids, USDT", "bids", right=True, rank=1),
         Column("asks, USDT", "asks", right=True, rank=1), Column("from"), Column("age", right=True, rank=2))
STATS = (Column("venue"), Column("symbol", rank=6), Column("price", right=True), Column("change", right=True),
         Column("high", right=True), Column("low", right=True), Column("volume", right=True, rank=1),
         Column("quote volume", right=True, rank=5), Column("trades", right=True, rank=2), Column("since", rank=3),
         Column("note", optional=True, rank=4))


def told_apart(columns: Sequence[Column], rows: Sequence[Row]) -> list[Column]:
    """Return the columns for rows; the symbol stays in a narrow table if a venue has several."""
    headings = [column.heading for column in columns]
    venue, symbol = headings.index("venue"), headings.index("symbol")
    several = len({(row[venue], row[symbol]) for row in rows}) > len({row[venue] for row in rows})
    return [replace(column, rank=0) if several and index == symbol else column for index, column in enumerate(columns)]


def _short(number: float) -> str:
    """Return a number for a table; empty if it is unknown."""
    return "" if math.isnan(number) else plain(number, 6)


def _amount(number: float) -> str:
    """Return an amount in thousands, millions or billions, or as it is; empty if it is unknown."""
    if math.isnan(number):
        return ""
    for unit, name in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(number) >= unit:
            return f"{number / unit:.2f}{name}"
    return plain(number, 4)


def _percent(share: float) -> str:
    """Return a change in percent with its sign, 0.00 % without one; empty if it is unknown."""
    text = f"{100 * share:+z.2f} %"
    return "" if math.isnan(share) else "0.00 %" if text == "+0.00 %" else text


def _count(number: int) -> str:
    return "" if number < 0 else f"{number:,}"


def candle_rows(answer: CandleAnswer) -> list[Row]:
    """Return a row for each candle, by time."""
    rows = answer.rows.take(np.lexsort((answer.rows.series, answer.rows.timestamp)))
    with_day = not one_day(rows.timestamp.tolist())
    found: list[Row] = []
    for place, at_ns, opened, high, low, close, volume, _, _, trades, complete, origin in zip(
            *(column.tolist() for column in rows.columns()), strict=True):
        exchange, market_type, symbol = answer.series[place]
        moment = time_cell(at_ns, with_day=with_day, digits=0)
        found.append((moment, venue_cell(exchange, market_type), symbol, *map(_short, (opened, high, low, close)),
                      _amount(volume), _count(trades), CandleOrigin(origin).name.lower(),
                      "" if complete else "may be incomplete"))
    return found


def not_covered_lines(answer: CandleAnswer) -> list[str]:
    """Return a line for each time without candles, with its symbols, the newest first."""
    symbols: dict[tuple[int, int], list[str]] = {}
    for (exchange, market_type, symbol), from_ns, to_ns in answer.not_covered:
        symbols.setdefault((from_ns, to_ns), []).append(f"{exchange}.{market_type} {symbol}")
    lines = []
    for (from_ns, to_ns), names in sorted(symbols.items(), reverse=True)[:NOT_COVERED_LINES]:
        moments = " to ".join(str(time_cell(at, with_day=True, digits=0).full) for at in (from_ns, to_ns))
        lines.append(f"not covered: {moments}: {names[0]}" + (f" and {len(names) - 1} more" if len(names) > 1 else ""))
    left = len(symbols) - len(lines)
    return [*lines, f"not covered: {left:,} earlier times"] if left > 0 else lines


def counted(rows: CandleColumns) -> str:
    """Return the number of candles with its noun."""
    return f"{len(rows):,} candle{'' if len(rows) == 1 else 's'}"


def candle_plot(answer: CandleAnswer, width: int) -> list[str]:
    """Return a plot of the closing prices of each series, with the times of its first and last candle below."""
    lines: list[str] = []
    for place, (exchange, market_type, symbol) in enumerate(answer.series):
        rows = answer.rows.take(answer.rows.series == place)
        if len(rows):
            seconds = (rows.timestamp - rows.timestamp[-1]) / NS_PER_S
            lines += [f"{exchange}.{market_type} {symbol}, {counted(rows)} of {answer.interval}",
                      *price_plot(seconds, rows.close, width, ends=(_moment(rows.timestamp[0]), _moment(rows.timestamp[-1])))]
    return lines


def _moment(at_ns: int) -> str:
    return time_cell(int(at_ns), with_day=True, digits=0).full


def write_csv(answer: CandleAnswer, out: BinaryIO) -> None:
    """Write the candles as CSV with a header line; unknown figures are empty."""
    text = io.TextIOWrapper(out, "utf-8", newline="", write_through=True)
    writer = csv.DictWriter(text, KEYS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(answer.records())
    text.detach()


def _about(found: Found[Any]) -> dict[str, Any]:
    return {"exchange": found.exchange, "market_type": found.market_type, "symbol": found.symbol}


def _end(found: Found[Any]) -> dict[str, Any]:
    return {"source": found.source, "age_s": round(found.age_s, 3), "problem": found.problem}


def _known(values: dict[str, Any]) -> dict[str, Any]:
    """Return values with None for unknown figures."""
    return {name: None if value != value or (name, value) == ("trades", -1) else value for name, value in values.items()}


def ticker_record(found: Found[Ticker]) -> dict[str, Any]:
    """Return a ticker as an object with stable keys; unknown figures are null."""
    value = found.value
    names = [*(name.name for name in fields(Ticker)), "change"]
    figures = dict.fromkeys(names) if value is None else _known({**asdict(value), "change": value.change})
    return {**_about(found), **figures, **_end(found), "day_source": found.day_source, "day_age_s": round(found.day_age_s, 3)}


def ticker_row(found: Found[Ticker]) -> Row:
    """Return a row of TICKERS."""
    value = _value(found)
    return (venue_cell(found.exchange, found.market_type), found.symbol, _short(value.price), _percent(value.change),
            _short(value.high), _short(value.low), _amount(value.volume), _amount(value.quote_volume), _count(value.trades),
            found.source, lasted(int(found.age_s * NS_PER_S)), found.day_source)


def book_record(found: Found[OrderBook]) -> dict[str, Any]:
    """Return an order book as an object with stable keys: bid, ask, spread and all levels as [price, quantity]."""
    book = found.value
    best = {"bid": None, "ask": None, "spread": None, "bids": [], "asks": [], "at_ns": None} if book is None else _known({
        "bid": book.bids[0][0] if book.bids else None, "ask": book.asks[0][0] if book.asks else None, "spread": _spread(book),
        "bids": list(book.bids), "asks": list(book.asks), "at_ns": book.at_ns})
    return {**_about(found), **best, **_end(found)}


def book_row(found: Found[OrderBook]) -> Row:
    """Return a row of BOOKS; the spread is a share of the mid price."""
    book = _value(found)
    spread = _spread(book)
    return (venue_cell(found.exchange, found.market_type), found.symbol, _short(book.bids[0][0]) if book.bids else "",
            _short(book.asks[0][0]) if book.asks else "", "" if math.isnan(spread) else f"{100 * spread:.3f} %",
            *(_amount(sum(price * quantity for price, quantity in side)) for side in (book.bids, book.asks)), found.source,
            lasted(int(found.age_s * NS_PER_S)))


def _spread(book: OrderBook) -> float:
    """Return the distance of the best prices as a share of the mid price; nan unless both are known."""
    if not book.bids or not book.asks:
        return math.nan
    bid, ask = book.bids[0][0], book.asks[0][0]
    return 2 * (ask - bid) / (ask + bid)


def stats_record(found: Found[SymbolStats]) -> dict[str, Any]:
    """Return the figures as an object with stable keys; unknown figures are null."""
    value = found.value
    names = [*(name.name for name in fields(SymbolStats)), "change"]
    figures = dict.fromkeys(names) if value is None else _known({**asdict(value), "change": value.change})
    return {**_about(found), **figures, **_end(found)}


def stats_row(found: Found[SymbolStats]) -> Row:
    """Return a row of STATS."""
    value = _value(found)
    since: str | Cell = time_cell(value.first_ns, with_day=True, digits=0)
    return (venue_cell(found.exchange, found.market_type), found.symbol, _short(value.close), _percent(value.change),
            _short(value.high), _short(value.low), _amount(value.volume), _amount(value.quote_volume), _count(value.trades),
            since, "" if value.complete else "may be incomplete")


def _value(found: Found[Any]) -> Any:
    """Return the value of an answer that has one."""
    assert found.value is not None
    return found.value


LABEL = 17  # columns of the names in `store`


def report_lines(report: dict[str, Any]) -> list[str]:
    """Return the upkeep of a candle store as lines, one subject each."""
    state = report["fragmentation"]
    rows = [("file", report["file"]), ("size", f"{size(report['size_bytes'])}, and {size(report['log_bytes'])} of the log"),
            ("fragmentation", f"{state['free_pages']:,} of {state['pages']:,} pages are free")]
    rows += [("candles" if number == 0 else "", f"{row['interval']:<4}" + ", ".join(
        f"{name.replace('_', ' ')} {value:,}" for name, value in row.items() if name != "interval"))
        for number, row in enumerate(report["intervals"])]
    rows += [] if report["intervals"] else [("candles", "none yet")]
    rows += [(task, f"{time_cell(last['at'] * NS_PER_S, with_day=True, digits=0).full}  {last['result']}")
             for task, last in report["upkeep"].items()]
    rows += [("last vacuum", "never")] if "vacuum" not in report["upkeep"] else []
    rows += [(f"indexes {name}", ", ".join(found) or "none") for name, found in report["indexes"].items()]
    rows += [("slow query", f"{query['slow']:,} of {query['times']:,} times, {query['worst_ms']:.0f} ms: {query['query']}")
             for query in report["slow_queries"]]
    rows.append(("migrations", ", ".join(report["migrations"])))
    lines = [f"{label:<{LABEL}}{text}" for label, text in rows]
    return [line.rstrip() for text in lines for line in wrapped(text, terminal_width())]


FLAWS = (Column("kind"), Column("venue", rank=1), Column("symbol", wraps=True), Column("interval", rank=2), Column("time"),
         Column("detail", wraps=True))


def flaw_rows(flaws: Sequence[Flaw]) -> list[dict[str, str]]:
    """Return a row for each flaw, under stable keys."""
    found = []
    for flaw in flaws:
        exchange, market_type, symbol = flaw.series or ("", "", "")
        found.append({"kind": flaw.kind, "venue": f"{exchange}.{market_type}" if exchange else "", "symbol": symbol,
                      "interval": flaw.interval, "time": time_cell(flaw.timestamp_ns, with_day=True, digits=0).full,
                      "detail": flaw.detail})
    return found
