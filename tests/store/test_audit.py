"""A sink that has fewer rows than it acknowledged is noticed, sent what it lacks, and not blamed for doubles."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import gevent
import pytest

from pumpwatch.catalogue import Catalogue
from pumpwatch.clock import Clock
from pumpwatch.config import DrainConfig
from pumpwatch.errors import ServiceUnavailable
from pumpwatch.hookspecs import Keeping, WriteResult
from pumpwatch.model import TradeBatch
from pumpwatch.stats import Stats
from pumpwatch.store.audit import Audit
from pumpwatch.store.census import HOUR_NS
from pumpwatch.store.drain import Drain
from pumpwatch.store.minutes import MINUTE_NS
from tests.store.journal_in_memory import JournalInMemory
from tests.trades import batch_of, catalogue_of

CATALOGUE = catalogue_of()


class CountedSink:
    """Keeps trades by time and id as a table would. Its script: `down`, `said`, `never` (ids it does not take)."""

    def __init__(self) -> None:
        self.rows: set[tuple[int, int]] = set()
        self.written: list[int] = []
        self.opened = 0
        self.down = self.uncountable = False
        self.said = Keeping(run="1")
        self.never: set[int] = set()
        self.refused: set[int] = set()  # ids it names as wrong
        self.looks = 0

    def open(self) -> None:
        self.opened += 1
        self.trouble()

    def write(self, batch: TradeBatch, catalogue: Catalogue) -> WriteResult:
        self.trouble()
        ids = batch.trade_id.tolist()
        self.written += ids
        if named := [(row, "never") for row, number in enumerate(ids) if number in self.refused]:
            return WriteResult(0, named)
        self.rows.update(row for row in zip(batch.timestamp.tolist(), ids, strict=True) if row[1] not in self.never)
        return WriteResult(len(batch))

    def trouble(self) -> str:
        if self.down:
            raise ServiceUnavailable("away")
        return ""

    def keeping(self) -> Keeping:
        self.trouble()
        return self.said

    def count(self, ranges: Sequence[tuple[int, int]]) -> list[int]:
        if self.uncountable:
            raise ServiceUnavailable("busy")
        self.looks += 1
        return [sum(start <= at < end for at, _ in self.rows) for start, end in ranges]

    def close(self) -> None:
        pass


class Bench:
    """A drain to such a sink."""

    def __init__(self, journal: JournalInMemory | None = None, *, audit_s: float = 0.02, shared: bool = False) -> None:
        self.sink, self.journal, self.clock = CountedSink(), journal or JournalInMemory(batch_rows=10), Clock()
        self.start_ns = self.clock.now_ns() // MINUTE_NS * MINUTE_NS - 30 * MINUTE_NS
        self.drain = Drain(
            "fake", self.sink, self.journal, CATALOGUE, Stats(), self.clock,  # type: ignore[arg-type]
            lambda records: None, DrainConfig(flush_ms=2.0), trouble_poll_s=0.01, audit_s=(audit_s, audit_s),
            shared=shared)
        self.made = 0
        self.greenlet: gevent.Greenlet[Any, Any] | None = None

    def batch(self, rows: int, minute: int) -> TradeBatch:
        batch = batch_of(rows, first_id=self.made + 1, start_ns=self.start_ns + minute * MINUTE_NS, step_ns=10**9)
        self.made += rows
        return batch

    def commit(self, batch: TradeBatch) -> None:
        self.drain.offer(self.journal.commit(batch), batch)

    def start(self) -> None:
        self.greenlet = gevent.spawn(self.drain.run)

    def wait(self, until: Callable[[], bool]) -> None:
        with gevent.Timeout(20):
            while not until():
                gevent.sleep(0.002)

    def fill(self, minutes: int = 10) -> None:
        for minute in range(minutes):
            self.commit(self.batch(50, minute))
        self.wait(lambda: len(self.sink.rows) == self.made and self.drain.lag_rows == 0)

    def lose(self, *minutes: int) -> None:
        lost = {(self.start_ns + minute * MINUTE_NS) // MINUTE_NS for minute in minutes}
        self.sink.rows = {row for row in self.sink.rows if row[0] // MINUTE_NS not in lost}


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench()
    made.start()
    yield made
    made.drain.stop(1.0)
    if made.greenlet:
        made.greenlet.kill()


def test_rows_that_are_gone_are_sent_again_from_the_oldest_batch_that_is_missing(bench: Bench) -> None:
    bench.fill()
    before = len(bench.sink.written)
    bench.lose(4, 7)
    bench.wait(lambda: len(bench.sink.rows) == bench.made)
    assert bench.sink.written[before] == 4 * 50 + 1
    assert len(bench.sink.written) == before + 6 * 50
    bench.wait(lambda: bench.drain.state == "up" and bench.drain.lag_rows == 0)


def test_while_it_refills_the_state_says_so(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    bench.fill()
    states, write = set(), bench.sink.write

    def watched(*batch: Any) -> WriteResult:
        states.add(bench.drain.state)
        return write(*batch)

    monkeypatch.setattr(bench.sink, "write", watched)
    bench.lose(*range(10))
    bench.wait(lambda: len(bench.sink.rows) == bench.made)
    assert "refilling 500 trades" in states


def test_trades_that_the_journal_holds_twice_are_not_missed(bench: Bench) -> None:
    bench.fill()
    again = batch_of(50, first_id=101, start_ns=bench.start_ns + 2 * MINUTE_NS, step_ns=10**9)
    bench.commit(again)
    bench.wait(lambda: len(bench.sink.written) == 550)
    gevent.sleep(0.2)
    assert len(bench.sink.written) == 550


def test_what_a_sink_never_takes_is_sent_a_few_times_and_then_left(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    bench.sink.never = {7, 8}
    for minute in range(3):
        bench.commit(bench.batch(50, minute))
    bench.wait(lambda: "sink=fake trades=2 times=3" in caplog.text)
    written = len(bench.sink.written)
    assert written == 4 * 150
    gevent.sleep(0.2)
    assert len(bench.sink.written) == written
    bench.lose(1)
    bench.wait(lambda: len(bench.sink.rows) == 148)


def test_a_sink_that_cannot_be_counted_now_is_counted_later(bench: Bench) -> None:
    bench.sink.uncountable = True
    bench.fill()
    bench.lose(0)
    gevent.sleep(0.1)
    assert bench.drain.state == "up"
    bench.sink.uncountable = False
    bench.wait(lambda: len(bench.sink.rows) == bench.made)


def test_rows_of_earlier_runs_are_counted_too_and_older_ones_once_something_is_missing() -> None:
    bench = Bench(JournalInMemory(acknowledged=3, batch_rows=10))
    past = [bench.batch(50, minute) for minute in (-9 * 60, -60, -50)]
    for batch in past:
        bench.journal.commit(batch)
    bench.journal.acknowledge("fake", 18)
    bench.sink.rows = set(zip(past[2].timestamp.tolist(), past[2].trade_id.tolist(), strict=True))
    bench.start()
    bench.wait(lambda: len(bench.sink.rows) == 150)
    bench.drain.stop(1.0)


def test_rows_of_earlier_runs_are_counted_once_no_file_of_the_journal_is_locked() -> None:
    journal, sink = JournalInMemory(), CountedSink()
    batch = batch_of(50, start_ns=Clock().now_ns() // MINUTE_NS * MINUTE_NS - MINUTE_NS, step_ns=1)
    audit = Audit("fake", sink, journal, Clock())  # type: ignore[arg-type]
    journal.holds_locked = True
    audit.begin(2)
    audit.count_earlier_runs()
    journal.commit(batch)
    journal.holds_locked = False
    for _ in range(2):
        audit.count_earlier_runs()
    loss = audit.compare()
    assert loss is not None and (loss.after_id, loss.trades) == (0, 50)


def test_a_sink_that_holds_nothing_any_more_gets_everything() -> None:
    bench = Bench(audit_s=1000.0)
    bench.start()
    bench.fill()
    bench.sink.rows.clear()
    bench.sink.said = Keeping(run="1", empty=True)
    bench.wait(lambda: len(bench.sink.rows) == bench.made)
    bench.sink.said = Keeping(run="1")
    assert bench.sink.opened == 2, "what the old connection knew may be of a table that is gone"
    bench.drain.stop(1.0)


@pytest.mark.parametrize("at_risk_s", [300.0, 0.0])
def test_after_a_new_start_of_its_server_a_sink_gets_what_was_at_risk(at_risk_s: float) -> None:
    bench = Bench(audit_s=1000.0)
    bench.sink.said = Keeping(run="1", at_risk_s=at_risk_s)
    bench.start()
    bench.fill()
    bench.sink.down = True
    bench.commit(bench.batch(50, 11))
    bench.wait(lambda: bench.drain.state == "down")
    bench.sink.said = replace(bench.sink.said, run="2")
    bench.sink.down = False
    bench.wait(lambda: bench.drain.state == "up" and bench.drain.lag_rows == 0)
    assert len(bench.sink.written) == (1050 if at_risk_s else 550)
    bench.drain.stop(1.0)


def test_a_sink_that_was_only_slow_gets_nothing_twice() -> None:
    bench = Bench(audit_s=1000.0)
    bench.start()
    bench.fill()
    bench.sink.down = True
    bench.commit(bench.batch(50, 11))
    bench.wait(lambda: bench.drain.state == "down")
    bench.sink.down = False
    bench.wait(lambda: bench.drain.state == "up" and bench.drain.lag_rows == 0)
    assert len(bench.sink.written) == 550
    bench.drain.stop(1.0)


def test_a_start_goes_back_to_what_is_safe() -> None:
    journal = JournalInMemory(batch_rows=10)
    bench = Bench(journal, audit_s=1000.0)
    for minute in range(4):
        journal.commit(bench.batch(50, minute))
    journal.acknowledge("fake", 20, 12)
    bench.start()
    bench.wait(lambda: len(bench.sink.written) == 80)
    bench.drain.stop(1.0)
    assert bench.sink.written == list(range(121, 201))
    assert Counter(bench.sink.written).most_common(1)[0][1] == 1


def test_what_is_to_go_back_when_it_is_stopped_is_left_for_the_next_start() -> None:
    bench = Bench(audit_s=1000.0)
    bench.start()
    bench.fill()
    bench.drain._send_again(7, "it lost them", missing=True)
    bench.drain.stop(1.0)
    assert bench.journal.acknowledged("fake") in (7, 50)
    assert bench.journal.acknowledged("fake") == 7 or len(bench.sink.written) > 500


def test_hours_beyond_what_the_sink_keeps_are_not_missed() -> None:
    bench = Bench(JournalInMemory(acknowledged=3, batch_rows=10))
    old, recent = bench.batch(50, -9 * 60), bench.batch(50, -60)
    for batch in (old, recent):
        bench.journal.commit(batch)
    bench.journal.acknowledge("fake", 13)
    bench.sink.said = Keeping(run="1", keeps_s=8 * HOUR_NS / 1e9)
    bench.start()
    bench.wait(lambda: len(bench.sink.rows) == 50)
    gevent.sleep(0.1)
    assert sorted(bench.sink.written) == recent.trade_id.tolist()
    bench.drain.stop(1.0)


def test_rejected_rows_are_not_expected_in_the_sink(bench: Bench) -> None:
    bench.fill(3)
    bench.sink.refused = {bench.made + 5, bench.made + 6}
    bench.commit(bench.batch(50, 3))
    bench.wait(lambda: bench.drain.lag_rows == 0)
    written = len(bench.sink.written)
    looks = bench.sink.looks
    bench.wait(lambda: bench.sink.looks >= looks + 4)
    assert len(bench.sink.written) == written, "nothing is sent again"
    bench.lose(3)
    bench.wait(lambda: len(bench.sink.rows) == bench.made - 2)


def test_rows_that_are_gone_are_noticed_though_another_collector_has_written_as_many() -> None:
    bench, other = Bench(shared=True), batch_of(500, first_id=10_001)
    bench.start()
    bench.fill()
    others = {(bench.start_ns + at // 50 * MINUTE_NS + 7, number) for at, number in enumerate(other.trade_id.tolist())}
    bench.sink.rows |= others
    looks = bench.sink.looks
    bench.wait(lambda: bench.sink.looks >= looks + 2)
    bench.sink.rows -= {row for row in bench.sink.rows - others if row[0] // MINUTE_NS == bench.start_ns // MINUTE_NS + 4}
    bench.wait(lambda: len(bench.sink.rows) == bench.made + len(others))
    bench.drain.stop(1.0)


def test_rows_of_another_collector_that_stay_away_are_looked_for_a_few_times(caplog: pytest.LogCaptureFixture) -> None:
    bench = Bench(shared=True)
    bench.start()
    bench.fill()
    others = {(bench.start_ns + 7, number) for number in range(10_001, 10_011)}
    bench.sink.rows |= others
    looks = bench.sink.looks
    bench.wait(lambda: bench.sink.looks >= looks + 2)
    bench.sink.rows -= others
    bench.wait(lambda: "sink=fake trades=10 times=3" in caplog.text)
    written, looks = len(bench.sink.written), bench.sink.looks
    bench.wait(lambda: bench.sink.looks >= looks + 3)
    assert len(bench.sink.written) == written
    bench.drain.stop(1.0)
