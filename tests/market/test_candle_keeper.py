"""A round makes the minutes, judges them, and makes the longer candles; nothing is lost where a round is cut off."""

from __future__ import annotations

from pathlib import Path

from pumpwatch.market.candle_keeper import JUDGED, CandleKeeper, missing_in
from pumpwatch.market.intervals import MINUTE, MINUTE_NS
from pumpwatch.market.minute_verdicts import MinuteEvidence
from pumpwatch.model import Gap, GapState
from pumpwatch.records import Records
from pumpwatch.store.coverage import CoverageFile, Watched
from tests.market.live_journal import START_NS, LiveJournal
from tests.market.memory_store import MemoryStore
from tests.trades import VENUES

FIRST = START_NS // MINUTE_NS


def watched(live: LiveJournal) -> None:
    file = CoverageFile(live.folder)
    for venue in VENUES:
        file.watch(venue, frozenset({"C0USDT", "C1USDT"}), START_NS - 30 * MINUTE_NS)
    file.close()


def test_minutes_count_as_complete_once_they_are_judged_and_longer_candles_add_up(tmp_path: Path) -> None:
    live, store = LiveJournal(tmp_path), MemoryStore()
    watched(live)
    live.commit(live.trades(1200, 1, START_NS, 10**9))
    live.clock.advance(300 + 3)
    keeper = CandleKeeper(tmp_path, store, live.clock)
    keeper.run()
    name = live.catalogue.names([0])[0]
    assert store.read(name, MINUTE, START_NS, START_NS + 5 * MINUTE_NS).complete.tolist() == [True, True, True, False, False]
    live.clock.advance(2000)
    keeper.run()
    for interval, minutes in (("5m", 5), ("15m", 15)):
        first = FIRST // minutes * minutes
        longer = store.read(name, interval, first * MINUTE_NS, (first + 1) * MINUTE_NS)
        parts = store.read(name, MINUTE, first * MINUTE_NS, (first + minutes) * MINUTE_NS)
        assert longer.trades.tolist() == [parts.trades.sum()]
        assert longer.complete.tolist() == [True]
        assert longer.open.tolist() == [parts.open[0]]
    assert int(store.marks()[JUDGED]) > FIRST


def test_a_gap_that_is_filled_later_makes_its_candles_complete(tmp_path: Path) -> None:
    live, store = LiveJournal(tmp_path), MemoryStore()
    watched(live)
    gap = {"exchange": "binance", "market_type": "spot", "symbol": "C0USDT", "from_ns": START_NS, "to_ns": START_NS + MINUTE_NS,
           "reason": "connection lost"}
    live.journal.record(Records(gaps=[Gap(**gap)]))
    live.commit(live.trades(300, 1, START_NS, 10**9))
    live.clock.advance(1000)
    keeper, name = CandleKeeper(tmp_path, store, live.clock), live.catalogue.names([0])[0]
    keeper.run()
    assert store.read(name, MINUTE, START_NS, START_NS + 2 * MINUTE_NS).complete.tolist() == [False, True]
    assert keeper.missing[name][-1] == (FIRST, FIRST + 1)
    assert not store.read(name, "1h", 0, 2**62).complete.all()
    live.journal.record(Records(gaps=[Gap(**gap, state=GapState.FILLED)]))
    live.clock.advance(60)
    keeper.run()
    assert store.read(name, MINUTE, START_NS, START_NS + 2 * MINUTE_NS).complete.tolist() == [True, True]


def test_a_minute_that_is_made_after_it_was_judged_has_its_verdict(tmp_path: Path) -> None:
    live, store = LiveJournal(tmp_path), MemoryStore()
    watched(live)
    live.commit(live.trades(4000, 1, START_NS, 10**9))  # more minutes than a pass sums
    live.clock.advance(5000)
    for _ in range(6):
        CandleKeeper(tmp_path, store, live.clock).run()
    name = live.catalogue.names([0])[0]
    assert store.read(name, MINUTE, START_NS, START_NS + 60 * MINUTE_NS).complete.tolist() == [True] * 60
    late = live.trades(40, 5000, START_NS + 60 * MINUTE_NS - 50 * 10**9, 10**9)
    live.commit(late.take(late.instrument == 0))
    keeper = CandleKeeper(tmp_path, store, live.clock)
    keeper.run()
    assert keeper.figures()["again"] == 1
    assert store.read(name, MINUTE, START_NS, START_NS + 60 * MINUTE_NS).complete.tolist() == [True] * 60


def test_a_clock_that_is_set_back_changes_no_candle_and_later_rounds_go_on(tmp_path: Path) -> None:
    live, store = LiveJournal(tmp_path), MemoryStore()
    watched(live)
    live.commit(live.trades(900, 1, START_NS, 10**9))
    live.clock.advance(1000)
    keeper = CandleKeeper(tmp_path, store, live.clock)
    keeper.run()
    rows, marks = dict(store.rows), store.marks()
    for _ in range(3):
        live.clock.step(-3600)
        CandleKeeper(tmp_path, store, live.clock).run()
        keeper.run()
        assert (store.rows, store.marks()) == (rows, marks)
    live.clock.step(3 * 3600)
    live.clock.advance(600)
    live.commit(live.trades(100, 2000, START_NS + 1000 * 10**9, 10**9))
    keeper.run()
    assert {at for _, interval, at in store.rows if interval == MINUTE} == {
        START_NS + at * MINUTE_NS for at in range(19) if at != 15}


def test_a_store_that_is_built_again_has_the_verdicts_of_earlier_days(tmp_path: Path) -> None:
    live, store = LiveJournal(tmp_path), MemoryStore()
    watched(live)
    gap = {"exchange": "binance", "market_type": "spot", "symbol": "C0USDT", "from_ns": START_NS, "to_ns": START_NS + MINUTE_NS,
           "reason": "connection lost"}
    live.journal.record(Records(gaps=[Gap(**gap)]))
    live.commit(live.trades(300, 1, START_NS, 10**9))
    live.clock.advance(3 * 86_400)
    CandleKeeper(tmp_path, store, live.clock).run()
    name = live.catalogue.names([0])[0]
    assert store.read(name, MINUTE, START_NS, START_NS + 5 * MINUTE_NS).complete.tolist() == [False, True, True, True, True]
    assert store.read(name, "5m", 0, 2**62).complete.tolist() == [False]


def test_the_missing_time_of_a_venue_is_what_nobody_watched() -> None:
    records = MinuteEvidence({}, {}, {VENUES[0]: [Watched(*VENUES[0], START_NS, frozenset({"C0USDT"}))]})
    assert missing_in(records, FIRST - 3, FIRST + 3) == {(*VENUES[0], "C0USDT"): [(FIRST - 3, FIRST)]}
