"""What the venues sent against what a collector stored, trade by trade."""

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
    unknown: int  # stored, and never sent
    different: int
    lost: Records  # of the truth: what is missing

    @property
    def equal(self) -> bool:
        """Whether sent = stored, to the trade."""
        return self.sent == self.stored and not (self.missing or self.doubled or self.unknown or self.different)

    def figures(self) -> dict[str, Any]:
        """Return the counts as plain data."""
        return {one.name: getattr(self, one.name) for one in fields(self) if one.name != "lost"}


def names_of(truth: Truth) -> list[tuple[str, str, str]]:
    """Return (exchange, market_type, symbol) of everything the venues offered."""
    return [(*_split(venue), symbol) for venue, symbols in zip(truth.venues, truth.symbols, strict=True)
            for symbol in symbols]


def compare(truth: Truth, stored: TradeBatch, catalogue: Catalogue) -> Comparison:
    """Hold a store's trades against the ground truth. Ids are per symbol; a trade is known by symbol and id."""
    sent = truth.trades()
    ids = _instrument_ids(truth, catalogue)
    wanted = np.empty(len(sent), KEY)
    wanted["instrument"] = ids[sent["venue"], sent["symbol"]]
    wanted["trade_id"] = sent["trade_id"]
    have = np.empty(len(stored), KEY)
    have["instrument"], have["trade_id"] = stored.instrument, _numbers(stored, sent, wanted["instrument"])
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
    return Comparison(sent=len(sent), stored=len(stored), missing=int((~found).sum()), doubled=int((counts - 1).sum()),
                      unknown=len(unique) - int(found.sum()), different=int((~same).sum()), lost=sent[~found])


def _numbers(stored: TradeBatch, sent: Records, instruments: NDArray[np.int32]) -> NDArray[np.int64]:
    """Return each stored trade's number in the truth, or a negative one of its own where it was never sent.

    Where no id of an instrument is such a number, its venue has no ids, and what its trades say tells them apart.
    """
    if stored.text_id is None:
        return stored.trade_id
    texts = stored.text_id.tolist()
    numbers = np.array([id_number(text.decode()) if text else number
                        for text, number in zip(texts, stored.trade_id.tolist(), strict=True)], np.int64)
    known = set(zip(instruments.tolist(), sent["trade_id"].tolist(), strict=True))
    with_ids = {one for one, number in zip(stored.instrument.tolist(), numbers.tolist(), strict=True) if (one, number) in known}
    nameless = np.flatnonzero(~np.isin(stored.instrument, list(with_ids)) & (stored.text_id != b""))
    if len(nameless) and len(sent):
        numbers[nameless] = _by_content(stored.take(nameless), sent, instruments)
    return numbers


def _by_content(stored: TradeBatch, sent: Records, instruments: NDArray[np.int32]) -> NDArray[np.int64]:
    """Return the numbers of trades by all that they say, and by their place among equal ones."""
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
    """Return what trades say, equal ones numbered."""
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
    """Return the catalogue's id by [venue, symbol] of the truth; below -1 where the catalogue has none."""
    widest = max(map(len, truth.symbols), default=0)
    ids = np.full((len(truth.venues), widest), -2, np.int64)
    for number, (venue, symbols) in enumerate(zip(truth.venues, truth.symbols, strict=True)):
        known = catalogue.ids_of(_split(venue))
        ids[number, : len(symbols)] = [known.get(symbol, -2 - place) for place, symbol in enumerate(symbols)]
    return ids


def _split(venue: str) -> tuple[str, str]:
    exchange, _, market_type = venue.partition(".")
    return exchange, market_type
