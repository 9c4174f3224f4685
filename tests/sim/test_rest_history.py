"""The REST side sees the history without its newest seconds, or distorted as a fault says; the history itself stays whole."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from pumpwatch.clock import NS_PER_S
from pumpwatch.sim.history import MINUTE_NS, TradeHistory
from pumpwatch.sim.rest_history import FORMS, HistoryFault, RestHistory
from pumpwatch.sim.rows import Rows
from tests.sim.fakes import START_NS, TABLE, KeptTruth

COUNT = 300  # trades of each symbol, a second apart
MINUTE = START_NS - START_NS % MINUTE_NS
END_NS = MINUTE + COUNT * NS_PER_S


@pytest.fixture
def history() -> TradeHistory:
    kept = TradeHistory(TABLE, 10_000)
    for symbol in (0, 1):
        numbers = np.arange(COUNT, dtype=np.int64)
        kept.add(Rows(TABLE, np.full(COUNT, symbol, np.int32), numbers + 1000 * (symbol + 1), MINUTE + numbers * NS_PER_S,
                      np.full(COUNT, 100), np.full(COUNT, 7), np.zeros(COUNT, np.bool_), np.zeros(COUNT, np.uint8)))
    return kept


def seen(history: TradeHistory, fault: HistoryFault | None = None, lag_s: int = 0, truth: KeptTruth | None = None) -> RestHistory:
    return RestHistory(history, END_NS, lag_s * NS_PER_S, fault=fault, now=5.0, truth=truth or KeptTruth(), venue="fake.spot")


def ids(rows: Rows) -> list[int]:
    found: list[int] = rows.trade_id.tolist()
    return found


@pytest.mark.parametrize("ask", [
    lambda view: view.recent(0, 4), lambda view: view.last_between(0, 0, 2**62, 4), lambda view: view.last_ids(0, 0, 9999, 4),
    lambda view: view.from_id(0, 1294, 99), lambda view: view.between(0, MINUTE + 294 * NS_PER_S, 2**62, 99)])
def test_every_answer_leaves_out_the_newest_seconds(history: TradeHistory, ask: Callable[[Any], Rows]) -> None:
    assert max(ids(ask(seen(history)))) == 1299
    assert max(ids(ask(seen(history, lag_s=3)))) == 1297
    assert len(ask(seen(history, lag_s=3))) == 4


def test_a_minute_leaves_out_its_newest_trades(history: TradeHistory) -> None:
    assert [bar.trades for bar in seen(history).minutes(0, MINUTE, END_NS)] == [60] * 5
    assert [bar.trades for bar in seen(history).minutes(0, MINUTE - 1, MINUTE + 1)] == [60], "a minute counts whole"
    assert [bar.trades for bar in seen(history, lag_s=3).minutes(0, MINUTE, END_NS)] == [60] * 4 + [58]


def test_a_hole_takes_the_middle_and_the_truth_names_its_ids(history: TradeHistory) -> None:
    truth = KeptTruth()
    fault = HistoryFault("hole", count=1, until=0.0)
    assert ids(seen(history, fault, truth=truth).recent(0, 9)) == [1291, 1292, 1293, 1297, 1298, 1299]
    assert truth.events == [("history", {"venue": "fake.spot", "form": "hole", "symbol": "AAA", "rows": 6,
                                         "missing": [1294, 1296]})]
    assert len(seen(history, fault).recent(0, 9)) == 9, "the count is used up"


@pytest.mark.parametrize(("form", "wanted"), [
    ("back", [1000, 1001, 1002]), ("other", [2297, 2298, 2299]), ("none", []), ("conflict", [1297, 1298, 1299])])
def test_an_answer_has_old_foreign_no_or_contradicting_rows(history: TradeHistory, form: str, wanted: list[int]) -> None:
    rows = seen(history, HistoryFault(form, 0, until=6.0)).recent(0, 3)
    assert ids(rows) == wanted
    assert rows.price.tolist() == ([100, 101, 100] if form == "conflict" else [100] * len(wanted))


def test_a_repeated_page_is_the_first_one_for_any_request(history: TradeHistory) -> None:
    fault = HistoryFault("repeat", 0, until=6.0)
    first = ids(seen(history, fault).last_ids(0, 0, 1200, 3))
    assert first == [1198, 1199, 1200] == ids(seen(history, fault).last_ids(0, 0, 1197, 3))


def test_minutes_contradict_or_lie_in_the_future(history: TradeHistory) -> None:
    doubled = seen(history, HistoryFault("conflict", 0, until=6.0)).minutes(0, MINUTE, END_NS)
    assert [bar.quantity for bar in doubled] == [2 * 60 * 7] * 5
    future = seen(history, HistoryFault("future", 0, until=6.0)).minutes(0, MINUTE, END_NS)
    assert len(future) == 6 and future[-1].start_ns > END_NS


def test_a_fault_ends_with_its_time_and_is_about_its_symbol(history: TradeHistory) -> None:
    assert len(seen(history, HistoryFault("none", 1, until=4.0)).recent(0, 3)) == 3
    about = HistoryFault("none", 0, until=6.0, symbol="BBB")
    assert len(seen(history, about).recent(0, 3)) == 3 and not len(seen(history, about).recent(1, 3))


@pytest.mark.parametrize("form", FORMS)
def test_a_symbol_without_trades_breaks_no_distortion(form: str) -> None:
    empty = TradeHistory(TABLE, 10)
    assert seen(empty, HistoryFault(form, 0, until=6.0)).minutes(0, MINUTE, END_NS) == []
    assert not len(seen(empty, HistoryFault(form, 0, until=6.0)).recent(0, 5))


def test_a_book_is_as_new_as_the_newest_trade_for_any_lag(history: TradeHistory) -> None:
    assert seen(history, lag_s=30).book(0, END_NS) == history.book(0, END_NS)
    assert history.book(0, END_NS).number == 1299


@pytest.mark.parametrize("form", FORMS)
def test_a_fault_empties_a_book_or_gives_another_ones(history: TradeHistory, form: str) -> None:
    truth, whole = KeptTruth(), history.book(0, END_NS)
    book = seen(history, HistoryFault(form, 0, 9.0), truth=truth).book(0, END_NS)
    if form == "none":
        assert (list(book.bids), list(book.asks), book.number) == ([], [], whole.number)
    else:
        assert book == (history.book(1, END_NS) if form == "other" else whole)
    assert len(truth.events) == (form in ("none", "other"))
