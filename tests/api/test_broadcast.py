"""Every watcher gets each value once, whoever they are, and the work does not grow with them."""

from __future__ import annotations

from typing import Any

import gevent
import msgspec
import pytest

from pumpwatch.api.broadcast import HEARTBEAT_S, Broadcast, TooManyWatchers, Topic
from pumpwatch.clock import FakeClock


class Value:
    """A value that a test changes; counts how often it was read."""

    def __init__(self, value: Any) -> None:
        self.value, self.reads = value, 0

    def __call__(self) -> Any:
        self.reads += 1
        return self.value


class Bench:
    """A broadcast of two quick topics, one that is read rarely, one that may wait, and one for beginners."""

    def __init__(self, most: int = 8) -> None:
        self.clock = FakeClock()
        self.figures, self.log, self.coins, self.listings = Value(1), Value([]), Value(["A"]), Value([])
        self.ticks = 0
        self.broadcast = Broadcast(self.clock, self._tick, [
            Topic("history", Value([0, 1]), first=True), Topic("figures", self.figures), Topic("log", self.log),
            Topic("coins", self.coins, every_s=5), Topic("listings", self.listings, waits=True)], most)

    def _tick(self) -> None:
        self.ticks += 1

    def publish(self, waits: bool = False) -> None:
        self.broadcast._publish(waits)
        self.clock.advance(1.0)


def events(sent: bytes) -> list[tuple[str, Any]]:
    """Return (topic, value) of each event, as a browser reads them."""
    found = []
    for block in sent.decode().split("\n\n"):
        lines = dict(line.split(": ", 1) for line in block.splitlines() if not line.startswith(":"))
        if "event" in lines:
            found.append((lines["event"], msgspec.json.decode(lines["data"])))
    return found


def last_id(sent: bytes) -> str:
    return [line.removeprefix("id: ") for line in sent.decode().splitlines() if line.startswith("id: ")][-1]


def test_a_watcher_gets_everything_at_first_and_then_what_has_changed() -> None:
    bench = Bench()
    watch = bench.broadcast.watch()
    beginning = next(watch)
    assert beginning.startswith(b"retry: ") and events(beginning) == [("history", [0, 1])]
    bench.publish()
    assert events(next(watch)) == [("figures", 1), ("log", []), ("coins", ["A"])]
    bench.figures.value = 2
    bench.publish()
    assert events(next(watch)) == [("figures", 2)]


def test_a_slow_watcher_skips_the_values_between() -> None:
    bench = Bench()
    watch = bench.broadcast.watch()
    next(watch)
    for value in range(2, 6):
        bench.figures.value = value
        bench.publish()
    assert [value for name, value in events(next(watch)) if name == "figures"] == [5]


def test_each_value_is_read_and_encoded_once_for_all_watchers() -> None:
    bench = Bench()
    watches = [bench.broadcast.watch() for _ in range(8)]
    for watch in watches:
        next(watch)
    bench.publish()
    sent = [next(watch) for watch in watches]
    assert bench.figures.reads == 1
    assert all(one is sent[0] for one in sent)  # the same bytes, not equal ones


def test_nothing_is_read_while_nobody_watches_and_nothing_old_is_sent_after_that() -> None:
    bench = Bench()
    bench.publish()
    assert bench.figures.reads == 0
    watch = bench.broadcast.watch()
    next(watch)
    bench.publish()
    watch.close()
    bench.clock.advance(3600)
    later = bench.broadcast.watch()
    next(later)
    assert bench.broadcast.since(0) == (1, b"")
    bench.figures.value = 9
    bench.publish()
    assert ("figures", 9) in events(next(later))


def test_a_topic_is_read_as_often_as_it_says() -> None:
    bench = Bench()
    bench.broadcast.watch()
    for _ in range(10):
        bench.publish()
    assert (bench.figures.reads, bench.coins.reads) == (10, 2)


def test_a_topic_that_waits_holds_up_no_other() -> None:
    bench = Bench()
    watch = bench.broadcast.watch()
    next(watch)
    bench.publish()
    assert bench.listings.reads == 0
    bench.publish(waits=True)
    assert ("listings", []) in events(next(watch))


def test_a_browser_that_comes_back_gets_what_it_missed() -> None:
    bench = Bench()
    other = bench.broadcast.watch()
    watch = bench.broadcast.watch()
    next(watch)
    bench.publish()
    seen = last_id(next(watch))
    watch.close()
    bench.figures.value = 2
    bench.publish()
    again = bench.broadcast.watch(seen)
    assert events(next(again)) == [("history", [0, 1])]  # the line has a hole otherwise
    assert events(next(again)) == [("figures", 2)]
    other.close()


@pytest.mark.parametrize("claimed", ["other-3", "", "-", "x-" + "9" * 40, "\u0663-\u0663"])
def test_an_id_of_another_process_or_of_nobody_is_a_beginning(claimed: str) -> None:
    bench = Bench()
    watch = bench.broadcast.watch(claimed)
    next(watch)
    bench.publish()
    assert len(events(next(watch))) == 3


def test_an_id_from_the_future_hides_nothing() -> None:
    bench = Bench()
    first = bench.broadcast.watch()
    next(first)
    bench.publish()
    token = last_id(next(first)).partition("-")[0]
    watch = bench.broadcast.watch(f"{token}-99999")
    next(watch)
    bench.figures.value = 2
    bench.publish()
    assert events(next(watch)) == [("figures", 2)]


def test_watchers_are_limited_and_one_that_leaves_makes_room() -> None:
    bench = Bench(most=2)
    first, _ = bench.broadcast.watch(), bench.broadcast.watch()
    with pytest.raises(TooManyWatchers):
        bench.broadcast.watch()
    first.close()
    assert bench.broadcast.watchers == 1
    bench.broadcast.watch()


def test_a_comment_keeps_a_quiet_connection_open() -> None:
    bench = Bench()
    waited: list[float] = []
    bench.broadcast.wait = waited.append  # type: ignore[method-assign]
    watch = bench.broadcast.watch()
    next(watch)
    assert next(watch) == b": still here\n\n" and waited == [HEARTBEAT_S]


def test_it_ticks_each_second_and_ends_every_watch() -> None:
    bench = Bench()
    watch = bench.broadcast.watch()
    next(watch)
    running = gevent.spawn(bench.broadcast.run)
    with gevent.Timeout(20):
        assert ("figures", 1) in events(next(watch))
        assert bench.ticks == 1
        waiting = gevent.spawn(lambda: list(watch))
        gevent.sleep(0)
        bench.broadcast.stop()
        waiting.join()
        running.join()
    assert waiting.value == [] and running.successful()
