"""The journal's interface for a drain: a proxy, because all methods except `watermarks` and `census` may block."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from pumpwatch.model import TradeBatch
from pumpwatch.store.audit import JournalCensus
from pumpwatch.store.watermarks import Watermarks

Entry = tuple[int, TradeBatch]


class DrainJournal(Protocol):
    """The part of the journal that feeds a sink."""

    def read_after(self, batch_id: int, max_rows: int) -> Sequence[Entry]:
        """Return the oldest batches after this one: about `max_rows` trades, but at least one batch if any exists."""

    def trades_after(self, batch_id: int) -> int:
        """Return the number of trades after a batch."""

    def trades_between(self, after_id: int, upto_id: int) -> int:
        """Return the number of trades in the batches (after_id, upto_id]."""

    @property
    def watermarks(self) -> Watermarks:
        """The last batch that each sink has acknowledged. Never blocks."""

    def census(self) -> JournalCensus:
        """Return the journal's trade counts, for use in another thread."""
