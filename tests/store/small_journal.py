"""A closed journal of a few small segments, for the tests of the modules that read one."""

from __future__ import annotations

from pathlib import Path

from pumpwatch.clock import NS_PER_S, FakeClock
from pumpwatch.stats import Stats
from pumpwatch.store.damage import Damage
from pumpwatch.store.journal import Journal
from pumpwatch.store.segment import Segment, read_segment
from tests.trades import VENUES, batch_of, catalogue_of

START_NS = 1_790_000_000 * NS_PER_S
HOUR_NS = 3600 * NS_PER_S
NAMES = [(*venue, f"C{number}USDT") for number in range(4) for venue in VENUES]


def small_journal(folder: Path, *, segments: int = 3, rows: int = 50) -> list[Path]:
    """Store `segments` hours of `rows` trades each, with ids from 1 on and a batch an hour; return the files."""
    clock = FakeClock(START_NS)
    journal = Journal(folder, catalogue_of(), clock, Stats())
    journal.open()
    for number in range(segments):
        journal.commit(batch_of(rows, first_id=number * rows + 1, start_ns=clock.now_ns(), seed=number))
        clock.advance(3600)
    journal.close()
    return files(folder)


def files(folder: Path) -> list[Path]:
    """Return a data folder's segment files, oldest first."""
    return sorted((folder / "journal").glob("*.sqlite"))


def segments_of(folder: Path) -> list[Segment]:
    """Return a data folder's segments, oldest first."""
    return [read_segment(path) for path in files(folder)]


class NotedDamage(Damage):
    """Damage whose gaps are kept in `gaps`."""

    def __init__(self) -> None:
        self.gaps = []
        super().__init__(Stats(), lambda records: self.gaps.extend(records.gaps), lambda: True)
