"""The feeds of a collector as the coordinator sees them: what is read, and up to when it is durable."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import pytest

from pumpwatch.app.shard_feeds import READ_WITHIN_S, SINK_BEHIND_S, ShardFeeds
from pumpwatch.clock import NS_PER_MS, NS_PER_S, FakeClock
from pumpwatch.cluster.shards import Shard
from pumpwatch.config import Config
from pumpwatch.slicing import slice_of
from pumpwatch.stats import Stats
from tests.trades import batch_of

NOW_NS = 1_700_000_000 * NS_PER_S
VENUE, COUNT = "one.spot", 4
SHARD = Shard(VENUE, slice_of("A", COUNT))


class Feeds:
    """One venue's feeds, with a script of what is granted and heard."""

    def __init__(self) -> None:
        self.venue = SimpleNamespace(name=VENUE)
        self.calls: list[tuple[Any, ...]] = []
        self.since_ns, self.heard_ns = math.inf, NOW_NS
        self.slice_reader = SimpleNamespace(read_since=lambda number: self.since_ns, heard_at_ns=lambda number: self.heard_ns)

    def read_slice(self, *what: int, beside: bool) -> None:
        self.calls.append(("read", *what, beside))

    def leave_slice(self, number: int) -> None:
        self.calls.append(("leave", number))

    def delivers_slice(self, number: int) -> bool:
        return self.since_ns < math.inf


@pytest.fixture
def collector() -> Any:
    return SimpleNamespace(config=Config(), clock=FakeClock(NOW_NS), stats=Stats(), venues=[Feeds()], drains={},
                           committer=SimpleNamespace(oldest_waiting_ns=0),
                           ingest=SimpleNamespace(oldest_waiting_ns=lambda venue: 0))


def age_s(collector: Any, feeds: ShardFeeds) -> float:
    return (NOW_NS - feeds.read_until_ns(SHARD)) / NS_PER_S


def test_a_shard_is_the_slice_of_its_venue_and_unknown_venues_are_ignored(collector):
    feeds = ShardFeeds(collector)
    feeds.read(SHARD, 5, False)
    feeds.read(SHARD, 0, True)
    feeds.leave(SHARD)
    feeds.read(Shard("other.spot", 0), 0, True)
    number = SHARD.number
    assert collector.venues[0].calls == [("read", number, 5, False), ("read", number, 0, True), ("leave", number)]
    assert not feeds.delivers(SHARD) and not feeds.delivers(Shard("other.spot", 0))


def test_the_times_in_which_a_slice_was_read_are_known(collector):
    feeds, clock = ShardFeeds(collector), collector.clock
    assert feeds.spans(VENUE, "A") == ()
    collector.venues[0].since_ns = NOW_NS - 3 * NS_PER_S
    assert feeds.delivers(SHARD) and feeds.delivers(SHARD)
    clock.advance(5)
    assert feeds.spans(VENUE, "A") == ((NOW_NS - 3 * NS_PER_S, NOW_NS + 5 * NS_PER_S),)
    feeds.leave(SHARD)
    clock.advance(5)
    assert feeds.spans(VENUE, "A") == ((NOW_NS - 3 * NS_PER_S, NOW_NS + 5 * NS_PER_S),)


def test_what_waits_for_the_disk_was_late_or_may_not_have_come_is_not_durable(collector):
    feeds = ShardFeeds(collector)
    assert 0 < age_s(collector, feeds) < 1
    collector.stats.set("lag_ms", -2000.0, venue=VENUE)
    assert 2 < age_s(collector, feeds) < 3
    collector.venues[0].heard_ns = NOW_NS - 7 * NS_PER_S
    assert age_s(collector, feeds) == 9
    collector.committer.oldest_waiting_ns = NOW_NS - 20 * NS_PER_S
    assert age_s(collector, feeds) == 22
    collector.ingest.oldest_waiting_ns = {VENUE: NOW_NS - 25 * NS_PER_S}.__getitem__  # frames pile up
    assert age_s(collector, feeds) == 27
    collector.venues[0].heard_ns = 0  # a connection is down
    assert feeds.read_until_ns(SHARD) == 0


def test_a_sink_that_keeps_up_is_where_trades_are_durable_and_one_that_is_away_does_not_count(collector):
    feeds, drain = ShardFeeds(collector), SimpleNamespace(cursor=1, state="up")
    collector.drains["store"] = drain
    for batch_id, seconds in ((1, 9), (2, 5), (3, 2)):
        start_ns = NOW_NS - seconds * NS_PER_S
        batch = batch_of(1, start_ns=start_ns)
        feeds.durable(batch_id, batch)
    received_ns = int(batch.received_at.min()) - start_ns  # after its own time
    assert age_s(collector, feeds) == pytest.approx(5 - received_ns / NS_PER_S)
    drain.cursor = 3
    assert age_s(collector, feeds) < 1
    feeds.durable(4, batch_of(1, start_ns=NOW_NS - int((SINK_BEHIND_S + 5) * NS_PER_S)))
    assert age_s(collector, feeds) < 1  # it lags too far behind
    feeds.durable(5, batch_of(1, start_ns=NOW_NS - 5 * NS_PER_S))
    drain.state = "down"
    assert age_s(collector, feeds) < 1


def test_at_the_end_of_reading_everything_stays_as_it_was_then(collector):
    feeds = ShardFeeds(collector)
    collector.venues[0].since_ns = NOW_NS - 9 * NS_PER_S
    assert feeds.delivers(SHARD)
    before_ns = feeds.read_until_ns(SHARD)
    feeds.end_reading()
    collector.venues[0].since_ns, collector.venues[0].heard_ns = math.inf, 0  # its connections are closed
    collector.clock.advance(3)
    assert feeds.delivers(SHARD) and feeds.read_until_ns(SHARD) == before_ns
    collector.committer.oldest_waiting_ns = before_ns - 50 * NS_PER_MS
    assert feeds.read_until_ns(SHARD) == before_ns - 50 * NS_PER_MS


def test_what_arrives_after_the_process_stood_still_may_be_as_old_as_that(collector):
    feeds, clock = ShardFeeds(collector), collector.clock
    longest_ns = int(READ_WITHIN_S * NS_PER_S)
    for _ in range(3):
        clock.advance(1.0)
        collector.venues[0].heard_ns = clock.now_ns()
        assert feeds.read_until_ns(SHARD) == clock.now_ns() - longest_ns
    before_ns = clock.now_ns() - longest_ns
    clock.advance(4.0)
    collector.venues[0].heard_ns = clock.now_ns()
    for _ in range(2):  # of several shards
        assert feeds.read_until_ns(SHARD) == before_ns
    woke_ns = clock.now_ns()
    clock.advance(1.0)
    collector.venues[0].heard_ns = clock.now_ns()
    assert feeds.read_until_ns(SHARD) == clock.now_ns() - longest_ns
    collector.ingest.oldest_waiting_ns = lambda venue: woke_ns
    assert feeds.read_until_ns(SHARD) == before_ns, "what came then waits for the parser still"
