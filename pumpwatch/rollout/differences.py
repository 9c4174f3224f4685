"""Compare the trades that two stores return for the same query, by column."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pumpwatch.catalogue import Catalogue
from pumpwatch.model import TradeBatch
from pumpwatch.rollout.answers import KINDS

MISSING_THERE, MISSING_HERE, OTHER, DOUBLED = KINDS


@dataclass(frozen=True, slots=True)
class Differences:
    """The number of differences by kind, and an example of each kind that was found."""

    counts: Mapping[str, int]
    examples: Mapping[str, str]

    @property
    def total(self) -> int:
        """Return the number of differences of every kind."""
        return sum(self.counts.values())

    def text(self) -> str:
        """Return one line with the number and an example of each kind that was found."""
        return "; ".join(f"{kind}: {self.counts[kind]}, such as {self.examples[kind]}" for kind in KINDS if self.counts[kind])


def compare(old: TradeBatch, new: TradeBatch, catalogue: Catalogue) -> Differences:
    """Return how `new`, the sink's trades, differ from `old`, the trades in memory and journal.

    A trade is identified by instrument and id. Missing: only one store has it. Other values: both have it, with different time,
    price, quantity or side. Doubled: the sink has it more often.
    """
    both = TradeBatch.concat([old, new])
    is_new = np.arange(len(both)) >= len(old)
    if not len(both):
        return Differences(dict.fromkeys(KINDS, 0), {})
    trade, first = _numbered(_identity(both))
    row, _ = _numbered((trade, both.timestamp, both.price.view(np.int64), both.quantity.view(np.int64), both.side))
    here, there = np.bincount(trade[~is_new], minlength=len(first)), np.bincount(trade[is_new], minlength=len(first))
    same_here, same_there = np.bincount(row[~is_new], minlength=row.max() + 1), np.bincount(row[is_new], minlength=row.max() + 1)
    trade_of_row = np.zeros(len(same_here), np.int64)
    trade_of_row[row] = trade
    same = np.bincount(trade_of_row, weights=np.minimum(same_here, same_there), minlength=len(first)).astype(np.int64)
    paired = np.minimum(here, there)
    extra = there - paired
    found = {MISSING_THERE: here - paired, MISSING_HERE: np.where(here == 0, 1, 0), OTHER: paired - same,
             DOUBLED: np.where(here == 0, extra - 1, extra)}
    examples = {kind: _shown(both, int(first[np.flatnonzero(numbers)[0]]), catalogue) for kind, numbers in found.items()
                if numbers.any()}
    return Differences({kind: int(numbers.sum()) for kind, numbers in found.items()}, examples)


def _identity(batch: TradeBatch) -> tuple[NDArray[np.generic], ...]:
    if batch.text_id is None:
        return batch.instrument, batch.trade_id
    return batch.instrument, np.where(batch.text_id == b"", batch.trade_id, 0), batch.text_id


def _numbered(columns: tuple[NDArray[np.generic], ...]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Return a number for each row, equal for rows with equal columns, and one row of each number."""
    order = np.lexsort(columns)
    fresh = np.zeros(len(order), bool)
    fresh[0] = True
    for column in columns:
        ordered = column[order]
        fresh[1:] |= ordered[1:] != ordered[:-1]
    numbers = np.empty(len(order), np.int64)
    numbers[order] = np.cumsum(fresh) - 1
    return numbers, order[fresh]


def _shown(batch: TradeBatch, row: int, catalogue: Catalogue) -> str:
    trade = batch.take(slice(row, row + 1))
    exchange, market_type, symbol = catalogue.names(trade.instrument)[0]
    return f"{exchange} {market_type} {symbol} {trade.id_texts()[0]} at {int(trade.timestamp[0])}"
