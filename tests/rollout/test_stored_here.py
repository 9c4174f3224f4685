"""A trade that is stored here is found in memory or in the journal, and once."""

from __future__ import annotations

from pathlib import Path

import gevent
import pytest

from pumpwatch.clock import Clock
from pumpwatch.errors import StorageError
from pumpwatch.rollout.stored_here import StoredHere
from pumpwatch.stats import Stats
from pumpwatch.store.journal import Journal
from pumpwatch.store.recent import Recent
from tests.trades import batch_of, catalogue_of


class Unreadable:
    def query(self, name: object, start_ns: int, end_ns: int) -> None:
        return None


def test_memory_and_journal_are_one_answer(tmp_path: Path) -> None:
    catalogue, recent = catalogue_of(), Recent(20)
    journal = Journal(tmp_path, catalogue, Clock(), Stats())
    journal.open()
    early, late = batch_of(300, start_ns=10**18), batch_of(300, first_id=301, start_ns=10**18 + 10**9)
    for batch in (early, late):
        journal.commit(batch)
    recent.add(late)
    here = StoredHere(recent, journal.side_reader, catalogue, Clock(), lambda: 0, lambda: 0, lambda: False)
    found = here.query(range(8), 10**18, 10**18 + 2 * 10**9)
    assert sorted(found.trade_id.tolist()) == list(range(1, 601))
    assert here.query([3], 10**18, 10**18 + 10**9).instrument.tolist() == [3] * int((early.instrument == 3).sum())
    journal.close()


def test_a_journal_that_cannot_be_read_beside_the_collector_is_named() -> None:
    here = StoredHere(Recent(20), Unreadable, catalogue_of(), Clock(), lambda: 0, lambda: 0, lambda: False)  # type: ignore[arg-type]
    with pytest.raises(StorageError, match="beside the collector now"):
        here.query([1], 0, 10**18)


def test_a_sink_has_reached_what_was_durable_when_it_was_asked() -> None:
    marks, down = {"last": 5, "cursor": 3}, True
    here = StoredHere(Recent(20), Unreadable, catalogue_of(), Clock(), lambda: marks["last"],  # type: ignore[arg-type]
                      lambda: marks["cursor"], lambda: down)
    assert not here.reached(0.0)
    assert not here.reached(1e9)
    down = False
    waiting = gevent.spawn(here.reached, 20.0)
    gevent.sleep(0)
    marks.update(last=9, cursor=5)
    assert waiting.get(timeout=20.0)
