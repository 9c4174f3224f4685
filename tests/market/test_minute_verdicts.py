"""Candles count as complete only where no gap and nothing unwatched speaks against it, and again when a gap changes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from pumpwatch.catalogue import Catalogue
from pumpwatch.clock import NS_PER_S, FakeClock
from pumpwatch.market.candle_columns import CandleColumns, CandleOrigin
from pumpwatch.market.intervals import MINUTE, MINUTE_NS
from pumpwatch.market.minute_verdicts import MinuteEvidence, Verdicts, evidence, merged_spans, missing_spans
from pumpwatch.model import Gap, GapState
from pumpwatch.records import Records
from pumpwatch.stats import Stats
from pumpwatch.store.coverage import Watched
from pumpwatch.store.journal import Journal
from tests.market.memory_store import MemoryStore

FIRST = 28_000_000
VENUE = ("alpha", "spot")
SERIES = [(*VENUE, "AUSDT"), (*VENUE, "BUSDT")]
GAP = Gap(exchange="alpha", market_type="spot", symbol="AUSDT", from_ns=(FIRST + 2) * MINUTE_NS, to_ns=(FIRST + 4) * MINUTE_NS,
          reason="connection lost")


def store_of(minutes: int, origin: CandleOrigin = CandleOrigin.TRADES) -> MemoryStore:
    store, count = MemoryStore(), 2 * minutes
    ones = np.ones(count)
    store.write(MINUTE, SERIES, CandleColumns(
        np.repeat(np.arange(2, dtype=np.int32), minutes), np.tile((FIRST + np.arange(minutes)) * MINUTE_NS, 2), ones, ones, ones,
        ones, ones, ones, ones, np.ones(count, np.int64), np.zeros(count, np.bool_), np.full(count, origin, np.uint8)))
    return store


def records(*gaps: Gap) -> MinuteEvidence:
    watched = Watched(*VENUE, (FIRST - 5) * MINUTE_NS, frozenset({"AUSDT", "BUSDT"}))
    return MinuteEvidence({VENUE: list(gaps)}, {}, {VENUE: [watched]})


def incomplete(store: MemoryStore) -> set[tuple[str, int]]:
    return {(name[2], at // MINUTE_NS - FIRST) for (name, _, at), row in store.rows.items() if not row[-2]}


@pytest.mark.parametrize(("state", "missing"), [
    (GapState.OPEN, {("AUSDT", 2), ("AUSDT", 3)}), (GapState.LOST, {("AUSDT", 2), ("AUSDT", 3)}), (GapState.FILLED, set())])
def test_candles_in_a_gap_that_is_not_filled_are_not_complete(state: GapState, missing: set) -> None:
    store = store_of(6)
    assert Verdicts(store).judge(records(replace(GAP, state=state)), FIRST, FIRST + 6) == []
    assert incomplete(store) == missing


def test_what_nobody_watched_is_not_complete() -> None:
    store = store_of(4)
    watched = Watched(*VENUE, (FIRST + 1) * MINUTE_NS, frozenset({"AUSDT"}))
    Verdicts(store).judge(MinuteEvidence({}, {}, {VENUE: [watched]}), FIRST, FIRST + 4)
    assert incomplete(store) == {("AUSDT", 0)} | {("BUSDT", minute) for minute in range(4)}


def test_a_gap_is_judged_again_when_it_changes_and_not_otherwise() -> None:
    verdicts = Verdicts(store_of(1))
    span = {VENUE: [(FIRST + 2, FIRST + 4)]}
    assert verdicts.changed_spans(records(GAP)) == span
    assert verdicts.changed_spans(records(GAP)) == {}
    assert verdicts.changed_spans(records(replace(GAP, state=GapState.FILLED))) == span
    grown = replace(GAP, state=GapState.FILLED, to_ns=GAP.to_ns + 1)
    assert verdicts.changed_spans(records(grown)) == {VENUE: [(FIRST + 2, FIRST + 5)]}


def test_a_venues_candle_is_named_where_all_trades_are_stored() -> None:
    store = store_of(4, CandleOrigin.VENUE)
    before = dict(store.rows)
    back = Verdicts(store).judge(records(GAP), FIRST, FIRST + 4)
    assert set(back) == {(SERIES[0], FIRST), (SERIES[0], FIRST + 1), *((SERIES[1], FIRST + minute) for minute in range(4))}
    assert store.rows == before


def test_the_missing_time_of_a_symbol_is_its_gaps_and_what_nobody_watched() -> None:
    line = records(GAP).timeline(VENUE, ["AUSDT", "BUSDT"], FIRST - 8, FIRST + 6)
    assert missing_spans(line) == {"AUSDT": [(FIRST - 8, FIRST - 5), (FIRST + 2, FIRST + 4)], "BUSDT": [(FIRST - 8, FIRST - 5)]}


def test_spans_that_touch_are_one() -> None:
    assert merged_spans([(5, 7), (1, 3), (3, 4), (6, 6), (9, 9)]) == [(1, 4), (5, 7)]


def test_the_records_of_a_folder_are_read_beside_its_collector(tmp_path: Path) -> None:
    assert evidence(tmp_path, 0, 2**62).gaps == {}
    journal = Journal(tmp_path, Catalogue(), FakeClock(FIRST * MINUTE_NS), Stats())
    journal.open()
    journal.record(Records(gaps=[GAP]))
    found = evidence(tmp_path, GAP.from_ns - NS_PER_S, GAP.to_ns)
    journal.close()
    assert found.gaps == {VENUE: [GAP]}
