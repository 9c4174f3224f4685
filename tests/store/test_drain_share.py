"""A sink with a share of the instruments: no other trades, all of them once the share grows, and none lost when it shrinks."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import gevent
import pytest

from pumpwatch.clock import Clock, FakeClock
from pumpwatch.config import DrainConfig
from pumpwatch.errors import ServiceUnavailable
from pumpwatch.hookspecs import Keeping, WriteResult
from pumpwatch.model import TradeBatch
from pumpwatch.stats import Stats
from pumpwatch.store.drain import Drain
from pumpwatch.store.journal import Journal
from pumpwatch.store.share import Share
from tests.store.journal_in_memory import JournalInMemory
from tests.trades import batch_of, catalogue_of

CATALOGUE = catalogue_of()  # buckets 67, 47, 63, 33, 88, 15, 68, 38


class Shelf:
    """A sink that keeps each trade once; `down` while told to."""

    def __init__(self) -> None:
        self.kept: set[tuple[int, int]] = set()  # instrument, id
        self.opened, self.rows, self.down = 0, 0, False

    def open(self) -> None:
        self.opened += 1
        if self.down:
            raise ServiceUnavailable("down")

    def write(self, batch: TradeBatch, catalogue: Any) -> WriteResult:
        if self.down:
            raise ServiceUnavailable("down")
        self.rows += len(batch)
        self.kept |= set(zip(batch.instrument.tolist(), batch.trade_id.tolist(), strict=True))
        return WriteResult(len(batch))

    def trouble(self) -> str:
        return ""

    def keeping(self) -> Keeping:
        return Keeping(at_risk_s=0.0, run="1")

    def close(self) -> None:
        pass


class Run:
    """One run of a drain on a journal that outlives it."""

    def __init__(self, journal: JournalInMemory, shelf: Shelf, percent: int) -> None:
        self.journal, self.shelf = journal, shelf
        self.drain = Drain("fake", shelf, journal, CATALOGUE, Stats(), Clock(), lambda records: None,  # type: ignore[arg-type]
                           DrainConfig(flush_ms=5.0), trouble_poll_s=0.01, share=percent)
        self.greenlet = gevent.spawn(self.drain.run)

    def commit(self, rows: int = 200) -> None:
        first = sum(len(batch) for _, batch in self.journal.batches) + 1
        batch = batch_of(rows, first_id=first, seed=first)
        self.drain.offer(self.journal.commit(batch), batch)

    def wait(self, until: Callable[[], bool]) -> None:
        with gevent.Timeout(20):
            while not until():
                assert not self.greenlet.dead
                gevent.sleep(0.002)

    def wait_for(self, percent: int) -> None:
        """Wait until the sink has exactly the trades of a share, of everything in the journal."""
        self.wait(lambda: self.shelf.kept == wanted(self.journal, percent))

    def stop(self) -> None:
        self.drain.stop(5.0)
        self.greenlet.get(timeout=5.0)


def wanted(journal: JournalInMemory, percent: int) -> set[tuple[int, int]]:
    share = Share(CATALOGUE, percent)
    batch = share.of(TradeBatch.concat([batch for _, batch in journal.batches]))
    return set(zip(batch.instrument.tolist(), batch.trade_id.tolist(), strict=True))


def test_each_larger_share_gets_what_was_left_out_before() -> None:
    run = Run(journal := JournalInMemory(), shelf := Shelf(), 20)
    for percent in (20, 50, 100):
        run.drain.set_share(percent)
        run.commit()
        run.wait_for(percent)
    run.wait(lambda: journal.complete("fake") == journal.acknowledged("fake") == journal.batches[-1][0])
    assert shelf.rows <= 20 * 600 / 100 + 2 * 600 + 600
    run.stop()


def test_a_sink_with_a_share_of_nothing_is_not_even_opened_and_loses_nothing() -> None:
    run = Run(journal := JournalInMemory(), shelf := Shelf(), 0)
    for _ in range(3):
        run.commit()
        gevent.sleep(0.02)
    assert (shelf.opened, run.drain.state, journal.complete("fake"), run.drain.lag_rows) == (0, "off", 0, 600)
    run.drain.set_share(100)
    run.wait_for(100)
    run.wait(lambda: run.drain.lag_rows == 0)
    run.stop()


def test_the_journal_keeps_what_a_smaller_share_leaves_out() -> None:
    run = Run(journal := JournalInMemory(), shelf := Shelf(), 100)
    run.commit()
    run.wait_for(100)
    whole_upto = journal.batches[-1][0]
    run.wait(lambda: journal.complete("fake") == whole_upto)
    run.drain.set_share(50)
    run.commit()
    run.wait(lambda: run.drain.cursor == journal.batches[-1][0])
    assert len(shelf.kept) < 400
    assert journal.complete("fake") == whole_upto < journal.safe("fake")
    run.drain.set_share(0)
    run.commit()
    run.wait(lambda: run.drain.state == "off")
    run.drain.set_share(100)
    run.wait_for(100)
    run.wait(lambda: journal.complete("fake") == journal.batches[-1][0])
    run.stop()


@pytest.mark.parametrize("percent", [0, 50, 100])
def test_a_share_that_changed_while_nothing_ran_is_caught_up_with_at_the_start(percent: int) -> None:
    run = Run(journal := JournalInMemory(), shelf := Shelf(), 20)
    run.commit()
    run.wait_for(20)
    run.stop()
    run = Run(journal, shelf, percent)
    run.commit()
    if percent:
        run.wait_for(percent)
    else:
        gevent.sleep(0.05)
        run.drain.set_share(20)
        run.wait_for(20)
    run.stop()


def test_a_sink_that_fails_and_is_taken_back_gets_everything_later() -> None:
    run = Run(JournalInMemory(), shelf := Shelf(), 50)
    run.commit()
    run.wait_for(50)
    shelf.down = True
    run.commit()
    run.wait(lambda: run.drain.state == "down")
    run.drain.set_share(0)
    run.wait(lambda: run.drain.state == "off")
    run.commit()
    shelf.down = False
    run.drain.set_share(50)
    run.wait_for(50)
    run.stop()


def test_a_share_and_its_marks_are_there_after_a_restart_and_keep_the_segments(tmp_path: Path) -> None:
    clock = FakeClock()

    def opened() -> Journal:
        made = Journal(tmp_path, catalogue_of(), clock, Stats())
        made.open()
        return made

    journal = opened()
    for _ in range(4):
        journal.commit(batch_of(10, start_ns=clock.now_ns()))
        clock.advance(3600)
    journal.acknowledge("questdb", 2)
    assert journal.watermarks.set_share("questdb", 10) is None
    journal.acknowledge("questdb", 4)
    journal.close()
    journal = opened()
    marks = journal.watermarks
    assert (marks.share("questdb"), marks.safe("questdb"), marks.complete("questdb")) == (10, 4, 2)
    assert journal.commit(batch_of(10, start_ns=clock.now_ns())) == 5  # a share is not the number of a batch
    clock.advance(3600)
    assert [removed.segment.last_id for removed in journal.expire(clock.now_ns(), 10**12, ["questdb"])] == [1, 2]
    assert marks.set_share("questdb", 50) == 2
    assert (marks.acknowledged("questdb"), marks.complete("questdb")) == (2, 2)
    journal.close()
