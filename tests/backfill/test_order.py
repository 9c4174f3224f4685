"""The order in which symbols are filled."""

from __future__ import annotations

import random

import pytest

from pumpwatch.backfill.order import TOGETHER_NS, UNLISTED, WorkOrder, rank
from pumpwatch.backfill.work import GapWork
from pumpwatch.model import Gap


def work(number: int, from_ns: int = 0, first_id: int | None = None) -> GapWork:
    gap = Gap(exchange="venue", market_type="spot", symbol=f"S{number}", from_ns=from_ns, to_ns=from_ns + 5, reason="r",
              first_id=first_id, last_id=first_id)
    return GapWork(gap, gap.symbol, number)


VOLUMES = {0: 10.0, 1: 500.0, 2: 100.0, 3: 0.0}


def ordered(works: list[GapWork]) -> list[GapWork]:
    """Return works as they are taken, each once the one before is done."""
    order, found = WorkOrder(), list[GapWork]()
    for added in works:
        order.add(added)
    while (taken := order.take(0.0)) is not None:
        taken.done = True
        order.give_back(taken)
        found.append(taken)
    for taken in works:
        taken.done = False
    return found


def numbers(works: list[GapWork], windows: dict[int, int] | None = None) -> list[int]:
    for unranked in works:
        unranked.rank = rank(unranked, VOLUMES[unranked.number], (windows or {}).get(unranked.number, UNLISTED))
    return [found.number for found in ordered(works)]


def test_the_symbols_that_trade_most_come_first():
    assert numbers([work(number) for number in range(4)]) == [1, 2, 0, 3]


def test_coins_of_listing_windows_come_before_them_those_of_the_oldest_window_first():
    assert numbers([work(number) for number in range(4)], {3: 1, 0: 0}) == [0, 3, 1, 2]


def test_jumps_in_ids_come_before_times():
    assert numbers([work(1), work(0, first_id=7), work(2)]) == [0, 1, 2]


def test_newer_gaps_come_before_older_ones_whatever_their_symbols_trade():
    assert numbers([work(1), work(3, 2 * TOGETHER_NS), work(2, TOGETHER_NS), work(0, 2 * TOGETHER_NS + 9)]) == [0, 3, 2, 1]


def test_of_one_symbol_the_older_gap_of_a_time_comes_first():
    works = [work(1, 50), work(1, 20)]
    assert numbers(works) == [1, 1]
    assert [found.gap.from_ns for found in ordered(works)] == [20, 50]


@pytest.mark.parametrize("seed", range(20))
def test_whatever_is_done_meanwhile_the_first_that_may_be_taken_is(seed: int) -> None:
    draw, order, now_s = random.Random(seed), WorkOrder(), 0.0
    known: list[GapWork] = []  # in the order in which they were added
    taken: list[GapWork] = []
    for _ in range(400):
        act = draw.choice(["add", "add", "take", "take", "end", "end", "wait", "finish", "rank", "renew"])
        free = [one for one in known if not any(one is busy for busy in taken)]
        if act == "add":
            known.append(work(draw.randrange(6), draw.randrange(4) * TOGETHER_NS))
            known[-1].rank = rank(known[-1], 1.0, UNLISTED)
            order.add(known[-1])
        elif act == "take":
            busy = {one.number for one in taken}
            may = [one for one in free if not one.done and one.not_before <= now_s and one.number not in busy]
            first = min(may, key=lambda one: one.rank, default=None)
            assert order.take(now_s) is first
            taken += [first] if first is not None else []
        elif act == "end" and taken:
            ended = taken.pop(draw.randrange(len(taken)))
            ended.done, ended.not_before = draw.random() < 0.5, now_s + draw.randrange(3)
            order.give_back(ended)
        elif act == "wait":
            now_s += 1.0
        elif act == "finish" and free:
            draw.choice(free).done = True
        elif act == "rank" and known:  # a listing window opens
            moved = draw.randrange(6)
            for found in known:
                found.rank = (0 if found.number == moved else UNLISTED, *found.rank[1:])
            order.renew()
        elif act == "renew":
            order.renew()
            assert len(order) == sum(not one.done for one in free)


class Counted(tuple):  # type: ignore[type-arg]
    """A rank that counts how often it is compared."""

    comparisons = 0

    def __lt__(self, other: object) -> bool:
        Counted.comparisons += 1
        return tuple.__lt__(self, other)


@pytest.mark.parametrize("instruments", [1, 50])
def test_any_number_of_jumps_costs_a_few_looks_each(instruments: int) -> None:
    looks = {}
    for count in (1000, 8000):
        order, Counted.comparisons = WorkOrder(), 0
        for number in random.Random(1).sample(range(count), count):
            added = work(number % instruments, number, first_id=number)
            added.rank = Counted(rank(added, 1.0, UNLISTED))  # type: ignore[assignment]
            order.add(added)
        for _ in range(count):
            taken = order.take(0.0)
            assert taken is not None and (instruments > 1 or order.take(0.0) is None)
            taken.done = True
            order.give_back(taken)
            if instruments > 1 and (other := order.take(0.0)) is not None:
                order.give_back(other)
        looks[count] = Counted.comparisons / count
    assert looks[8000] < 2 * looks[1000]
