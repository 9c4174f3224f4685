"""Paging through histories of every kind: by id and by time, upwards and downwards, honest and not."""

from __future__ import annotations

import math

import numpy as np
import pytest

from pumpwatch.backfill import pager as pager_module
from pumpwatch.backfill.pager import HistoryPart, Pager, id_holes
from pumpwatch.clock import NS_PER_S
from pumpwatch.venue import HistoryDepth, HistoryQuery

SECOND = NS_PER_S


def depth(**facts: object) -> HistoryDepth:
    return HistoryDepth(**({"rows_per_request": 10, "pages": True, "reach_s": math.inf} | facts))  # type: ignore[arg-type]


class Market:
    """A symbol's whole history: ids from 0 and their times. It answers queries as `depth` says, and remembers them."""

    def __init__(self, times: list[int], facts: HistoryDepth, first_id: int = 0) -> None:
        self.times, self.ids = np.array(times, np.int64), first_id + np.arange(len(times))
        self.facts = facts
        self.asked: list[HistoryQuery] = []

    def answer(self, query: HistoryQuery) -> tuple[np.ndarray, np.ndarray]:
        self.asked.append(query)
        facts = self.facts
        inside = np.ones(len(self.ids), bool)
        if facts.pages and facts.by_id and (query.first_id >= 0 or query.last_id >= 0):
            inside = self.ids >= query.first_id
            if query.last_id >= 0:
                inside &= self.ids <= query.last_id
        elif facts.pages:
            inside = (self.times >= query.start_ns) & (self.times < query.end_ns)
        rows = np.flatnonzero(inside)
        rows = rows[: facts.rows_per_request] if facts.oldest_first and facts.pages else rows[-facts.rows_per_request:]
        return self.ids[rows], self.times[rows]


def read(market: Market, part: HistoryPart) -> tuple[Pager, set[int]]:
    pager, found = Pager(market.facts, 1, part), set[int]()
    while pager.query is not None:
        ids, times = market.answer(pager.query)
        found |= set(ids.tolist())
        pager.add_answer(ids, times)
    return pager, found


TIMES = [second * SECOND for second in range(100)]


@pytest.mark.parametrize("oldest_first", [True, False])
def test_ids_are_read_page_by_page_and_no_further(oldest_first):
    market = Market(TIMES, depth(by_id=True, oldest_first=oldest_first))
    pager, found = read(market, HistoryPart("S", 0, 10**18, 20, 54))
    assert set(range(20, 55)) <= found and pager.whole
    assert len(market.asked) == 4


def test_an_open_end_is_read_until_a_page_is_not_full():
    market = Market(TIMES, depth(by_id=True, oldest_first=True))
    pager, found = read(market, HistoryPart("S", 0, 10**18, 85))
    assert found == set(range(85, 100)) and pager.whole and len(market.asked) == 3  # 10, 5 which is half a page, 0


def test_an_open_end_is_left_once_the_time_is_up():
    market = Market(TIMES, depth(by_id=True, oldest_first=True))
    _, found = read(market, HistoryPart("S", 20 * SECOND, 35 * SECOND, 20))
    assert max(found) < 50


@pytest.mark.parametrize("oldest_first", [True, False])
def test_an_open_beginning_is_read_down_to_the_time(oldest_first):
    market = Market(TIMES, depth(by_id=True, oldest_first=oldest_first))
    pager, found = read(market, HistoryPart("S", 50 * SECOND, 80 * SECOND, -1, 79))
    assert set(range(49, 80)) <= found and pager.whole and min(found) >= 30


@pytest.mark.parametrize("oldest_first", [True, False])
def test_a_time_is_read_page_by_page(oldest_first):
    market = Market(TIMES, depth(oldest_first=oldest_first))
    pager, found = read(market, HistoryPart("S", 20 * SECOND, 55 * SECOND))
    assert found == set(range(20, 55)) and pager.whole
    assert pager.low_ns <= 20 * SECOND and pager.high_ns == 54 * SECOND


@pytest.mark.parametrize("oldest_first", [True, False])
def test_a_time_longer_than_a_request_may_ask_for_is_read_in_windows(oldest_first):
    market = Market(TIMES, depth(oldest_first=oldest_first, window_s=7.0))
    pager, found = read(market, HistoryPart("S", 10 * SECOND, 50 * SECOND))
    assert found == set(range(10, 50)) and pager.whole
    assert all(query.end_ns - query.start_ns <= 7 * SECOND for query in market.asked)


@pytest.mark.parametrize("oldest_first", [True, False])
def test_windows_without_a_trade_are_read_all_the_same(oldest_first):
    market = Market([SECOND, 90 * SECOND], depth(oldest_first=oldest_first, window_s=10.0))
    pager, found = read(market, HistoryPart("S", 0, 100 * SECOND))
    assert found == {0, 1} and pager.whole and len(market.asked) == 10
    assert pager.low_ns == 0 and pager.high_ns == 90 * SECOND


@pytest.mark.parametrize("oldest_first", [True, False])
def test_many_trades_of_one_moment_end_the_paging_where_they_fill_a_page(oldest_first):
    market = Market([SECOND] * 5 + [5 * SECOND] * 30 + [9 * SECOND] * 5, depth(oldest_first=oldest_first))
    pager, _ = read(market, HistoryPart("S", 0, 100 * SECOND))
    assert not pager.whole and pager.pages < 10


def test_newest_rows_only_are_asked_once():
    market = Market(TIMES, depth(pages=False))
    pager, found = read(market, HistoryPart("S", 0, 10**18))
    assert found == set(range(90, 100)) and len(market.asked) == 1
    assert (pager.low_ns, pager.high_ns, pager.short) == (90 * SECOND, 99 * SECOND, False)


def test_newest_rows_that_are_not_full_reach_back_to_the_beginning():
    pager, _ = read(Market(TIMES[:3], depth(pages=False)), HistoryPart("S", 0, 10**18))
    assert pager.short


def facing(facts: HistoryDepth, part: HistoryPart, ids: list[int], times: list[int]) -> Pager:
    """Give the same answer again and again."""
    pager = Pager(facts, 1, part)
    while pager.query is not None and pager.pages < 20:
        pager.add_answer(np.array(ids, np.int64), np.array(times, np.int64))
    return pager


@pytest.mark.parametrize("facts", [depth(by_id=True), depth(by_id=True, oldest_first=True)])
def test_an_answer_that_repeats_ends_the_paging(facts):
    repeated = list(range(30, 40))
    pager = facing(facts, HistoryPart("S", 0, 10**18, 0, 60), repeated, [number * SECOND for number in repeated])
    assert pager.pages <= 2


@pytest.mark.parametrize("facts", [depth(), depth(oldest_first=True), depth(by_id=True)])
def test_rows_that_were_not_asked_for_end_the_paging_or_count_for_nothing(facts):
    pager = facing(facts, HistoryPart("S", 0, 10 * SECOND, 0, 9), list(range(500, 510)), [500 * SECOND] * 10)
    assert pager.pages <= 2 and pager.high_ns <= 10 * SECOND
    assert not pager.whole and pager.low_ns > pager.high_ns


@pytest.mark.parametrize("oldest_first", [True, False])
def test_rows_that_were_not_asked_for_do_not_stand_for_the_rest_of_a_time(oldest_first):
    market = Market(TIMES, depth(oldest_first=oldest_first))
    pager = Pager(market.facts, 1, HistoryPart("S", 20 * SECOND, 55 * SECOND))
    pager.add_answer(*market.answer(pager.query))
    low_ns = pager.low_ns
    pager.add_answer(np.arange(500, 510), np.full(10, 500 * SECOND))
    assert pager.query is None and not pager.whole and pager.low_ns == low_ns


@pytest.mark.parametrize("whole_seconds", [True, False])
def test_a_venue_that_counts_in_seconds_is_read_whole_whatever_it_takes_for_the_end_of_its_last_one(whole_seconds):
    facts = depth()
    market = Market([number * SECOND // 4 for number in range(120)], facts)  # four trades a second, ten a page
    pager, found = Pager(facts, 1, HistoryPart("S", 5 * SECOND, 25 * SECOND)), set()
    while pager.query is not None:
        last_ns = (pager.query.end_ns - 1) // SECOND * SECOND + (SECOND - 1 if whole_seconds else 0)
        ids, times = market.answer(HistoryQuery("S", pager.query.start_ns // SECOND * SECOND, last_ns + 1))
        found |= set(ids.tolist())
        pager.add_answer(ids, times)
    assert set(range(20, 97)) <= found and pager.pages < 20


def test_an_answer_that_goes_back_in_time_ends_the_paging():
    pager = Pager(depth(oldest_first=True), 1, HistoryPart("S", 0, 100 * SECOND))
    pager.add_answer(np.arange(10), np.arange(50, 60) * SECOND)
    pager.add_answer(np.arange(10), np.arange(10) * SECOND)
    assert pager.pages == 2 and (pager.query is None or pager.query.start_ns >= 59 * SECOND)


def test_the_number_of_pages_is_bounded():
    market = Market([number * SECOND for number in range(30_000)], depth(rows_per_request=2, by_id=True, oldest_first=True))
    pager = Pager(market.facts, 1, HistoryPart("S", 0, 10**18, 0, 29_999))
    while pager.query is not None:
        first = pager.query.first_id
        pager.add_answer(np.array([first, first + 1]), np.array([first * SECOND] * 2))
    assert pager.pages == pager_module.MOST_PAGES and not pager.whole


def test_holes_are_the_ranges_that_are_not_among_ids():
    assert id_holes(np.array([1, 2, 5, 9]), 1, 10) == [(3, 4), (6, 8), (10, 10)]
    assert id_holes(np.array([3, 4]), 3, 4) == []
    assert id_holes(np.empty(0, np.int64), 3, 4) == [(3, 4)]


def test_a_history_whose_first_row_is_later_than_asked_was_read_to_its_beginning():
    """A venue that answers from an id on answers with its first rows where it has none before."""
    pager = Pager(depth(by_id=True, oldest_first=True), 1, HistoryPart("A", 0, 100 * SECOND, last_id=104))
    first_rows = np.arange(100, 110), SECOND * np.arange(50, 60)
    pager.add_answer(*first_rows)
    assert pager.query is not None and pager.query.last_id < 100
    pager.add_answer(*first_rows)
    assert pager.query is None and pager.whole and pager.low_ns == 50 * SECOND
