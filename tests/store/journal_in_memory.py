"""A journal for the tests of what reads one: batches in a list, and a history of what was asked."""

from __future__ import annotations

from pumpwatch.model import TradeBatch


class JournalInMemory:
    """Holds what is committed, a commit as one or more batches; `calls` is what was asked of it."""

    def __init__(self, acknowledged: int = 0, batch_rows: int = 40) -> None:
        self._batch_rows = batch_rows
        self.batches: list[tuple[int, TradeBatch]] = []
        self.calls: list[tuple[str, int]] = []
        self.acknowledgements: list[int] = []
        self._acknowledged = acknowledged

    def commit(self, batch: TradeBatch) -> int:
        for start in range(0, len(batch), self._batch_rows):
            number = self.batches[-1][0] + 1 if self.batches else self._acknowledged + 1
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

    def acknowledge(self, sink: str, batch_id: int) -> None:
        self.acknowledgements.append(batch_id)
        self._acknowledged = batch_id

    def acknowledged(self, sink: str) -> int:
        return self._acknowledged

    def backlog(self, sink: str) -> int:
        return sum(len(batch) for number, batch in self.batches if number > self._acknowledged)
