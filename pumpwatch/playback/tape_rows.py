"""An archive's trades as a simulated venue keeps them: exact decimals, in the venue's own unit of the quantity.

An archive has floating-point numbers, not the venue's digits. Each symbol gets the fewest decimals that represent all its
numbers, and at least those of the dialect. Quantities of futures are converted back to contracts.
"""

from __future__ import annotations

import bisect
import math
from dataclasses import dataclass, replace

import numpy as np

from pumpwatch.listing.books import Snapshot
from pumpwatch.model import FUTURES, NO_SEQUENCE, Flag, Float64, Int64
from pumpwatch.playback.archived import NO_NUMBER, ArchivedVenue
from pumpwatch.sim.book import MadeBook
from pumpwatch.sim.dialect import Coin, Dialect
from pumpwatch.sim.rows import Rows, SymbolSpec, SymbolTable

MOST_DECIMALS = 15
LARGEST = 2.0**62
TOLERANCE = 4.5e-16  # two units in the last place of a double: prices times a contract's size may be off by so much
SAID = int(Flag.BLOCK | Flag.RPI | Flag.INSURANCE_FUND | Flag.ADL | Flag.INTERNAL)  # flags that frames can carry


@dataclass(frozen=True, slots=True)
class VenueTape:
    """The trades of one venue, in the order of their arrival. arrived_at: ns, one a row. books: by symbol, by time."""

    rows: Rows
    arrived_at: Int64
    books: tuple[tuple[MadeBook, ...], ...]

    def shifted(self, by_ns: int) -> VenueTape:
        """Return the tape at other times."""
        return VenueTape(replace(self.rows, timestamp=self.rows.timestamp + by_ns), self.arrived_at + by_ns,
                         tuple(tuple(replace(book, at_ns=book.at_ns + by_ns) for book in books) for books in self.books))

    def book_at(self, symbol: int, now_ns: int) -> MadeBook | None:
        """Return the newest recorded book of a symbol at this time, None before the first."""
        books = self.books[symbol]
        place = bisect.bisect_right(books, now_ns, key=lambda book: book.at_ns)
        return books[place - 1] if place else None


def table_of(venue: ArchivedVenue, coin: str, dialect: Dialect) -> SymbolTable:
    """Return the symbols of an archived venue, with the decimals that its trades and books need."""
    named = np.array(venue.symbol, object)
    specs = []
    for row in venue.symbols:
        mine = named == row.symbol
        prices, quantities = venue.price[mine], venue.quantity[mine]
        usual = dialect.symbols([Coin(coin, float(prices[0]) if len(prices) else 1.0)])[0]
        size = row.contract_size if venue.name.endswith(f".{FUTURES}") else 1.0
        levels = [price for book in venue.books if book.symbol == row.symbol for side in (0, 2) for price in book.levels[side]]
        specs.append(SymbolSpec(
            symbol=row.symbol, coin=coin, base=row.base, quote=row.quote, price=float(prices[0]) if len(prices) else usual.price,
            price_decimals=decimals_of(np.concatenate([prices, levels]), usual.price_decimals),
            quantity_decimals=decimals_of(quantities / size, usual.quantity_decimals), contract_size=size))
    return SymbolTable(specs)


def decimals_of(values: Float64, least: int) -> int:
    """Return the fewest decimals, `least` or more, that give the numbers back; fewer where 64 bits do not hold them."""
    most = min(MOST_DECIMALS, int(math.log10(LARGEST / float(values.max(initial=1.0)))))
    for decimals in range(min(least, most), most):
        scale = 10.0**decimals
        if np.all(np.abs(np.rint(values * scale) / scale - values) <= TOLERANCE * values):
            return decimals
    return most


def tape_of(venue: ArchivedVenue, table: SymbolTable) -> VenueTape:
    """Return a venue's trades and books in the units of its table."""
    symbol = np.array([table.index[name] for name in venue.symbol], np.int32)
    size = table.contract_size[symbol]
    words = venue.number == NO_NUMBER
    numbers = np.where(venue.sequence == NO_SEQUENCE, np.arange(len(venue)), venue.sequence)
    trade_id = np.where(words, numbers, venue.number)
    text_id = np.where(words, np.array(venue.trade_id, object), "") if words.any() else None
    sequence = np.where(venue.sequence == NO_SEQUENCE, trade_id, venue.sequence)
    rows = Rows(table, symbol, trade_id, venue.timestamp, _units(venue.price, table.price_scale[symbol]),
                _units(venue.quantity * size[:, 1] / size[:, 0], table.quantity_scale[symbol]), venue.sell,
                (venue.flags & SAID).astype(np.uint8), sequence, text_id)
    books = tuple(tuple(_book(table, number, book) for book in sorted(
        (book for book in venue.books if book.symbol == name), key=lambda book: book.moment_ns))
        for number, name in enumerate(table.symbols))
    return VenueTape(rows, venue.arrived_at, books)


def _units(values: Float64, scale: Int64) -> Int64:
    units: Int64 = np.rint(values * scale).astype(np.int64)
    return units


def _book(table: SymbolTable, symbol: int, book: Snapshot) -> MadeBook:
    spec = table.specs[symbol]
    sides = []
    for price, quantity in ((book.levels[0], book.levels[1]), (book.levels[2], book.levels[3])):
        prices = _units(np.array(price), table.price_scale[symbol])
        quantities = _units(np.array(quantity) / spec.contract_size, table.quantity_scale[symbol])
        sides.append(list(zip(prices.tolist(), quantities.tolist(), strict=True)))
    return MadeBook(table, symbol, sides[0], sides[1], book.moment_ns, max(book.sequence, 0))
