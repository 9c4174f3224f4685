"""A data folder for tests of completeness: one venue, its trades second by second, and what its collector recorded."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np

from pumpwatch.catalogue import Catalogue
from pumpwatch.clock import NS_PER_S, FakeClock
from pumpwatch.model import NO_SEQUENCE, Gap, IdKind, Instrument, TradeBatch
from pumpwatch.ops.completeness import VenueFacts
from pumpwatch.records import Records
from pumpwatch.stats import Stats
from pumpwatch.store.coverage import CoverageFile
from pumpwatch.store.journal import Journal
from pumpwatch.store.minutes import MINUTE_NS
from pumpwatch.store.sqlite import connect
from pumpwatch.store.tally import Tally

FIRST = 29_900_000 // 1440 * 1440 + 600  # a minute: ten o'clock of some day
START_NS = FIRST * MINUTE_NS
VENUE = ("alpha", "spot")
FACTS = {VENUE: VenueFacts(IdKind.CONTIGUOUS, False)}
SYMBOLS = ("AUSDT", "BUSDT")


def catalogue() -> Catalogue:
    """Return the catalogue of the venue's symbols."""
    made = Catalogue()
    for symbol in SYMBOLS:
        made.add(VENUE, Instrument(symbol=symbol, base=symbol.removesuffix("USDT"), quote="USDT"))
    return made


def trades(symbol: str, seconds: Iterable[int]) -> TradeBatch:
    """Return a trade in each of these seconds since START_NS; its id is 1000 and the second."""
    at = np.array(list(seconds), np.int64)
    timestamp = START_NS + at * NS_PER_S
    return TradeBatch(
        timestamp=timestamp, instrument=np.full(len(at), SYMBOLS.index(symbol), np.int32), price=np.full(len(at), 2.5),
        quantity=np.full(len(at), 0.25), side=np.zeros(len(at), np.uint8), trade_id=at + 1000,
        sequence_number=np.full(len(at), NO_SEQUENCE, np.int64), received_at=timestamp + 50_000_000,
        flags=np.zeros(len(at), np.uint8))


class MinuteFolder:
    """One data folder and its clock, which begins ten minutes before START_NS."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.clock = folder, FakeClock(START_NS - 10 * MINUTE_NS)

    def copy(self, folder: Path) -> MinuteFolder:
        """Return a copy in another folder."""
        shutil.copytree(self.folder, folder)
        copied = MinuteFolder(folder)
        copied.clock = FakeClock(self.clock.now_ns())
        return copied

    def store(self, *batches: TradeBatch, gaps: Sequence[Gap] = (), voids: Sequence[tuple[int, int, int]] = ()) -> None:
        """Store trades as one run of a collector does."""
        journal = Journal(self.folder, catalogue(), self.clock, Stats())
        journal.open()
        journal.record(Records(gaps=list(gaps)))
        journal.pass_over(voids)
        for batch in batches:
            journal.commit(batch)
        journal.close()
        self.clock.advance(61)

    def count(self) -> None:
        """Count what is stored into the ledger of minutes."""
        journal = Journal(self.folder, catalogue(), self.clock, Stats())
        journal.open()
        tally = Tally(self.folder, journal.readable_segments, lambda venue: IdKind.CONTIGUOUS, self.clock)
        while tally.step():
            pass
        tally.close()
        journal.close()

    def watch(self, *symbols: str, second: int = -300) -> None:
        """Record that these symbols are watched from a second on."""
        file = CoverageFile(self.folder)
        file.watch(VENUE, frozenset(symbols), START_NS + second * NS_PER_S)
        file.close()

    def delete(self, where: str) -> int:
        """Delete batches from every segment, as nobody should; return how many."""
        deleted = 0
        for path in (self.folder / "journal").glob("*.sqlite"):
            connection = connect(path)
            deleted += connection.execute(f"DELETE FROM batches WHERE {where}").rowcount
            connection.close()
        return deleted


def gap(first_s: float, last_s: float, **facts: object) -> Gap:
    """Return a gap of the venue, in seconds since START_NS."""
    return Gap(**{"exchange": VENUE[0], "market_type": VENUE[1], "from_ns": START_NS + int(first_s * NS_PER_S),
                  "to_ns": START_NS + int(last_s * NS_PER_S), "reason": "connection lost"} | facts)
