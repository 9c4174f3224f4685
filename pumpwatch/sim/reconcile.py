"""Compare the trades that the venues sent with those that a collector stored, one by one."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pumpwatch.catalogue import Catalogue
from pumpwatch.model import TradeBatch
from pumpwatch.sim.ground_truth import Records, Truth, id_number

Columns = tuple[Any, ...]  # arrays of one length


@dataclass(frozen=True, slots=True)
class TradeComparison:
    """Counts of trades. different: stored with another time, price, quantity or side than sent."""

    sent: int
    stored: int
    missing: int
    doubled: int
    unknown: int  # stored, but never made
    different: int
    fetched: int  # stored from a history: sent on no connection
    lost: Records  # the missing trades, as records of the ground truth

    @property
    def equal(self) -> bool:
        """Return whether the stored trades are exactly the sent ones and the fetched ones."""
        return self.sent + self.fetched == self.stored and not (self.missing or self.doubled or self.unknown or self.different)

    def figures(self) -> dict[str, Any]:
        """Return the counts as plain data."""
        return {field.name: getattr(self, field.name) for field in fields(self) if field.name != "lost"}


def names_of(truth: Truth) -> list[tuple[str, str, str]]:
    """Return (exchange, market_type, symbol) of every symbol that the venues offered."""
    return [(*_split(venue), symbol) for venue, symbols in zip(truth.venues, truth.symbols, strict=True)
            for symbol in symbols]


def compare(truth: Truth, stored: TradeBatch, catalogue: Catalogue, *, made: bool = False) -> TradeComparison:
    """Compare a store's trades with the ground truth. Ids are per symbol; symbol and id identify a trade.

    made: compare with every trade that was made, including unsent ones; `sent` counts them.
    """
    all_made, ids = truth.trades(made=True), _instrument_ids(truth, catalogue)
    sent = truth.trades()
    made_keys, sent_keys = numbered(_keys(all_made, ids), _keys(sent, ids))
    # of equal trades without ids, those that were sent count first
    all_made = all_made[np.argsort(~np.isin(made_keys, sent_keys), kind="stable")]
    sent = all_made if made else sent
    numbers = _numbers(stored, all_made, _keys(all_made, ids)[0])
    have, wanted, made_keys = numbered((stored.instrument, numbers), _keys(sent, ids), _keys(all_made, ids))
    order = np.argsort(wanted)
    wanted, sent = wanted[order], sent[order]
    row_of = np.full(1 + max(int(keys.max(initial=-1)) for keys in (have, wanted, made_keys)), -1, np.int64)
    row_of[have[::-1]] = np.arange(len(have) - 1, -1, -1)  # the first row with that number
    found, unique = row_of[wanted] >= 0, int((row_of >= 0).sum())
    rows = row_of[wanted[found]]
    same = ((stored.timestamp[rows] == sent["timestamp"][found]) & (stored.price[rows] == sent["price"][found])
            & (stored.quantity[rows] == sent["quantity"][found]) & (stored.side[rows] == sent["sell"][found]))
    known = int((row_of[made_keys] >= 0).sum())
    return TradeComparison(sent=len(sent), stored=len(stored), missing=int((~found).sum()), doubled=len(stored) - unique,
                           unknown=unique - known, different=int((~same).sum()), fetched=known - int(found.sum()),
                           lost=sent[~found])


def numbered(*tables: Columns) -> list[NDArray[np.int64]]:
    """Return a number for each row of tables with the same columns; two rows are equal if and only if their numbers are.

    The numbers count from 0 in the order of the rows, sorted by the first column, then by the next ones.
    """
    columns = [np.concatenate(column) for column in zip(*tables, strict=True)]
    order = np.lexsort(columns[::-1])
    differs = np.zeros(len(order), np.bool_)
    for column in columns:
        ordered = column[order]
        differs[1:] |= ordered[1:] != ordered[:-1]
    numbers = np.empty(len(order), np.int64)
    numbers[order] = np.cumsum(differs)
    return np.split(numbers, np.cumsum([len(table[0]) for table in tables])[:-1])


def _keys(records: Records, ids: NDArray[np.int64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    return ids[records["venue"], records["symbol"]], np.ascontiguousarray(records["trade_id"])


def _numbers(stored: TradeBatch, sent: Records, instruments: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return each stored trade's number in the ground truth, or a unique negative number if it was never made.

    An instrument without such a number among its ids belongs to a venue without ids; its trades are matched by content.
    """
    if stored.text_id is None:
        return stored.trade_id
    in_text = stored.text_id != b""
    numbers = stored.trade_id.copy()
    numbers[in_text] = [id_number(text.decode()) for text in stored.text_id[in_text].tolist()]
    have, known = numbered((stored.instrument, numbers), (instruments, sent["trade_id"]))
    with_ids = np.unique(stored.instrument[np.isin(have, known)])
    without = np.flatnonzero(~np.isin(stored.instrument, with_ids) & in_text)
    if len(without) and len(sent):
        numbers[without] = _by_content(stored.take(without), sent, instruments)
    return numbers


def _by_content(stored: TradeBatch, sent: Records, instruments: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the numbers of trades by their content, and by their place among trades of equal content."""
    [identity] = numbered((stored.instrument, stored.timestamp, stored.text_id))
    _, first, trade_of = np.unique(identity, return_index=True, return_inverse=True)
    once = stored.take(first)
    have, wanted = numbered(
        (once.instrument, once.timestamp, once.price, once.quantity, once.side),
        (instruments, sent["timestamp"], sent["price"], sent["quantity"], sent["sell"]))
    have, wanted = numbered((have, _places(have)), (wanted, _places(wanted)))
    row_of = np.full(1 + max(int(have.max()), int(wanted.max())), -1, np.int64)
    row_of[wanted] = np.arange(len(wanted))
    rows = row_of[have]
    return np.where(rows >= 0, sent["trade_id"][rows], -2 - np.arange(len(have)))[trade_of.reshape(-1)]


def _places(numbers: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return the place of each number among those that are equal to it, from 0, in order."""
    order = np.argsort(numbers, kind="stable")
    ordered = numbers[order]
    starts = np.flatnonzero(np.append([True], ordered[1:] != ordered[:-1]))
    places = np.empty(len(numbers), np.int64)
    places[order] = np.arange(len(order)) - np.repeat(starts, np.diff(starts, append=len(order)))
    return places


def _instrument_ids(truth: Truth, catalogue: Catalogue) -> NDArray[np.int64]:
    """Return the catalogue's id by [venue, symbol] of the ground truth; below -1 if the catalogue has none."""
    widest = max(map(len, truth.symbols), default=0)
    ids = np.full((len(truth.venues), widest), -2, np.int64)
    for number, (venue, symbols) in enumerate(zip(truth.venues, truth.symbols, strict=True)):
        known = catalogue.ids_of(_split(venue))
        ids[number, : len(symbols)] = [known.get(symbol, -2 - place) for place, symbol in enumerate(symbols)]
    return ids


def _split(venue: str) -> tuple[str, str]:
    exchange, _, market_type = venue.partition(".")
    return exchange, market_type
