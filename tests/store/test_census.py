"""Counting the journal by time: exact to the trade by the index, doubles told apart, and where a minute begins."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pumpwatch.clock import NS_PER_S, FakeClock
from pumpwatch.model import TradeBatch
from pumpwatch.stats import Stats
from pumpwatch.store.census import HOUR_NS, trades_by_minute
from pumpwatch.store.journal import Journal
from pumpwatch.store.minutes import MINUTE_NS
from tests.trades import batch_of, catalogue_of

START_NS = 1_795_000_000 * NS_PER_S // HOUR_NS * HOUR_NS


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    one = Journal(tmp_path, catalogue_of(), FakeClock(START_NS), Stats())
    one.open()
    yield one
    one.close()


def commit(journal: Journal, *batches: TradeBatch) -> int:
    return journal.commit(TradeBatch.concat(batches))


def test_trades_are_counted_by_their_minutes_over_all_segments(journal: Journal, tmp_path: Path) -> None:
    expected: Counter[int] = Counter()
    for part in range(50):
        batch = batch_of(300, first_id=1 + 300 * part, start_ns=START_NS + part * 37 * NS_PER_S, step_ns=NS_PER_S // 7)
        last = commit(journal, batch)
        expected.update((batch.timestamp // MINUTE_NS).tolist())
        if part == 25:
            journal.close()
            journal = Journal(tmp_path, catalogue_of(9), FakeClock(START_NS + HOUR_NS), Stats())
            journal.open()
    census = journal.census()
    assert census.minutes(0, last) == expected
    assert census.minutes(START_NS + 10 * MINUTE_NS, last) == Counter(
        {minute: trades for minute, trades in expected.items() if minute >= START_NS // MINUTE_NS + 10})
    assert sum(census.minutes(0, last - 1).values()) == 49 * 300
    journal.close()


def test_a_trade_that_is_stored_twice_is_one(journal: Journal) -> None:
    batch = batch_of(400, start_ns=START_NS)
    texts = np.array([b"" if row % 2 else b"%032d" % row for row in range(400)])
    batch = replace(batch, text_id=texts, trade_id=np.where(texts != b"", 0, batch.trade_id))
    commit(journal, batch)
    last = commit(journal, batch.take(slice(100, 300)), batch_of(50, first_id=9_000, start_ns=START_NS))
    census = journal.census()
    assert sum(census.minutes(0, last).values()) == 650
    assert census.distinct(START_NS, START_NS + MINUTE_NS, last) == 450
    assert census.distinct(START_NS, START_NS + MINUTE_NS, last - 1) == 400
    assert census.distinct(START_NS + MINUTE_NS, START_NS + 2 * MINUTE_NS, last) == 0


def test_the_oldest_batch_of_a_time_is_found(journal: Journal) -> None:
    numbers = [commit(journal, batch_of(10, start_ns=START_NS + minute * MINUTE_NS)) for minute in range(5)]
    census = journal.census()
    assert census.first_batch(START_NS + 2 * MINUTE_NS, 2**62) == numbers[2]
    assert census.first_batch(START_NS + 9 * MINUTE_NS, 2**62) is None


def test_an_hour_has_at_least_what_lies_wholly_in_it(journal: Journal) -> None:
    commit(journal, batch_of(100, start_ns=START_NS))
    commit(journal, batch_of(100, start_ns=START_NS + HOUR_NS - 50, step_ns=1))
    commit(journal, batch_of(70, start_ns=START_NS + HOUR_NS + 50))
    assert journal.census().hours(START_NS, START_NS + 2 * HOUR_NS) == {
        START_NS // HOUR_NS: 100, START_NS // HOUR_NS + 1: 70}


def test_a_stray_trade_far_from_the_rest_costs_no_memory() -> None:
    batch = batch_of(3, start_ns=START_NS)
    stray = replace(batch, timestamp=np.array([5, START_NS, 2**62], np.int64))
    assert trades_by_minute(stray, 0) == {0: 1, START_NS // MINUTE_NS: 1, 2**62 // MINUTE_NS: 1}
    assert trades_by_minute(stray, START_NS + MINUTE_NS) == {2**62 // MINUTE_NS: 1}
