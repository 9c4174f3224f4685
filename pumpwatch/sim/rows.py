"""Trades of a simulated venue as columns: exact decimals as integers, and the texts for frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import numpy as np
from numpy.typing import NDArray

VOID = 128  # flags bit: the row uses up an id and is not a trade; the other bits are pumpwatch.Flag

DAY_VOLUME = 5e9  # USDT traded on a venue in 24 hours

Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class SymbolSpec:
    """One symbol of a simulated venue."""

    symbol: str
    coin: str  # the name in a listing: PEPE for 1000PEPEUSDT
    base: str
    quote: str
    price: float  # at the start
    price_decimals: int  # digits after the point in the price's text
    quantity_decimals: int
    contract_size: float = 1.0


class SymbolTable:
    """All symbols of a venue, numbered; fixed once made."""

    def __init__(self, specs: Sequence[SymbolSpec]) -> None:
        self.specs = list(specs)
        self.symbols = [spec.symbol for spec in specs]
        self.index = {spec.symbol: number for number, spec in enumerate(specs)}
        self.price_scale = np.array([10**spec.price_decimals for spec in specs], np.int64)
        self.quantity_scale = np.array([10**spec.quantity_decimals for spec in specs], np.int64)
        self.price_formats = [_format(spec.price_decimals) for spec in specs]
        sizes = [Decimal(repr(spec.contract_size)).as_integer_ratio() for spec in specs]
        self.contract_size = np.array(sizes, np.float64).reshape(len(sizes), 2)  # numerator, denominator
        self.quantity_formats = [_format(spec.quantity_decimals) for spec in specs]
        weights = 1 / (1 + np.arange(len(specs))) ** 0.7  # a few symbols have most of the trades
        self.shares = weights / weights.sum()  # of the venue's trades
        self.volumes = (DAY_VOLUME * self.shares).tolist()  # of the last 24 hours in quote units, as symbol lists report it

    def __len__(self) -> int:
        return len(self.specs)

    def price_text(self, symbol: int, price: int) -> str:
        """Return a price of a symbol, in units of its last decimal, as the venue writes it."""
        return self.price_formats[symbol] % divmod(price, int(self.price_scale[symbol]))

    def quantity_text(self, symbol: int, quantity: int) -> str:
        """Return a quantity in the same way."""
        return self.quantity_formats[symbol] % divmod(quantity, int(self.quantity_scale[symbol]))


def _format(decimals: int) -> str:
    """Return a %-format for (whole, part); without decimals the part is not printed."""
    return f"%d.%0{decimals}d" if decimals else "%d%.0s"


@dataclass(frozen=True, slots=True)
class Rows:
    """Trades in the order they happened. price and quantity count units of the symbol's last decimal.

    sequence, text_id: set for recorded trades whose venue has them besides trade_id; None: trade_id serves as both. An empty
    text_id means that trade_id is the id.
    """

    table: SymbolTable
    symbol: NDArray[np.int32]
    trade_id: Ints
    timestamp: Ints  # ns, whole units of the venue
    price: Ints
    quantity: Ints
    sell: NDArray[np.bool_]
    flags: NDArray[np.uint8]
    sequence: Ints | None = None
    text_id: NDArray[np.object_] | None = None

    def __len__(self) -> int:
        return len(self.symbol)

    def take(self, rows: NDArray[np.intp] | NDArray[np.bool_] | slice) -> Rows:
        """Return the given rows."""
        return Rows(self.table, self.symbol[rows], self.trade_id[rows], self.timestamp[rows], self.price[rows],
                    self.quantity[rows], self.sell[rows], self.flags[rows],
                    None if self.sequence is None else self.sequence[rows],
                    None if self.text_id is None else self.text_id[rows])

    @staticmethod
    def concat(parts: Sequence[Rows]) -> Rows:
        """Return the rows of all parts (at least one), in order."""
        if len(parts) == 1:
            return parts[0]
        return Rows(parts[0].table, np.concatenate([part.symbol for part in parts]),
                    np.concatenate([part.trade_id for part in parts]),
                    np.concatenate([part.timestamp for part in parts]),
                    np.concatenate([part.price for part in parts]), np.concatenate([part.quantity for part in parts]),
                    np.concatenate([part.sell for part in parts]), np.concatenate([part.flags for part in parts]),
                    _joined([part.sequence for part in parts]), _joined([part.text_id for part in parts]))

    @staticmethod
    def empty(table: SymbolTable) -> Rows:
        """Return no rows."""
        none = np.empty(0, np.int64)
        return Rows(table, np.empty(0, np.int32), none, none, none, none, np.empty(0, np.bool_), np.empty(0, np.uint8))

    def symbols(self) -> list[str]:
        """Return each row's symbol as text."""
        names = self.table.symbols
        return [names[number] for number in self.symbol.tolist()]

    def ids(self) -> list[str]:
        """Return each trade's id as the venue writes it."""
        numbers = list(map(str, self.trade_id.tolist()))
        if self.text_id is None:
            return numbers
        return [text or number for text, number in zip(self.text_id.tolist(), numbers, strict=True)]

    def sequences(self) -> list[int]:
        """Return each trade's sequence number."""
        numbers: list[int] = (self.trade_id if self.sequence is None else self.sequence).tolist()
        return numbers

    def price_texts(self) -> list[str]:
        """Return each price as the venue writes it."""
        return self._texts(self.price, self.table.price_scale, self.table.price_formats)

    def quantity_texts(self) -> list[str]:
        """Return each quantity as the venue writes it."""
        return self._texts(self.quantity, self.table.quantity_scale, self.table.quantity_formats)

    def prices(self) -> NDArray[np.float64]:
        """Return prices as `float()` of their texts (one correctly rounded division gives the same)."""
        return self.price / self.table.price_scale[self.symbol]

    def quantities(self) -> NDArray[np.float64]:
        """Return quantities as `float()` of their texts."""
        return self.quantity / self.table.quantity_scale[self.symbol]

    def base_quantities(self) -> NDArray[np.float64]:
        """Return quantities in base units (contracts times their size): the float nearest to the exact value."""
        size = self.table.contract_size[self.symbol]
        return self.quantities() * size[:, 0] / size[:, 1]

    def _texts(self, values: Ints, scales: Ints, formats: Sequence[str]) -> list[str]:
        numbers = self.symbol
        whole, part = np.divmod(values, scales[numbers])
        return [formats[number] % (a, b) for number, a, b in
                zip(numbers.tolist(), whole.tolist(), part.tolist(), strict=True)]


def _joined(columns: Sequence[Any]) -> Any:
    """Return one column, or None if a part has none."""
    return None if any(column is None for column in columns) else np.concatenate(columns)
