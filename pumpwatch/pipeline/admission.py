"""Compare trades of a venue's history with stored trades, so that each trade is stored once.

The store decides. A trade that was seen in this run but is not stored is either on its way to the store or was dropped: the
caller waits until everything seen is stored, and compares again. Then only dropped trades are left, and they are stored.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from pumpwatch.model import TradeBatch
from pumpwatch.pipeline.seen_ids import ids_of

NUMBER_MARK = b"#"  # between the text of an equal trade and its number, see synthetic_ids
RELATIVE = 1e-9  # prices and quantities that differ by less are equal: they were scaled by floats


@dataclass(frozen=True, slots=True)
class Compared:
    """The comparison of one instrument's history trades with the stored trades.

    batch: the history trades, with the ids under which they would be stored. new: rows that are neither stored nor seen.
    unsure: rows that are not stored but were seen in this run. conflicts: (row, row of the stored trades) with equal ids and
    different contents.
    """

    batch: TradeBatch
    new: NDArray[np.bool_]
    unsure: NDArray[np.bool_]
    conflicts: list[tuple[int, int]]

    @property
    def stored(self) -> int:
        """Return the number of trades that are already stored."""
        return len(self.batch) - int(self.new.sum()) - int(self.unsure.sum())


def compare_by_id(batch: TradeBatch, stored: TradeBatch, seen: NDArray[np.bool_]) -> Compared:
    """Compare trades that have ids. seen: the mask of rows that were seen in this run."""
    known = {trade_id: row for row, trade_id in enumerate(ids_of(stored.trade_id, stored.text_id))}
    new, unsure = np.zeros(len(batch), np.bool_), np.zeros(len(batch), np.bool_)
    conflicts = []
    taken = set[int | bytes]()
    for row, trade_id in enumerate(ids_of(batch.trade_id, batch.text_id)):
        at = known.get(trade_id)
        if at is not None:
            if not _same(batch, row, stored, at):
                conflicts.append((row, at))
        elif trade_id not in taken:
            taken.add(trade_id)
            (unsure if seen[row] else new)[row] = True
    return Compared(batch, new, unsure, conflicts)


def _same(batch: TradeBatch, row: int, stored: TradeBatch, at: int) -> bool:
    return bool(batch.side[row] == stored.side[at] and abs(batch.price[row] / stored.price[at] - 1) < RELATIVE
                and abs(batch.quantity[row] / stored.quantity[at] - 1) < RELATIVE)


def compare_by_content(batch: TradeBatch, stored: TradeBatch, counts: Sequence[int]) -> Compared:
    """Compare trades without ids: the nth of equal trades is new if fewer than n are stored.

    counts: the number of trades equal to each row that were seen in this run.
    """
    assert batch.text_id is not None
    names: dict[tuple[int, bytes], set[bytes]] = {}
    if stored.text_id is not None:
        for at_ns, name in zip(stored.timestamp.tolist(), stored.text_id.tolist(), strict=True):
            names.setdefault((at_ns, name.partition(NUMBER_MARK)[0]), set()).add(name)
    new, unsure = np.zeros(len(batch), np.bool_), np.zeros(len(batch), np.bool_)
    texts: list[bytes] = batch.text_id.tolist()
    met: dict[tuple[int, bytes], int] = {}
    for row, key in enumerate(zip(batch.timestamp.tolist(), list(texts), strict=True)):
        nth = met[key] = met.get(key, 0) + 1
        if nth <= len(names.get(key, ())):
            continue
        taken = names.setdefault(key, set())
        (unsure if nth <= counts[row] else new)[row] = True
        texts[row] = _free_name(key[1], taken)
        taken.add(texts[row])
    return Compared(replace(batch, text_id=np.array(texts, np.bytes_)), new, unsure, [])


def _free_name(text: bytes, taken: set[bytes]) -> bytes:
    """Return the first of text, text#1, text#2 ... that no stored trade of that time has."""
    name, number = text, 0
    while name in taken:
        number += 1
        name = text + NUMBER_MARK + b"%d" % number
    return name
