"""The gaps of one failure are one outage; other gaps are others."""

from __future__ import annotations

import random
from dataclasses import replace

from pumpwatch.commands.outages import Outage, outages
from pumpwatch.model import Gap, GapState

S = 10**9
START = 1_764_252_202 * S
ALL = Gap(exchange="okx", market_type="spot", symbol="", from_ns=START, to_ns=START + 60 * S, reason="not running")


def gap(first_s: float, end_s: float, reason: str, symbol: str = "", **facts: object) -> Gap:
    return replace(ALL, from_ns=START + int(first_s * S), to_ns=START + int(end_s * S), reason=reason, symbol=symbol, **facts)


def jump(first_s: float, end_s: float, symbol: str = "A", first: int = 7) -> Gap:
    return gap(first_s, end_s, f"ids jump from {first - 1} to {first + 5}", symbol, first_id=first, last_id=first + 4)


def connection(first_s: float, end_s: float, *symbols: str, number: int = 3, why: str = "reset by peer", **facts: object) -> Gap:
    return gap(first_s, end_s, f"connection {number} with {len(symbols)} symbols: {why}", symbols=symbols, **facts)


def test_what_a_kill_leaves_is_one_outage_whatever_the_states_of_its_gaps() -> None:
    left = [replace(ALL, state=GapState.LOST), connection(-2, 1, "A", "B"),
            connection(60.5, 64, "A", "B", why="connection is down"),
            jump(-5, 70), gap(20, 65, "its subscription is silent", "B"), jump(-90, 61, "B", 900)]
    (outage,) = outages([*left, *(replace(gap, exchange="gate", state=GapState.FILLED) for gap in left)])
    assert len(outage.gaps) == 12 and outage.state == GapState.OPEN and outage.states() == "5 open, 1 lost, 6 filled"
    assert (outage.from_ns, outage.to_ns) == (START - 2 * S, START + 65 * S), "ids alone do not make it longer"
    assert outage.reason() == "not running; also connection is down; also reset by peer; and 1 more"


def test_a_failure_of_a_connection_is_not_that_of_another_one_nor_of_another_time_or_venue() -> None:
    apart = [connection(0, 600, "A", "B"), connection(100, 103, "C", number=4, why="no data for … s"),
             connection(700, 702, "A", "B", why="refused"), replace(ALL, exchange="gate", reason="disk full")]
    assert [len(outage.gaps) for outage in outages(apart)] == [1, 1, 1, 1]


def test_a_symbol_that_is_silent_for_hours_is_an_outage_of_its_own_beside_short_ones_of_all() -> None:
    silent = gap(0, 7200, "subscribed and silent", "A")
    found = outages([silent, gap(100, 103, "not running"), gap(3000, 3002, "not running"), jump(99, 104)])
    assert [(len(outage.gaps), outage.reason()) for outage in found] == [
        (1, "subscribed and silent"), (2, "not running"), (1, "not running")]


def test_jumps_in_ids_that_no_outage_explains_are_summed_up_by_their_kind() -> None:
    found = outages([jump(0, 1), jump(0.5, 2, "B", 100), jump(50, 51), connection(300, 310, "A")])
    assert [len(outage.gaps) for outage in found] == [2, 1, 1] and found[0].reason() == "ids jump from … to …"
    assert found[1].reason() == "ids jump from 6 to 12" and found[2].reason() == "reset by peer"


def test_every_gap_is_in_one_outage_whose_time_it_meets() -> None:
    chance = random.Random(5)
    gaps = [chance.choice((jump, lambda first, end: connection(first, end, *chance.sample("ABCDEF", 2)),
                           lambda first, end: gap(first, end, "not running"),
                           lambda first, end: gap(first, end, "silent", chance.choice("ABC"))))(at, at + chance.random() * 30)
            for at in (chance.random() * 3000 for _ in range(1500))]
    found: list[Outage] = outages(gaps)
    assert sorted(map(id, gaps)) == sorted(id(gap) for outage in found for gap in outage.gaps)
    assert all(outage.meets(gap.from_ns, gap.to_ns) for outage in found for gap in outage.gaps)
    assert [outage.from_ns for outage in found] == sorted(outage.from_ns for outage in found)
