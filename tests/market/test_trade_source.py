"""Stored trades are found by coin and time, beside a collector and without one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pumpwatch.clock import FakeClock
from pumpwatch.errors import UsageError
from pumpwatch.market.service import MarketService
from pumpwatch.market.trade_source import JournalTrades, ids_of
from pumpwatch.model import Instrument
from pumpwatch.stats import Stats
from pumpwatch.store.journal import Journal
from pumpwatch.store.segment import unlink
from tests.commands.stored import START_NS, stored
from tests.market.live_journal import START_NS as LIVE_NS
from tests.market.live_journal import LiveJournal
from tests.trades import batch_of, catalogue_of


def test_the_trades_of_a_journal_are_those_of_the_time(tmp_path: Path) -> None:
    stored(tmp_path)
    trades = JournalTrades(tmp_path)
    ids = ids_of(trades.catalogue, "C1", None, None)
    batch = trades.between(ids, START_NS, START_NS + 10**8)
    assert len(batch) and set(batch.instrument.tolist()) <= set(ids)
    assert trades.begins_ns() == START_NS and trades.state() and trades.problems() == []


def test_its_state_is_another_one_after_each_commit_and_with_each_new_file(tmp_path: Path) -> None:
    live = LiveJournal(tmp_path)
    source, states = JournalTrades(tmp_path), set()
    for number in range(3):
        states.add(source.state())
        assert source.state() in states
        live.commit(live.trades(5, 1 + number * 10, START_NS, 1000))
        live.clock.advance(3600)  # the next commit begins a file
    assert len({*states, source.state()}) == 4
    live.journal.close()


def test_its_trades_are_whole_since_the_oldest_file_that_has_not_expired(tmp_path: Path) -> None:
    live = LiveJournal(tmp_path)
    live.commit(live.trades(5, 1, LIVE_NS, 1000))
    assert JournalTrades(tmp_path).whole_from_ns() == LIVE_NS
    live.clock.advance(7200)
    live.commit(live.trades(5, 11, LIVE_NS + 60 * 10**9, 1000))  # late ones, in a file of their own
    live.journal.close()
    unlink(min((tmp_path / "journal").glob("*.sqlite")))
    source = JournalTrades(tmp_path)
    assert source.begins_ns() == LIVE_NS + 60 * 10**9
    assert source.whole_from_ns() == LIVE_NS + 7200 * 10**9 + 60 * 10**9


def test_a_coin_that_was_listed_since_is_found(tmp_path: Path) -> None:
    live = LiveJournal(tmp_path)
    live.commit(live.trades(4, 1, LIVE_NS, 1000))
    source = JournalTrades(tmp_path)
    service = MarketService(source, None, None, live.clock)
    live.catalogue.add(("binance", "spot"), Instrument(symbol="NEWUSDT", base="NEW", quote="USDT"))
    with pytest.raises(UsageError, match="no coin 'NEW' is known"):
        service.ids("NEW")
    batch = live.trades(1, 11, LIVE_NS, 1000)
    live.commit(replace(batch, instrument=np.full(1, len(live.catalogue) - 1, np.int32)))
    assert source.catalogue.names(service.ids("NEW")) == [("binance", "spot", "NEWUSDT")]
    live.journal.close()


def test_a_file_that_cannot_be_read_is_told_once_however_often_it_is_asked(tmp_path: Path) -> None:
    live = LiveJournal(tmp_path)
    live.commit(live.trades(5, 1, LIVE_NS, 1000))
    live.journal.close()
    source = JournalTrades(tmp_path)
    (tmp_path / "journal" / "9.sqlite").write_bytes(b"not a database, and longer than a header" * 20)
    for _ in range(3):
        source.between([0], LIVE_NS, LIVE_NS + 10**9)
    assert source._journal.unreadable == [] and len(source.problems()) == 1


def test_a_folder_without_a_journal_has_no_trade(tmp_path: Path) -> None:
    trades = JournalTrades(tmp_path)
    assert trades.begins_ns() == 2**62 and trades.state() == 0 and not len(trades.between([], 0, 1))


def test_a_coin_is_narrowed_and_an_unknown_one_names_similar_ones() -> None:
    catalogue = catalogue_of()
    assert len(ids_of(catalogue, ["C1", "c2", "C1"], None, None)) == 4
    assert [catalogue.venues[number] for number in ids_of(catalogue, "C1", "binance", "spot")] == [("binance", "spot")]
    with pytest.raises(UsageError, match="no coin 'C11' is known; nearest: C1"):
        ids_of(catalogue, "C11", None, None)
    with pytest.raises(UsageError, match="nothing of this name"):
        ids_of(catalogue, "x" * 500, None, None)


def test_trades_that_come_later_are_seen_however_soon_they_are_asked_for(tmp_path: Path) -> None:
    """The segments are kept while their files do not change."""
    clock, catalogue = FakeClock(10**18), catalogue_of(1)
    journal = Journal(tmp_path, catalogue, clock, Stats())
    journal.open()
    journal.commit(batch_of(10, instruments=1, start_ns=10**18, step_ns=1))
    trades = JournalTrades(tmp_path)
    ids = trades.catalogue.matching("C0")[:1]
    for number in range(2, 30):
        journal.commit(batch_of(10, first_id=10 * number, instruments=1, start_ns=10**18 + number, step_ns=1))
        assert len(trades.between(ids, 0, 2**62)) == 10 * number
        assert len(trades.between(ids, 0, 2**62)) == 10 * number
    journal.close()
