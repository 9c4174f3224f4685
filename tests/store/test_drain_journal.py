"""The journal is what a drain asks for."""

from __future__ import annotations

from pathlib import Path

from pumpwatch.clock import Clock
from pumpwatch.stats import Stats
from pumpwatch.store.drain_journal import DrainJournal
from pumpwatch.store.journal import Journal
from tests.trades import batch_of, catalogue_of


def test_a_journal_feeds_a_drain(tmp_path: Path) -> None:
    journal = Journal(tmp_path, catalogue_of(), Clock(), Stats())
    journal.open()
    last_id = journal.commit(batch_of(30))
    feeds: DrainJournal = journal
    (entry,) = feeds.read_after(0, 100)
    assert (entry[0], len(entry[1])) == (last_id, 30)
    assert feeds.trades_after(0) == feeds.trades_between(0, last_id) == 30
    assert feeds.watermarks.acknowledged("questdb") == 0 and not feeds.census().locked()
    journal.close()
