"""The gap of a connection with and without a double."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from pumpwatch.clock import NS_PER_S
from pumpwatch.feeds.connection_gap import ConnectionGap
from pumpwatch.model import DISORDER_NS, Gap
from tests.feeds.scripted import World


class Double:
    """A connection beside it: the symbols it reads, and those it has read or that its own gap names."""

    def __init__(self, *symbols: str) -> None:
        self.symbols = self.answers = set(symbols)

    def reads(self, symbols, since_ns):
        return set(symbols) & self.symbols

    def accounted_for(self, symbols, since_ns):
        return set(symbols) & self.answers


@pytest.fixture
def world() -> Iterator[World]:
    with World() as world:
        yield world


def gap_of(world: World, double: Double | None = None) -> ConnectionGap:
    gap = ConnectionGap(world.feed._context, 7)
    gap.double = double
    return gap


def recorded(world: World) -> list[Gap]:
    return [gap for gap in world.gaps.values() if "connection 7" in gap.reason]


def test_a_gap_grows_ahead_of_time_and_ends_when_the_connection_is_back(world):
    gap = gap_of(world)
    gap.open(1000, ["A", "B"])
    gap.open(5, ["C"])  # it has begun already
    gap.extend("cut", 2 * NS_PER_S, ["A", "B"])
    (row,) = recorded(world)
    assert row.from_ns == 1000 and row.symbols == ("A", "B") and row.to_ns > world.clock.now_ns() + NS_PER_S
    assert row.reason == "connection 7 with 2 symbols: cut"
    world.clock.wall_s += 100
    gap.close("connection was down")
    (row,) = recorded(world)
    assert world.clock.now_ns() - NS_PER_S < row.to_ns <= world.clock.now_ns() + DISORDER_NS
    gap.extend("late", 0, ["A"])
    assert len(recorded(world)) == 1 and not gap.down


def test_symbols_that_the_double_reads_are_in_no_gap(world):
    gap = gap_of(world, Double("A"))
    gap.open(1000, ["A", "B"])
    gap.extend("cut", 0, ["A", "B"])
    assert [row.symbols for row in recorded(world)] == [("B",)]
    whole = gap_of(world, Double("A", "B"))
    whole.open(2000, ["A", "B"])
    whole.extend("cut", 0, ["A", "B"])
    whole.close("back")
    assert len(recorded(world)) == 1


def test_a_symbol_that_the_double_takes_up_leaves_the_gap_then(world):
    double = Double()
    gap = gap_of(world, double)
    gap.open(1000, ["A", "B"])
    gap.extend("cut", 0, ["A", "B"])
    double.symbols = double.answers = {"A"}
    world.clock.wall_s += 10
    gap.extend("cut", 0, ["A", "B"])
    world.clock.wall_s += 10
    gap.extend("cut", 0, ["A", "B"])
    first, second = sorted(recorded(world), key=lambda row: row.from_ns)
    assert first.symbols == ("A", "B") and second.symbols == ("B",)
    assert second.from_ns <= first.to_ns < second.to_ns


def test_a_symbol_that_the_double_lets_go_is_in_the_gap_from_the_last_look_on(world):
    double = Double("A")
    gap = gap_of(world, double)
    gap.open(1000, ["A"])
    gap.extend("cut", 0, ["A"])
    looked_ns = world.clock.now_ns()
    assert not recorded(world)
    world.clock.wall_s += 10
    double.symbols = double.answers = set()
    gap.extend("cut", 0, ["A"])
    (row,) = recorded(world)
    assert row.symbols == ("A",) and looked_ns - 2 * DISORDER_NS < row.from_ns <= looked_ns


def test_a_symbol_in_the_gap_of_the_double_is_not_recorded_twice(world):
    double = Double()
    double.answers = {"A"}
    gap = gap_of(world, double)
    gap.open(1000, ["A", "B"])
    gap.extend("cut", 0, ["A", "B"])
    assert [row.symbols for row in recorded(world)] == [("B",)]
