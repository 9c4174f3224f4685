"""Find certain repetitions of trades, by column. With two connections for each symbol, half of all rows are repetitions.

A hash table has a slot for each of the last trades; a trade whose slot holds the same instrument, id and time is a repetition.
If another trade has taken the slot meanwhile, no repetition is found here, and the slower memory of the ids decides
(recent_ids.py). Text ids are compared by a 64-bit hash, beside instrument and time.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from pumpwatch.model import Int64, TradeBatch

SLOT_BITS = 17  # 131,072 trades, 5 MB: some seconds of the busiest hours
SAMPLES = 16  # races that are recorded per batch
WORDS = 16  # of eight bytes; longer texts are not compared
NOBODY = -1

Race = tuple[int, int, int, int]  # instrument, number of the first source, number of the second source, its delay in ns

_random = np.random.default_rng(7).integers(1, 2**63, WORDS + 3, np.uint64) * np.uint64(2) + np.uint64(1)
_words, (_id, _owner, _slot) = _random[:WORDS], _random[WORDS:]


@dataclass(frozen=True, slots=True)
class Repeats:
    """The repeated rows of a batch, as a mask, and the races of some of them."""

    rows: NDArray[np.bool_]
    races: list[Race]


class CertainRepeats:
    """The hash table. The last of several trades stays in a slot."""

    def __init__(self, slot_bits: int = SLOT_BITS) -> None:
        size = 1 << slot_bits
        self._shift = np.uint64(64 - slot_bits)
        self._owner: NDArray[np.int32] = np.full(size, NOBODY, np.int32)
        self._ids, self._ns, self._received, self._source = (np.zeros(size, np.int64) for _ in range(4))
        self._row: NDArray[np.intp] = np.zeros(size, np.intp)  # of the batch at hand, the first row in each slot

    def find(self, batch: TradeBatch, compared: NDArray[np.bool_], source: Int64 | None = None) -> Repeats | None:
        """Return the repetitions among the `compared` rows, None without any, and remember the other rows.

        source: the number of each row's connection; without it no races are returned.
        """
        ids, readable = _numbers(batch)
        among = np.flatnonzero(compared & readable)
        ids, owner, ns = ids[among], batch.instrument[among], batch.timestamp[among]
        mixed = ids.view(np.uint64) * _id + owner.astype(np.uint64) * _owner
        slot = ((mixed ^ (mixed >> np.uint64(29))) * _slot >> self._shift).astype(np.intp)
        came = (self._owner[slot] == owner) & (self._ids[slot] == ids) & (self._ns[slot] == ns)
        rest = np.flatnonzero(~came)
        self._row[slot[rest][::-1]] = rest[::-1]  # the last assignment to a slot stays, which is the first row
        first = self._row[slot[rest]]
        again = (first != rest) & (ids[first] == ids[rest]) & (owner[first] == owner[rest]) & (ns[first] == ns[rest])
        races: list[Race] = []
        if source is not None:
            before, twice = np.flatnonzero(came), rest[again]
            received, source = batch.received_at[among], source[among]
            races = [*_races(owner, received, source, before, self._received[slot[before]], self._source[slot[before]]),
                     *_races(owner, received, source, twice, received[first[again]], source[first[again]])]
        new = rest[~again]
        place = slot[new]
        self._owner[place], self._ids[place], self._ns[place] = owner[new], ids[new], ns[new]
        if source is not None:
            self._received[place], self._source[place] = received[new], source[new]
        if len(new) == len(among):
            return None
        rows = np.zeros(len(batch), np.bool_)
        rows[among] = True
        rows[among[new]] = False
        return Repeats(rows, races)


def _races(owner: NDArray[np.int32], received: Int64, source: Int64, rows: NDArray[np.intp], first_received: Int64,
           first_source: Int64) -> list[Race]:
    """Return some of the races: `rows` came after the rows with `first_received` and `first_source`."""
    step = max(1, 2 * len(rows) // SAMPLES)
    columns = (owner[rows][::step], first_source[::step], source[rows][::step], (received[rows] - first_received)[::step])
    return [race for race in zip(*(column.tolist() for column in columns), strict=True) if race[1] and race[1] != race[2]]


def _numbers(batch: TradeBatch) -> tuple[Int64, NDArray[np.bool_]]:
    """Return a number for the id of each row, and the mask of the rows that have one."""
    if batch.text_id is None:
        return batch.trade_id, batch.trade_id >= 0
    words = -(-batch.text_id.itemsize // 8)
    if words > WORDS:
        return batch.trade_id, np.zeros(len(batch), np.bool_)
    texts = np.ascontiguousarray(batch.text_id.astype(f"S{8 * words}")).view(np.uint64).reshape(len(batch), words)
    hashed = (texts * _words[:words]).sum(axis=1, dtype=np.uint64).view(np.int64)  # does not depend on the array's width
    is_text = batch.text_id != b""
    return np.where(is_text, hashed, batch.trade_id), is_text | (batch.trade_id >= 0)
