"""The history of a venue that plays a tape: its past trades, and the order books that were recorded."""

from __future__ import annotations

from dataclasses import replace

from pumpwatch.playback.tape_rows import VenueTape
from pumpwatch.sim.book import MadeBook
from pumpwatch.sim.history import TradeHistory
from pumpwatch.sim.rows import SymbolTable
from pumpwatch.sim.ticker import MadeTicker


class TapeHistory(TradeHistory):
    """The trades that were played so far. tape: where books come from; None before the start."""

    def __init__(self, table: SymbolTable, limit: int) -> None:
        super().__init__(table, limit)
        self.tape: VenueTape | None = None

    def begin(self, tape: VenueTape, played: int) -> None:
        """Forget everything, and take the first `played` trades of a tape as the past."""
        self.__init__(self.table, self.limit)  # type: ignore[misc]
        self.tape = tape
        self.add(tape.rows.take(slice(played)))

    def book(self, symbol: int, now_ns: int) -> MadeBook:
        """Return the newest book that was recorded by then; one without levels before the first."""
        made = self.tape.book_at(symbol, now_ns) if self.tape is not None else None
        return made or MadeBook(self.table, symbol, (), (), now_ns, 0)

    def ticker(self, symbol: int, now_ns: int) -> MadeTicker:
        """Return the ticker of the trades that were played; bid and ask are the recorded book's, else the last price."""
        made, book = super().ticker(symbol, now_ns), self.book(symbol, now_ns)
        return replace(made, bid=book.bids[0][0] if book.bids else made.last, ask=book.asks[0][0] if book.asks else made.last)
