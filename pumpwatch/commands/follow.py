"""New trades of a coin as they become durable, read from the journal beside the collector that writes it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from pumpwatch.catalogue import Catalogue
from pumpwatch.errors import StorageError
from pumpwatch.model import TradeBatch
from pumpwatch.store.reader import JournalReader, SegmentReader
from pumpwatch.store.segment import Segment
from pumpwatch.store.sqlite import DAMAGED

NOT_NOW: tuple[type[Exception], ...] = (StorageError, *DAMAGED)
Wanted = Callable[[], list[int]]  # the instruments that are followed; a listing may add some


class NewTrades:
    """Returns the trades committed since the last look. A segment that cannot be read now is read at a later look.

    No file is open between two looks, so a segment may be closed or expire meanwhile. Trades committed before `start` are
    never returned.
    """

    def __init__(self, folder: Path, catalogue: Catalogue, wanted: Wanted) -> None:
        self._journal = JournalReader(folder, catalogue)
        self._catalogue, self._wanted = catalogue, wanted
        self._last_id = -1  # of the newest batch seen

    def start(self) -> None:
        """Mark everything that is stored now as seen."""
        self._last_id = max([segment.last_id for segment in self._journal.segments()], default=0)

    def look(self) -> TradeBatch:
        """Return the new trades, ordered by timestamp."""
        found: list[TradeBatch] = []
        for segment in self._journal.segments():
            if segment.last_id > self._last_id:
                try:
                    found += self._after(segment)
                except NOT_NOW:
                    break  # locked or expired: later segments wait, so that the order stays
        batch = TradeBatch.concat(found)
        return batch.take(np.argsort(batch.timestamp, kind="stable"))

    def _after(self, segment: Segment) -> list[TradeBatch]:
        reader = SegmentReader(segment.path, self._catalogue, lambda file, number, why: None)
        found = []
        try:
            for _, batch in reader.after(max(self._last_id, segment.first_id - 1), segment.last_id):
                wanted = self._wanted()  # after the batch was translated, which may have added an instrument
                found.append(batch.take(np.isin(batch.instrument, wanted)))
        finally:
            reader.close()
        self._last_id = segment.last_id
        return found


Keys = set[tuple[int, str]]  # instrument and id of trades


def keys_of(batch: TradeBatch) -> Keys:
    """Return the instrument and id of each trade."""
    return set(zip(batch.instrument.tolist(), batch.id_texts(), strict=True))


def without(batch: TradeBatch, known: Keys) -> TradeBatch:
    """Return the trades that are not among the known ones."""
    keys = zip(batch.instrument.tolist(), batch.id_texts(), strict=True)
    return batch.take(np.array([key not in known for key in keys], bool))
