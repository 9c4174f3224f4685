"""Trades as a table: a line for each, in plain decimals with aligned points."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from pumpwatch.catalogue import Catalogue
from pumpwatch.commands.cells import count, one_day, time_cell, venue_cell
from pumpwatch.commands.table import Cell, Column, Layout, Row, aligned, fit, plain, render, spelling
from pumpwatch.model import SIDES, TradeBatch

TRADES = (
    Column("time"), Column("venue"), Column("symbol"), Column("side"), Column("price", right=True),
    Column("quantity", right=True), Column("per", right=True, optional=True), Column("trade id", right=True, rank=1),
)
PRICE, QUANTITY = 4, 5  # their places in TRADES
SHORT_DIGITS = 6  # digits of a quantity in the narrowest table


def trade_rows(batch: TradeBatch, catalogue: Catalogue, *, with_day: bool = False,
               decimals: tuple[int, int] = (0, 0)) -> list[list[str | Cell]]:
    """Return a row of TRADES for each trade. `per` is the multiplier, empty for 1.

    `decimals` is the least number of decimals of price and quantity to leave room for.
    """
    prices, quantities = aligned(batch.price.tolist(), decimals[0]), aligned(batch.quantity.tolist(), decimals[1])
    rows: list[list[str | Cell]] = []
    short = [plain(quantity, SHORT_DIGITS) for quantity in batch.quantity.tolist()]
    for index, (at_ns, number, side, trade_id) in enumerate(zip(
            batch.timestamp.tolist(), batch.instrument.tolist(), batch.side.tolist(), batch.id_texts(), strict=True)):
        instrument = catalogue.instruments[number]
        per = "" if instrument.multiplier == 1 else f"{instrument.multiplier}"
        rows.append([time_cell(at_ns, with_day=with_day, digits=6, short_digits=3), venue_cell(*catalogue.venues[number]),
                     instrument.symbol, SIDES[side],
                     Cell(prices[index], prices[index], prices[index].rstrip()),
                     Cell(quantities[index], quantities[index], short[index]), per, trade_id])
    return rows


def per_remark(batch: TradeBatch, catalogue: Catalogue) -> str:
    """Return a sentence about symbols that trade in units of many coins; empty without them."""
    symbols: dict[int, list[str]] = {}
    for instrument in (catalogue.instruments[number] for number in sorted(set(batch.instrument.tolist()))):
        if instrument.multiplier != 1 and instrument.symbol not in symbols.setdefault(instrument.multiplier, []):
            symbols[instrument.multiplier].append(instrument.symbol)
    return "; ".join(f"per {multiplier}: one unit of {', '.join(names)} is {multiplier:,} coins, in price and quantity"
                     for multiplier, names in sorted(symbols.items()))


def trades_title(batch: TradeBatch, coin: str, of: int) -> str:
    """Return the title of a table of the last trades."""
    day = one_day(batch.timestamp.tolist())
    number = count(of, "trade") if len(batch) == of else f"the last {len(batch):,} of {count(of, 'trade')}"
    return f"{coin.upper()}: {number}, {f'{day} UTC' if day else 'times in UTC'}"


def has_days(batch: TradeBatch) -> bool:
    """Return whether short times need the day, because the trades are of several days."""
    return not one_day(batch.timestamp.tolist())


def trade_lines(batch: TradeBatch, catalogue: Catalogue, width: int) -> list[str]:
    """Return trades as lines of at most `width` characters, with a heading."""
    return render(TRADES, trade_rows(batch, catalogue, with_day=has_days(batch)), width)


class TradeLines:
    """Formats trades that come bit by bit; the columns keep their places as long as the trades fit into them."""

    def __init__(self, catalogue: Catalogue, width: int) -> None:
        self._catalogue, self._width = catalogue, width
        self._layout: Layout | None = None
        self._decimals = (0, 0)

    def add(self, batch: TradeBatch) -> list[str]:
        """Return the lines of these trades, with a heading before the first line and whenever the columns move."""
        rows = trade_rows(batch, self._catalogue, decimals=self._decimals)
        self._decimals = (_decimals(rows, PRICE), _decimals(rows, QUANTITY))
        if self._layout is not None and self._layout.holds(rows):
            return self._layout.lines(rows)
        before = {} if self._layout is None else self._layout.widths
        self._layout = fit([replace(column, least=before.get(index, 0)) for index, column in enumerate(TRADES)],
                           rows, self._width)
        if not self._layout.holds(rows):
            self._layout = fit(TRADES, rows, self._width)
        return [*self._layout.heading(), *self._layout.lines(rows)]


def _decimals(rows: Sequence[Row], index: int) -> int:
    """Return the number of decimals for which the cells of a column have room."""
    cells = [spelling(row[index], 0) for row in rows]
    return max((len(cell) - cell.index(".") - 1 for cell in cells if "." in cell), default=0)
