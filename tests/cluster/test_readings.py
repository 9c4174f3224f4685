"""The reader is told what to read and since when, and the others are never told too much."""

from __future__ import annotations

import pytest

from pumpwatch.clock import NS_PER_S, FakeClock
from pumpwatch.cluster.readings import Readings
from pumpwatch.cluster.redis_time import RedisTime
from pumpwatch.cluster.shards import Shard

S = 1_000_000
NOW = 1_900_000_000 * S
SHARD = Shard("one.spot", 0)


class Reader:
    """Delivers what the test says."""

    def __init__(self, clock: FakeClock) -> None:
        self.clock = clock
        self.calls: list[tuple[object, ...]] = []
        self.delivering: set[Shard] = set()

    def read(self, shard: Shard, since_ns: int, beside: bool) -> None:
        self.calls.append(("read", since_ns, beside))

    def delivers(self, shard: Shard) -> bool:
        return shard in self.delivering

    def leave(self, shard: Shard) -> None:
        self.calls.append(("leave",))

    def read_until_ns(self, shard: Shard) -> int:
        return self.clock.now_ns() - NS_PER_S


@pytest.fixture
def clock() -> FakeClock:
    return FakeClock()


@pytest.fixture
def reader(clock: FakeClock) -> Reader:
    return Reader(clock)


@pytest.fixture
def readings(clock: FakeClock, reader: Reader) -> Readings:
    time = RedisTime(clock)
    time.learn(clock.monotonic(), NOW)
    return Readings(reader, clock, time)


def test_nothing_is_durable_of_a_shard_that_does_not_deliver(clock: FakeClock, reader: Reader, readings: Readings) -> None:
    readings.begin(SHARD, NOW - 4 * S)
    readings.refresh()
    assert reader.calls == [("read", clock.now_ns() - 4 * NS_PER_S, False)]
    assert (readings.read_until_us(SHARD), readings.delivers_since_us(SHARD)) == (0, 0)
    reader.delivering.add(SHARD)
    readings.refresh()
    clock.advance(2.0)
    readings.refresh()
    assert (readings.read_until_us(SHARD), readings.delivers_since_us(SHARD)) == (NOW + S, NOW)
    readings.doubt(SHARD)
    readings.refresh()
    assert readings.delivers_since_us(SHARD) == NOW + 2 * S


def test_a_hand_over_leaves_nothing_unread(reader: Reader, readings: Readings) -> None:
    readings.begin_beside(SHARD)
    readings.begin_beside(SHARD)
    reader.delivering.add(SHARD)
    readings.refresh()
    readings.handed_over(SHARD)
    readings.begin(SHARD, 0)  # an emptied Redis does not know any more that it is read here
    readings.leave(SHARD)
    assert reader.calls == [("read", 0, True), ("leave",)]
    assert SHARD not in readings


@pytest.mark.parametrize(("read_until_us", "told"), [(NOW - S, True), (NOW + S, False), (0, True)])
def test_a_reader_that_dies_during_a_hand_over_leaves_a_hole_unless_it_had_enough(
        clock: FakeClock, reader: Reader, readings: Readings, read_until_us: int, told: bool) -> None:
    readings.begin_beside(SHARD)
    reader.delivering.add(SHARD)
    readings.refresh()
    clock.advance(3.0)
    readings.begin(SHARD, read_until_us)
    since_ns = clock.now_ns() - 4 * NS_PER_S if read_until_us else 0
    assert reader.calls[1:] == ([("read", since_ns, False)] if told else [])
