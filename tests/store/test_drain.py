"""The drain: in order, memory first, the journal when behind, one message when the sink goes, one when it returns."""

from __future__ import annotations

import json
import logging
from collections.abc import Callable, Iterator
from typing import Any

import gevent
import pytest

from pumpwatch.clock import Clock
from pumpwatch.config import DrainConfig
from pumpwatch.errors import ConfigError, ServiceUnavailable, StorageError
from pumpwatch.hookspecs import WriteResult
from pumpwatch.model import TradeBatch
from pumpwatch.records import Quarantined
from pumpwatch.stats import Stats
from pumpwatch.store.drain import Drain
from tests.store.journal_in_memory import JournalInMemory
from tests.trades import batch_of, catalogue_of

CATALOGUE = catalogue_of()


class ScriptedSink:
    """Stores trade ids; `down`, `poisonous`, `suspended` and `misfit` are its script, `writes` its history."""

    def __init__(self) -> None:
        self.stored: list[int] = []
        self.writes: list[int] = []
        self.opened = self.closed = 0
        self.down = ""
        self.misfit = ""
        self.suspended = ""
        self.confused = ""
        self.asked = 0
        self.odd = False
        self.poisonous: set[int] = set()

    def open(self) -> None:
        self.opened += 1
        if self.misfit:
            raise ConfigError(self.misfit)
        if self.down:
            raise ServiceUnavailable(self.down, "is it running?")

    def write(self, batch: TradeBatch, catalogue: Any) -> WriteResult:
        if self.down:
            raise ServiceUnavailable(self.down, "is it running?")
        self.writes.append(len(batch))
        for row, number in enumerate(batch.trade_id.tolist()):
            if number in self.poisonous:
                return WriteResult(0, [(row, "cast error")])
        self.stored += batch.trade_id.tolist()
        return WriteResult(len(batch))

    def trouble(self) -> str:
        self.asked += 1
        if self.odd:
            raise ValueError("odd answer")
        if self.confused:
            raise ConfigError(self.confused)
        return self.suspended

    def close(self) -> None:
        self.closed += 1


class Bench:
    """A drain with its journal and sink, and the greenlet that runs it."""

    def __init__(self, options: DrainConfig | None = None, journal: JournalInMemory | None = None) -> None:
        self.sink, self.journal, self.stats = ScriptedSink(), journal or JournalInMemory(), Stats()
        self.quarantined: list[Quarantined] = []
        self.drain = Drain(
            "fake", self.sink, self.journal, CATALOGUE, self.stats, Clock(),  # type: ignore[arg-type]
            lambda records: self.quarantined.extend(records.quarantine), options or DrainConfig(flush_ms=5.0),
            trouble_poll_s=0.01)
        self.greenlet: gevent.Greenlet[Any, Any] | None = None
        self._next_id = 1

    def commit(self, rows: int) -> None:
        batch = batch_of(rows, first_id=self._next_id)
        self._next_id += rows
        self.drain.offer(self.journal.commit(batch), batch)

    def start(self) -> None:
        self.greenlet = gevent.spawn(self.drain.run)

    def wait(self, until: Callable[[], bool]) -> None:
        with gevent.Timeout(20):
            while not until():
                assert self.greenlet is None or not self.greenlet.dead or self.greenlet.successful()
                gevent.sleep(0.002)


@pytest.fixture
def bench() -> Iterator[Bench]:
    made = Bench()
    yield made
    if made.greenlet is not None:
        made.drain.stop(1.0)
        made.greenlet.kill()


def changes(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if "state=" in record.getMessage()]


def test_what_is_offered_is_sent_in_order_and_acknowledged(bench: Bench) -> None:
    bench.start()
    for _ in range(5):
        bench.commit(100)
        gevent.sleep(0.003)
    bench.wait(lambda: bench.drain.lag_rows == 0)
    assert bench.sink.stored == list(range(1, 501))
    assert bench.journal.acknowledgements == sorted(bench.journal.acknowledgements)
    assert bench.journal.acknowledged("fake") == bench.journal.batches[-1][0]


def test_while_it_keeps_up_the_journal_is_not_read(bench: Bench) -> None:
    bench.start()
    gevent.sleep(0.02)
    reads_at_start = len(bench.journal.calls)
    for _ in range(20):
        bench.commit(50)
        gevent.sleep(0.001)
    bench.wait(lambda: bench.drain.lag_rows == 0)
    assert len(bench.journal.calls) == reads_at_start == 1


def test_what_was_left_by_the_last_run_is_sent_first() -> None:
    journal = JournalInMemory(acknowledged=7)
    for first in range(1, 1001, 100):
        journal.commit(batch_of(100, first_id=first))
    bench = Bench(journal=journal)
    bench._next_id = 1001
    bench.start()
    gevent.sleep(0)
    bench.commit(10)
    bench.wait(lambda: len(bench.sink.stored) >= 1010)
    bench.drain.stop()
    assert bench.sink.stored == list(range(1, 1011))
    assert bench.drain.lag_rows == 0


def test_a_sink_that_is_down_is_named_once_and_gets_everything_afterwards(
        bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    bench.start()
    bench.commit(100)
    bench.wait(lambda: bench.drain.lag_rows == 0)
    bench.sink.down = "connection refused"
    for _ in range(10):
        bench.commit(100)
        gevent.sleep(0.05)
    assert bench.drain.lag_rows == 1000
    bench.sink.down = ""
    bench.wait(lambda: bench.drain.lag_rows == 0)
    assert bench.sink.stored == list(range(1, 1101))
    down, up = changes(caplog)
    assert "state=down" in down
    assert "'connection refused; is it running?'" in down
    assert "state=up" in up


def test_what_does_not_fit_into_memory_is_read_from_the_journal_in_larger_batches() -> None:
    bench = Bench(DrainConfig(flush_ms=5.0, flush_rows=100, catch_up_rows=1000, memory_rows=300))
    bench.sink.down = "away"
    bench.start()
    for _ in range(50):
        bench.commit(100)
        gevent.sleep(0.001)
    bench.sink.down = ""
    bench.wait(lambda: bench.drain.lag_rows == 0)
    for _ in range(5):
        bench.commit(100)
    bench.wait(lambda: bench.drain.lag_rows == 0)
    bench.drain.stop()
    assert bench.sink.stored == list(range(1, 5501))
    assert max(bench.sink.writes) in range(1000, 1040)
    assert bench.sink.writes.count(100) <= 6, 'small batches only once it has caught up'


def test_offers_made_while_the_journal_is_read_are_neither_lost_nor_doubled() -> None:
    bench = Bench(DrainConfig(flush_ms=1.0, flush_rows=50, catch_up_rows=200, memory_rows=150))

    read = bench.journal.read_after

    def slow_read(batch_id: int, max_rows: int) -> list[tuple[int, TradeBatch]]:
        gevent.sleep(0.003)
        found = read(batch_id, max_rows)
        gevent.sleep(0.003)
        return found

    bench.journal.read_after = slow_read  # type: ignore[method-assign]
    bench.start()
    for number in range(200):
        bench.commit(50)
        gevent.sleep(0.006 if number % 40 == 0 else 0)
    bench.wait(lambda: bench.drain.lag_rows == 0)
    bench.drain.stop()
    assert bench.sink.stored == list(range(1, 10_001))


def test_what_is_offered_while_the_backlog_is_counted_is_not_left_out_of_it(bench: Bench) -> None:
    count = bench.journal.trades_after

    def counted_slowly(batch_id: int) -> int:
        found = count(batch_id)
        bench.commit(70)
        bench.journal.trades_after = count  # type: ignore[method-assign]
        return found

    bench.sink.down = "away"
    bench.journal.trades_after = counted_slowly  # type: ignore[method-assign]
    bench.commit(30)
    bench.start()
    bench.wait(lambda: bench.drain.state == "down")
    assert bench.drain.lag_rows == 100


def test_a_poisonous_trade_goes_to_quarantine_and_the_rest_is_stored(
        bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    bench.sink.poisonous = {57, 312}
    bench.start()
    bench.commit(500)
    bench.wait(lambda: bench.drain.lag_rows == 0)
    assert sorted(bench.sink.stored) == [number for number in range(1, 501) if number not in {57, 312}]
    assert [json.loads(row.payload)["trade_id"] for row in bench.quarantined] == ["57", "312"]
    row = bench.quarantined[0]
    assert (row.exchange, row.reason) == ("binance", "sink fake: cast error")
    assert row.market_type in ("spot", "futures")
    assert bench.stats.get("sink_refused_total", sink="fake") == 2
    assert changes(caplog) == []


def test_a_sink_that_rejects_every_row_is_down_and_no_trade_is_quarantined(
        bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    bench.sink.poisonous = set(range(1, 1001))
    bench.start()
    bench.commit(1000)
    bench.wait(lambda: bool(changes(caplog)))
    assert "rejects every trade" in changes(caplog)[0]
    assert not bench.quarantined
    assert bench.drain.lag_rows == 1000
    bench.sink.poisonous = set()
    bench.wait(lambda: bench.drain.lag_rows == 0)
    assert bench.sink.stored == list(range(1, 1001))


def test_a_lonely_poisonous_trade_waits_for_company_and_is_then_found(bench: Bench) -> None:
    bench.sink.poisonous = {1}
    bench.start()
    bench.commit(1)
    gevent.sleep(0.05)
    assert not bench.quarantined
    bench.commit(1)
    bench.wait(lambda: bench.drain.lag_rows == 0)
    assert bench.sink.stored == [2]
    assert len(bench.quarantined) == 1


def test_a_suspended_table_stops_the_sending_until_it_is_mended(bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    bench.start()
    bench.sink.suspended = "table trades is suspended"
    gevent.sleep(0.05)
    bench.commit(100)
    bench.wait(lambda: bool(changes(caplog)))
    assert bench.sink.stored == []
    assert "table trades is suspended" in changes(caplog)[0]
    bench.sink.suspended = ""
    bench.wait(lambda: bench.drain.lag_rows == 0)
    assert bench.sink.stored == list(range(1, 101))
    assert len(changes(caplog)) == 2


def test_a_sink_that_cannot_say_whether_it_is_in_trouble_is_sent_to_and_asked_again(bench: Bench) -> None:
    bench.start()
    bench.sink.suspended = "table trades is suspended"
    bench.wait(lambda: bench.drain.state == "table trades is suspended")
    bench.sink.confused = "it refuses the user"
    asked = bench.sink.asked
    bench.commit(100)
    bench.wait(lambda: bench.sink.asked > asked + 2 and bench.drain.lag_rows == 0)
    bench.sink.confused = ""
    bench.wait(lambda: bench.drain.state == "table trades is suspended")


def test_a_sink_is_opened_at_the_start_and_not_with_the_first_trade(bench: Bench) -> None:
    bench.start()
    bench.wait(lambda: bench.drain.state == "up")
    assert bench.sink.opened == 1


def test_a_schema_that_does_not_fit_ends_the_drain_at_the_start_and_is_a_sink_that_is_down_later(bench: Bench) -> None:
    bench.sink.misfit = "column price is STRING, expected DOUBLE"
    first = gevent.spawn(bench.drain.run)
    first.join(5)
    assert isinstance(first.exception, ConfigError)
    bench.start()
    bench.commit(10)
    bench.wait(lambda: bench.drain.state == "down")
    bench.sink.misfit = ""
    bench.wait(lambda: bench.drain.lag_rows == 0)


def test_a_schema_that_does_not_fit_is_raised_when_the_program_starts() -> None:
    bench = Bench()
    bench.sink.misfit = "column price is STRING, expected DOUBLE"
    with pytest.raises(ConfigError, match="expected DOUBLE"):
        bench.drain.open()


def test_stopping_sends_what_is_in_memory_and_closes_the_sink() -> None:
    bench = Bench(DrainConfig(flush_ms=60_000.0))
    bench.start()
    bench.wait(lambda: bool(bench.journal.calls))
    bench.commit(10)
    gevent.sleep(0.01)
    bench.commit(10)
    assert bench.sink.stored == []
    bench.drain.stop()
    assert bench.sink.stored == list(range(1, 21))
    assert bench.sink.closed == 1
    assert bench.greenlet is not None
    bench.greenlet.join(5)
    assert bench.greenlet.dead


def test_stopping_does_not_wait_for_a_sink_that_is_down() -> None:
    bench = Bench()
    bench.sink.down = "away"
    bench.start()
    bench.commit(10)
    bench.wait(lambda: bench.sink.opened > 1)
    bench.drain.stop()
    assert bench.drain.lag_rows == 10
    assert bench.journal.acknowledgements == []


def test_a_restarted_run_forgets_nothing(bench: Bench) -> None:
    bench.start()
    bench.commit(10)
    bench.wait(lambda: bench.drain.lag_rows == 0)
    assert bench.greenlet is not None
    bench.greenlet.kill()
    bench.commit(10)
    bench.start()
    bench.wait(lambda: bench.drain.lag_rows == 0)
    assert bench.sink.stored == list(range(1, 21))


def test_a_sink_that_answers_with_an_odd_error_is_asked_on_and_its_trouble_is_seen(
        bench: Bench, caplog: pytest.LogCaptureFixture) -> None:
    bench.sink.odd = True
    bench.start()
    bench.wait(lambda: bench.sink.asked >= 5)
    bench.sink.odd, bench.sink.suspended = False, "table suspended"
    bench.wait(lambda: bench.drain.state == "table suspended")
    assert sum("sink check failed" in record.getMessage() for record in caplog.records) == 1


def test_a_journal_that_cannot_be_read_just_now_is_asked_again_and_the_sink_is_not_down() -> None:
    journal = JournalInMemory()
    for first in range(1, 1001, 100):
        journal.commit(batch_of(100, first_id=first))
    read, refused = journal.read_after, []

    def refuse_twice(batch_id: int, max_rows: int) -> list[tuple[int, TradeBatch]]:
        if len(refused) < 2:
            refused.append(bench.drain.state)
            raise StorageError("it is locked")
        return read(batch_id, max_rows)

    journal.read_after = refuse_twice  # type: ignore[method-assign]
    bench = Bench(journal=journal)
    bench.start()
    bench.wait(lambda: len(bench.sink.stored) == 1000)
    bench.drain.stop()
    assert bench.sink.stored == list(range(1, 1001))
    assert refused[0] == "up"
    assert bench.sink.opened == 1
