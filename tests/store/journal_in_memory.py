"""A journal for the tests of what reads one: batches in a list, and a history of what was asked."""

from __future__ import annotations

from collections import Counter

import numpy as np

from pumpwatch.model import TradeBatch
from pumpwatch.store.census import HOUR_NS, trades_by_minute
from pumpwatch.store.watermarks import SAFE, Watermarks


class JournalInMemory(Watermarks):
    """Holds what is committed, a commit as one or more batches; `calls` is what was asked of it. Its own watermarks, and
    its own census."""

    def __init__(self, acknowledged: int = 0, batch_rows: int = 40) -> None:
        super().__init__(lambda: ())
        self._batch_rows, self._first_id = batch_rows, acknowledged + 1
        self.batches: list[tuple[int, TradeBatch]] = []
        self.calls: list[tuple[str, int]] = []
        self.acknowledgements: list[int] = []
        self.stopped = self.holds_locked = False
        self.load({"fake": acknowledged, "fake" + SAFE: acknowledged})

    @property
    def watermarks(self) -> Watermarks:
        return self

    def census(self) -> JournalInMemory:
        return self

    def commit(self, batch: TradeBatch) -> int:
        for start in range(0, len(batch), self._batch_rows):
            number = self.batches[-1][0] + 1 if self.batches else self._first_id
            self.batches.append((number, batch.take(slice(start, start + self._batch_rows))))
        return self.batches[-1][0]

    def read_after(self, batch_id: int, max_rows: int) -> list[tuple[int, TradeBatch]]:
        self.calls.append(("read_after", batch_id))
        found: list[tuple[int, TradeBatch]] = []
        for number, batch in self.batches:
            if number > batch_id:
                found.append((number, batch))
                if sum(len(one) for _, one in found) >= max_rows:
                    break
        return found

    def acknowledge(self, sink: str, batch_id: int, safe_id: int | None = None) -> None:
        self.acknowledgements.append(batch_id)
        super().acknowledge(sink, batch_id, safe_id)

    def trades_after(self, batch_id: int) -> int:
        return sum(len(batch) for number, batch in self.batches if number > batch_id)

    def locked(self) -> bool:
        return self.holds_locked

    def minutes(self, from_ns: int, upto_id: int) -> Counter[int]:
        found: Counter[int] = Counter()
        for number, batch in self.batches:
            if number <= upto_id:
                found.update(trades_by_minute(batch, from_ns))
        return found

    def hours(self, from_ns: int, to_ns: int) -> Counter[int]:
        return Counter(int(at) // HOUR_NS for _, batch in self.batches for at in batch.timestamp if from_ns <= at < to_ns)

    def distinct(self, start_ns: int, end_ns: int, upto_id: int) -> int:
        return len({(at, number) for one, batch in self.batches if one <= upto_id
                    for at, number in zip(batch.timestamp.tolist(), batch.trade_id.tolist(), strict=True)
                    if start_ns <= at < end_ns})

    def first_batch(self, start_ns: int, end_ns: int) -> int | None:
        return next((number for number, batch in self.batches
                     if np.any((batch.timestamp >= start_ns) & (batch.timestamp < end_ns))), None)
