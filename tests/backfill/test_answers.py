"""An answer of a history serves those gaps of its symbol whose trades it must have."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from pumpwatch.backfill import answers as module
from pumpwatch.backfill.answers import KeptAnswer, KeptAnswers
from pumpwatch.clock import NS_PER_S
from pumpwatch.model import TradeBatch
from pumpwatch.pipeline.parse import Parsed
from pumpwatch.venue import HistoryDepth, HistoryQuery
from tests.trades import batch_of

NEWEST = HistoryDepth(rows_per_request=100, pages=False, reach_s=0)
BY_ID = HistoryDepth(rows_per_request=100, pages=True, reach_s=0, by_id=True, by_time=False)
BY_TIME = HistoryDepth(rows_per_request=100, pages=True, reach_s=0)


def answer(rows: int = 10, asked_ns: int = 50, first_id: int = -1, last_id: int = -1, symbol: str = "A") -> KeptAnswer:
    batch = batch_of(rows, start_ns=0) if rows else TradeBatch.empty()
    return KeptAnswer(asked_ns, HistoryQuery(symbol, 0, 1, first_id, last_id), Parsed(batch, None, None))


def found(kept: KeptAnswer, depth: HistoryDepth, first_id: int = -1, last_id: int = -1, since_ns: int = 50) -> bool:
    answers = KeptAnswers()
    answers.keep(kept, depth)
    return answers.find(HistoryQuery("A", 0, 1, first_id, last_id), depth, since_ns) is kept


def test_newest_rows_serve_every_gap_that_ended_before_they_were_asked_for():
    assert found(answer(), NEWEST) and found(answer(100), NEWEST, first_id=7)
    assert not found(answer(), NEWEST, since_ns=51)
    assert not found(answer(rows=0), NEWEST)
    assert not found(answer(symbol="B"), NEWEST)


def test_every_trade_from_an_id_on_serves_what_begins_there_or_later():
    assert found(answer(first_id=5), BY_ID, 5) and found(answer(first_id=5), BY_ID, 9, 12)
    assert not found(answer(first_id=5), BY_ID, 4, 12) and not found(answer(first_id=5), BY_ID)
    assert found(answer(), BY_ID) and found(answer(), BY_ID, 9) and found(answer(rows=0), BY_ID, last_id=12)


def test_a_page_that_may_be_cut_off_serves_nothing_else():
    assert not found(answer(50, first_id=5), BY_ID, 5)
    assert not found(answer(first_id=5, last_id=20), BY_ID, 5, 20)
    assert not found(answer(), BY_TIME)


def test_without_an_id_an_answer_of_a_venue_that_is_asked_by_time_has_that_time_alone():
    either = dataclasses.replace(BY_ID, by_time=True)
    assert not found(answer(), either) and found(answer(first_id=5), either, 9)


def newest(first: int, last: int, asked_s: float) -> KeptAnswer:
    return dataclasses.replace(answer(last, int(asked_s * NS_PER_S)), parsed=Parsed(
        batch_of(last, start_ns=0).take(slice(first, last)), None, None))


def test_a_history_begins_with_the_oldest_rows_of_two_answers_if_the_later_one_has_more_and_neither_is_full():
    answers = KeptAnswers()
    assert not answers.begins(newest(0, 70, 10.0), NEWEST) and not answers.begins(newest(0, 71, 12.0), NEWEST)
    assert not answers.begins(newest(0, 70, 16.0), NEWEST)
    assert answers.begins(newest(0, 71, 17.0), NEWEST) and answers.begins(newest(0, 71, 17.0), NEWEST)
    assert not answers.begins(newest(0, 100, 30.0), NEWEST)  # it is full
    assert not answers.begins(newest(1, 90, 40.0), NEWEST)  # the newest rows have moved on
    assert not KeptAnswers().begins(newest(0, 0, 10.0), NEWEST)


def test_newest_rows_that_lack_some_in_the_middle_never_look_like_the_first_ones():
    answers = KeptAnswers()
    for number in range(5):
        rows = batch_of(200, start_ns=0).take(slice(number, 100 + number))
        holed = KeptAnswer((10 * number) * NS_PER_S, HistoryQuery("A", 0, 1), Parsed(
            rows.take(np.arange(100) % 50 > number), None, None))
        assert not answers.begins(holed, NEWEST)


def test_a_dropped_answer_is_gone_and_the_oldest_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "KEPT", 2)
    answers = KeptAnswers()
    for symbol in ("A", "B", "C"):
        answers.keep(dataclasses.replace(answer(symbol=symbol)), NEWEST)
    kept = [answers.find(HistoryQuery(symbol, 0, 1), NEWEST, 0) is not None for symbol in ("A", "B", "C")]
    assert kept == [False, True, True] and len(answers) == 2
    answers.drop("C")
    answers.drop("A")
    assert len(answers) == 1
