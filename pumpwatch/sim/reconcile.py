"""Compare the trades that the venues sent with those that a collector stored, one by one."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pumpwatch.catalogue import Catalogue
from pumpwatch.model import TradeBatch
from pumpwatch.sim.ground_truth import Records, Truth, id_number

KEY = np.dtype([("instrument", "<i4"), ("trade_id", "<i8")])
CONTENT = np.dtype([("instrument", "<i4"), ("timestamp", "<i8"), ("price", "<f8"), ("quantity", "<f8"), ("sell", "?"),
                    ("nth", "<i8")])


@dataclass(frozen=True, slots=True)
class Comparison:
    """Counts of trades. `different` are stored with another time, price, quantity or side than was sent."""

    sent: int
    stored: int
    missing: int
    doubled: int
    unknown: int  # stored, but never made
    different: int
    fetched: int  # stored, though no connection got them: from a history
    lost: Records  # of the ground truth: those that are missing

    @property
    def equal(self) -> bool:
        """Return whether the stored trades are exactly those that were sent, and some that were fetched."""
        return self.sent + self.fetched == self.stored and not (self.missing or self.doubled or self.unknown or self.different)

    def figures(self) -> dict[str, Any]:
        """Return the counts as plain data."""
        return {field.name: getattr(self, field.name) for field in fields(self) if field.name != "lost"}


def names_of(truth: Truth) -> list[tuple[str, str, str]]:
    """Return (exchange, market_type, symbol) of every symbol that the venues offered."""
    return [(*_split(venue), symbol) for venue, symbols in zip(truth.venues, truth.symbols, strict=True)
            for symbol in symbols]


def compare(truth: Truth, stored: TradeBatch, catalogue: Catalogue, *, made: bool = False) -> Comparison:
    """Compare a store's trades with the ground truth. Ids are per symbol; symbol and id identify a trade.

    made: with every trade that was made, also those that no connection got; `sent` counts them.
    """
    all_made = truth.trades(made=True)
    ids = _instrument_ids(truth, catalogue)
    came = np.isin(_keys(all_made, ids), _keys(truth.trades(), ids))
    all_made = all_made[np.argsort(~came, kind="stable")]  # of equal trades without ids, those that were sent count first
    sent = all_made if made else truth.trades()
    wanted, made_keys = _keys(sent, ids), _keys(all_made, ids)
    have = np.empty(len(stored), KEY)
    have["instrument"], have["trade_id"] = stored.instrument, _numbers(stored, all_made, made_keys["instrument"])
    unique, first, counts = np.unique(have, return_index=True, return_counts=True)
    order = np.argsort(wanted)
    wanted, sent = wanted[order], sent[order]
    at = np.searchsorted(unique, wanted)
    found = np.zeros(len(wanted), np.bool_)
    inside = at < len(unique)
    found[inside] = unique[at[inside]] == wanted[inside]
    rows = first[at[found]]
    same = ((stored.timestamp[rows] == sent["timestamp"][found]) & (stored.price[rows] == sent["price"][found])
            & (stored.quantity[rows] == sent["quantity"][found]) & (stored.side[rows] == sent["sell"][found]))
    known = int(np.isin(unique, made_keys).sum())
    return Comparison(sent=len(sent), stored=len(stored), missing=int((~found).sum()), doubled=int((counts - 1).sum()),
                      unknown=len(unique) - known, different=int((~same).sum()), fetched=known - int(found.sum()),
                      lost=sent[~found])


def _keys(records: Records, ids: NDArray[np.int64]) -> NDArray[np.void]:
    keys = np.empty(len(records), KEY)
    keys["instrument"], keys["trade_id"] = ids[records["venue"], records["symbol"]], records["trade_id"]
    return keys


def _numbers(stored: TradeBatch, sent: Records, instruments: NDArray[np.int32]) -> NDArray[np.int64]:
    """Return each stored trade's number in the ground truth, or a unique negative number if it was never made.

    An instrument without such a number among its ids belongs to a venue without ids; its trades are matched by content.
    """
    if stored.text_id is None:
        return stored.trade_id
    texts = stored.text_id.tolist()
    numbers = np.array([id_number(text.decode()) if text else number
                        for text, number in zip(texts, stored.trade_id.tolist(), strict=True)], np.int64)
    known = set(zip(instruments.tolist(), sent["trade_id"].tolist(), strict=True))
    with_ids = {instrument for instrument, number in zip(stored.instrument.tolist(), numbers.tolist(), strict=True)
                if (instrument, number) in known}
    without = np.flatnonzero(~np.isin(stored.instrument, list(with_ids)) & (stored.text_id != b""))
    if len(without) and len(sent):
        numbers[without] = _by_content(stored.take(without), sent, instruments)
    return numbers


def _by_content(stored: TradeBatch, sent: Records, instruments: NDArray[np.int32]) -> NDArray[np.int64]:
    """Return the numbers of trades by their content, and by their place among trades of equal content."""
    texts: Any = stored.text_id
    identity = np.rec.fromarrays([stored.instrument, stored.timestamp, texts])
    _, first, trade_of = np.unique(identity, return_index=True, return_inverse=True)
    once = stored.take(first)
    have = _content(once.instrument, once.timestamp, once.price, once.quantity, once.side)
    wanted = _content(instruments, sent["timestamp"], sent["price"], sent["quantity"], sent["sell"])
    order = np.argsort(wanted)
    at = order[np.searchsorted(wanted[order], have).clip(0, len(wanted) - 1)]
    numbers = np.where(wanted[at] == have, sent["trade_id"][at], -2 - np.arange(len(have)))
    return numbers[trade_of.reshape(-1)]


def _content(instrument: Any, timestamp: Any, price: Any, quantity: Any, sell: Any) -> NDArray[np.void]:
    """Return the content of trades, with a number that tells equal ones apart."""
    content = np.zeros(len(timestamp), CONTENT)
    content["instrument"], content["timestamp"], content["sell"] = instrument, timestamp, sell
    content["price"], content["quantity"] = price, quantity
    order = np.argsort(content, kind="stable")
    ordered = content[order]
    starts = np.flatnonzero(np.append([True], ordered[1:] != ordered[:-1]))
    sizes = np.diff(starts, append=len(order))
    content["nth"][order] = np.arange(len(order)) - np.repeat(starts, sizes)
    return content


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
