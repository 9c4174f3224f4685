"""The order in which symbols are filled."""

from __future__ import annotations

from pumpwatch.backfill.order import TOGETHER_NS, UNLISTED, ordered, rank
from pumpwatch.backfill.work import GapWork
from pumpwatch.model import Gap


def work(number: int, from_ns: int = 0, first_id: int | None = None) -> GapWork:
    gap = Gap(exchange="venue", market_type="spot", symbol=f"S{number}", from_ns=from_ns, to_ns=from_ns + 5, reason="r",
              first_id=first_id, last_id=first_id)
    return GapWork(gap, gap.symbol, number)


VOLUMES = {0: 10.0, 1: 500.0, 2: 100.0, 3: 0.0}


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
