"""Symbols that are acknowledged and never come: found, told once, a gap, and subscribed again, elsewhere if need be.

The watch is real, and so are Binance's facts; the market, the feeds and the clock are scripted.
"""

from __future__ import annotations

import dataclasses
import json
import logging
import random
from types import SimpleNamespace

import gevent
import numpy as np
import pytest
from gevent.event import Event
from pumpwatch_plugins.exchanges.binance import VENUES

from pumpwatch.catalogue import Catalogue
from pumpwatch.clock import NS_PER_S, FakeClock
from pumpwatch.errors import ServiceUnavailable
from pumpwatch.feeds.silent_symbols import FAILURES, PAUSE_S, SilentSymbolWatch
from pumpwatch.feeds.staleness import NEVER_TRADED, Staleness
from pumpwatch.model import IdKind, Instrument
from pumpwatch.records import Records
from pumpwatch.stats import Stats
from pumpwatch.venue import Venue
from tests.feeds.scripted import SteppedClock, VenueWorld, quick, until

FUTURES = VENUES[1]
DAY_S = 86_400


class ScriptedFeed:
    """A connection that stands, with what was asked of it."""

    double = None

    def __init__(self, number: int, symbols: set[str], now: float) -> None:
        self.number, self.symbols, self.granted = number, symbols, set(symbols)
        self.staleness = Staleness(FUTURES.stale_after_s)
        self.asked_again: list[str] = []
        self.left: list[float] = []
        self.stand(now)

    def stand(self, now: float) -> None:
        self.established_at_ns, self.traded_at_ns = int(now * NS_PER_S), 0
        self.staleness.resume(now)

    def without_trades(self, now: float) -> bool:
        return not self.traded_at_ns and self.staleness.silent_s(now) > NEVER_TRADED * self.staleness.stale_s

    def leave(self, reason: str) -> None:
        self.left.append(self.established_at_ns / NS_PER_S)
        self.staleness.record_false_alarm()

    def subscribe_again(self, symbol: str) -> None:
        self.asked_again.append(symbol)


class Market:
    """Symbols with a mean time between trades each. `reaches(symbol, feed)` says what comes through."""

    def __init__(self, mean_s: dict[str, float], connections: int = 1, volumes: bool = True, seed: int = 1,
                 venue: Venue = FUTURES) -> None:
        self.clock, self.stats, self.records, self.rng = FakeClock(), Stats(), Records(), random.Random(seed)
        self.mean_s = mean_s
        self.catalogue = Catalogue()
        for name, mean in mean_s.items():
            self.catalogue.add(("binance", "futures"), Instrument(
                symbol=name, base=name, quote="USDT", volume=500.0 * DAY_S / mean if volumes else 0.0))
        names = list(mean_s)
        self.feeds = [ScriptedFeed(number, set(names[number::connections]), self.now) for number in range(connections)]
        self.moved: list[str] = []
        self.reaches = lambda symbol, feed: True
        self.history = {name: [] for name in mean_s}
        self.heard = dict.fromkeys(mean_s, 0)
        self.lookups: list[tuple[float, str]] = []
        self.broken: set[str] = set()  # whose history cannot be had
        self.history_of = lambda symbol: self.history[symbol]
        self.meanwhile = lambda: None  # happens while a history is on its way
        self.slack_s = 1.0
        self._next_s = {name: self.now + self.rng.expovariate(1 / mean) for name, mean in mean_s.items()}
        context = SimpleNamespace(venue=venue, ws_url="wss://venue", clock=self.clock, stats=self.stats, ask=self._ask,
                                 record=self.records.extend, slack_ns=lambda: int(self.slack_s * NS_PER_S))
        self.watch = SilentSymbolWatch(context, self, self.catalogue, self._last_times, Event())

    @property
    def now(self) -> float:
        return self.clock.monotonic()

    def _last_times(self, instruments):
        return np.array([self.heard[self.catalogue.instruments[one].symbol] for one in instruments], np.int64)

    def _ask(self, request):
        symbol = request.params["symbol"]
        self.lookups.append((self.now, symbol))
        self.meanwhile()
        if symbol in self.broken:
            raise ServiceUnavailable("HTTP 503")
        return json.dumps([{"id": number, "price": "1", "qty": "1", "time": at_ns // 10**6, "isBuyerMaker": False}
                           for number, at_ns in enumerate(self.history_of(symbol)[-1000:])]).encode()

    def move(self, symbol: str) -> None:
        self.moved.append(symbol)

    def run(self, seconds: float) -> None:
        """Let time pass, a look at a time."""
        end = self.now + seconds
        while self.now < end:
            self.clock.advance(self.watch.look_s)
            for feed in self.feeds:
                for symbol in feed.symbols:
                    self._trade(symbol, feed)
                feed.staleness.look(self.now, feed.traded_at_ns)
                if feed.left and feed.left[-1] == feed.established_at_ns / NS_PER_S:
                    feed.stand(self.now)
            self.watch.examine([found for overdue in self.watch.looks() for found in overdue])

    def _trade(self, symbol: str, feed: ScriptedFeed) -> None:
        while self._next_s[symbol] <= self.now:
            at_ns = int(self._next_s[symbol] * NS_PER_S)
            self._next_s[symbol] += self.rng.expovariate(1 / self.mean_s[symbol])
            self.history[symbol].append(at_ns)
            if self.reaches(symbol, feed):
                self.heard[symbol] = feed.traded_at_ns = at_ns
                self.stats.add("trades_total", venue=FUTURES.name)

    def run_until(self, done, within_s: float) -> float:
        """Return after how many seconds it was true."""
        began = self.now
        while not done():
            assert self.now - began < within_s
            self.run(self.watch.look_s)
        return self.now - began

    def gap(self):
        """Return the one gap there is, as far as it has grown."""
        assert len({(gap.symbol, gap.from_ns) for gap in self.records.gaps}) == 1
        return max(self.records.gaps, key=lambda gap: gap.to_ns)


@pytest.mark.parametrize("volumes", [True, False], ids=["volumes", "no volumes"])
def test_a_venue_that_acknowledges_and_sends_nothing_is_noticed_within_two_minutes_and_logged_once(volumes, caplog):
    market = Market({f"S{i}": 0.5 * (i + 1) for i in range(30)}, connections=3, volumes=volumes)
    market.reaches = lambda symbol, feed: False
    market.run_until(lambda: all(feed.left for feed in market.feeds), 120.0)
    assert market.watch.silent == sorted(market.mean_s)
    market.run(4 * 3600)
    assert [line.count("subscribed and silent") for line in caplog.messages] == [1, 1, 1]
    assert all(len(feed.left) <= 14 for feed in market.feeds)  # each time twice as patient
    market.reaches = lambda symbol, feed: True
    market.run(60.0)
    assert market.watch.silent == []


def test_one_connection_that_never_had_a_trade_is_left_and_its_neighbours_stay():
    market = Market({f"S{i}": 1.0 for i in range(9)}, connections=3)
    market.reaches = lambda symbol, feed: feed.number != 1
    market.run_until(lambda: market.feeds[1].left, 120.0)
    market.run(600.0)
    assert not market.feeds[0].left and not market.feeds[2].left and not market.moved


def test_a_silent_symbol_whose_neighbours_trade_is_subscribed_again_then_elsewhere_and_its_gap_grows_until_it_trades(caplog):
    caplog.set_level(logging.INFO, "pumpwatch.feeds.silent_symbols")
    market = Market({"GONE": 1.0} | {f"S{i}": 2.0 for i in range(9)})
    (feed,) = market.feeds
    market.reaches = lambda symbol, feed: symbol != "GONE"
    assert market.run_until(lambda: feed.asked_again == ["GONE"], 120.0) > FUTURES.stale_after_s
    assert market.watch.silent == ["GONE"] and not market.moved and not feed.left
    assert market.gap().from_ns == feed.established_at_ns - NS_PER_S and market.gap().symbol == "GONE"
    assert FUTURES.stale_after_s <= market.run_until(lambda: market.moved == ["GONE"], 90.0)
    assert market.gap().to_ns > market.clock.now_ns()
    assert sum("subscribed and silent" in line for line in caplog.messages) == 1
    market.reaches = lambda symbol, feed: True
    market.run(30.0)
    assert market.watch.silent == [] and caplog.messages[-1].startswith("trades come again")
    assert next(at_ns for at_ns in market.history["GONE"] if at_ns >= market.heard["GONE"] - 30 * NS_PER_S) <= market.gap().to_ns
    grown = market.gap().to_ns
    market.run(600.0)
    assert market.gap().to_ns == grown and feed.asked_again == ["GONE"]
    assert [one.event for one in market.records.connection_events] == ["silent"]


def test_a_symbol_that_traded_and_then_comes_no_more_is_found_by_its_own_past_and_missed_since_its_last_trade():
    market = Market({f"S{i}": 2.0 for i in range(5)}, volumes=False)
    market.run(900.0)
    assert not market.lookups
    last_ns = market.heard["S3"]
    market.reaches = lambda symbol, feed: symbol != "S3"
    market.run_until(lambda: market.feeds[0].asked_again == ["S3"], 150.0)
    assert last_ns <= market.gap().from_ns <= last_ns + 10 * NS_PER_S


def test_without_volume_or_past_a_symbol_is_looked_up_after_ten_minutes():
    market = Market({"GONE": 5.0} | {f"S{i}": 2.0 for i in range(5)}, volumes=False)
    market.reaches = lambda symbol, feed: symbol != "GONE"
    assert market.run_until(lambda: market.feeds[0].asked_again, 620.0) >= 600


@pytest.mark.parametrize("seed", range(3))
def test_an_inactive_market_is_left_alone_and_its_history_is_requested_rarely(seed):
    market = Market({f"S{i}": 10 ** (i / 10) for i in range(40)}, connections=2, seed=seed)  # 1 s to 2 h apart
    hours = 6
    market.run(hours * 3600)
    assert not market.records.gaps and not market.moved and not any(feed.left or feed.asked_again for feed in market.feeds)
    assert len(market.lookups) < 20 * hours


def test_without_a_history_nothing_is_concluded_and_it_is_requested_once_a_minute(caplog):
    market = Market({f"S{i}": 1.0 for i in range(5)})
    market.reaches, market.broken = lambda symbol, feed: False, set(market.mean_s)
    market.run(3600.0)
    assert not market.feeds[0].left and market.watch.silent == []
    times = [at for at, _ in market.lookups]
    assert len(times) > FAILURES and min(np.diff(times[FAILURES - 1:])) >= PAUSE_S
    assert [line.count("cannot be checked") for line in caplog.messages] == [1]
    market.broken = set()
    market.run(2 * PAUSE_S)
    assert market.feeds[0].left


def test_one_history_that_cannot_be_had_hides_no_other_silence(caplog):
    market = Market({"BAD": 1.0, "GONE": 2.0} | {f"S{i}": 2.0 for i in range(5)})
    market.reaches, market.broken = lambda symbol, feed: symbol not in ("BAD", "GONE"), {"BAD"}
    market.run_until(lambda: market.watch.silent == ["GONE"], 180.0)
    market.run(3600.0)
    assert 0 < [symbol for _, symbol in market.lookups].count("BAD") < 10 and "cannot be checked" not in caplog.text


def test_a_connection_whose_other_symbols_are_only_inactive_is_not_left_for_one_silent_symbol():
    market = Market({"GONE": 1.0, "A": 15.0, "B": 15.0})
    market.run(600.0)
    market.reaches = lambda symbol, feed: symbol != "GONE"
    market.run_until(lambda: market.watch.silent == ["GONE"], 300.0)
    assert not market.feeds[0].left


def test_an_old_trade_sent_again_on_subscribing_is_not_a_recovery(caplog):
    market = Market({"GONE": 1.0} | {f"S{i}": 2.0 for i in range(5)})
    (feed,) = market.feeds
    market.reaches = lambda symbol, feed: symbol != "GONE"

    def sent_again(symbol: str) -> None:
        market.moved.append(symbol)
        market.heard[symbol] = market.history[symbol][-1]

    feed.subscribe_again = market.move = sent_again
    market.run(4 * 3600.0)
    assert market.watch.silent == ["GONE"] and 4 <= len(market.moved) <= 12
    assert [line.count("GONE") for line in caplog.messages] == [1] and market.gap().to_ns > market.clock.now_ns()


def test_a_silent_connection_has_one_gap_for_any_lag():
    market = Market({"A": 1.0, "B": 1.0})
    (feed,) = market.feeds
    market.reaches = lambda symbol, feed: False
    market.run_until(lambda: feed.left, 120.0)
    market.records.gaps.clear()
    stood = set()
    for step in range(200):
        market.slack_s = 1.0 + 0.01 * (step % 7)
        market.run(market.watch.look_s)
        stood.add(feed.established_at_ns)
    assert len({gap.from_ns for gap in market.records.gaps}) == len(stood) < 8
    assert all("connection 0" in gap.reason for gap in market.records.gaps)


@pytest.mark.parametrize("change", ["dropped", "refused", "reconnected", "traded"])
def test_a_symbol_that_changed_during_the_history_request_is_not_judged(change):
    market = Market({"GONE": 1.0, "B": 1.0})
    (feed,) = market.feeds
    market.reaches = lambda symbol, feed: symbol != "GONE"

    def meanwhile() -> None:
        if change == "dropped":
            feed.symbols.discard("GONE")
            feed.granted.discard("GONE")
        elif change == "refused":
            feed.granted.discard("GONE")
        elif change == "reconnected":
            feed.stand(market.now)
        else:
            market.heard["GONE"] = market.clock.now_ns()

    market.meanwhile = meanwhile
    market.run_until(lambda: market.lookups, 120.0)
    assert not feed.asked_again and not feed.left and not market.records.gaps and market.watch.silent == []


def test_a_silent_symbol_without_trade_ids_moves_to_another_connection_too():
    market = Market({"GONE": 1.0, "B": 1.0, "C": 1.0}, venue=dataclasses.replace(FUTURES, id_kind=IdKind.NONE))
    (feed,) = market.feeds
    market.reaches = lambda symbol, feed: symbol != "GONE"
    market.run_until(lambda: market.moved, 300.0)
    assert feed.asked_again == ["GONE"] and market.moved == ["GONE"] and not feed.left


def test_one_trade_that_never_came_proves_nothing():
    market = Market({"A": 1.0, "RARE": 7200.0}, volumes=False)
    market.reaches = lambda symbol, feed: symbol != "RARE"
    market.run(600.0)
    market.history["RARE"] = [market.clock.now_ns()]
    market._next_s["RARE"] = market.now + 10**6
    market.run(8 * 3600.0)
    assert any(symbol == "RARE" for _, symbol in market.lookups)
    assert not market.records.gaps and not market.feeds[0].asked_again


def test_delisted_symbols_are_forgotten():
    market = Market({"GONE": 1.0, "B": 1.0})
    market.reaches = lambda symbol, feed: symbol != "GONE"
    market.run_until(lambda: market.watch.silent == ["GONE"], 120.0)
    market.feeds[0].symbols.discard("GONE")
    market.feeds[0].granted.discard("GONE")
    market.run(10.0)
    assert market.watch.silent == []


# The same through real feeds.


def running_watch(meanwhile) -> tuple[Market, gevent.Greenlet]:
    """Return a market of which everything is undecided, and its watch, running."""
    market = Market({"A": 1.0, "B": 1.0})
    clock = market.watch._context.clock = SteppedClock()
    market.feeds[0].stand(clock.monotonic())
    market.watch.look_s, market.meanwhile = 0.001, meanwhile
    running = gevent.spawn(market.watch.run)
    until(lambda: len(market.watch._watched) == 2)
    clock.monotonic_s = FUTURES.stale_after_s
    until(lambda: market.lookups)
    return market, running


def test_while_a_history_hangs_the_looks_go_on():
    answer = Event()
    market, running = running_watch(answer.wait)
    looked_ns = market.watch._looked_at_ns
    until(lambda: market.watch._looked_at_ns > looked_ns)
    assert len(market.lookups) == 1
    answer.set()
    market.watch._context.clock.monotonic_s += 3600
    until(lambda: len(market.lookups) >= 2)
    running.kill()


def test_an_error_in_an_examination_ends_the_watch_so_that_it_is_logged_and_started_again():
    def fail() -> None:
        raise RuntimeError("a fault of ours")

    _, running = running_watch(fail)
    with pytest.raises(RuntimeError, match="a fault of ours"):
        running.get(timeout=10)


def requests(world: VenueWorld, symbol: str) -> list[tuple[str, int]]:
    """Return what was asked for a symbol, and on which connection."""
    said = [(json.loads(text), stream.fileno()) for stream in world.streams for text in stream.texts]
    return [(request["method"], number) for request, number in said if f"{symbol.lower()}@trade" in request["params"]]


def test_feeds_subscribe_again_move_and_leave():
    with VenueWorld(["A", "B", "C"], quick(), symbols_per_connection=2) as world:
        until(lambda: len(world.feeds.feeds) == 2 and all(feed.up for feed in world.feeds.feeds))
        home = next(feed for feed in world.feeds.feeds if len(feed.symbols) == 2)
        symbol = min(home.symbols)
        home.subscribe_again(symbol)
        until(lambda: len(requests(world, symbol)) == 3 and home.up)
        assert [method for method, _ in requests(world, symbol)] == ["SUBSCRIBE", "UNSUBSCRIBE", "SUBSCRIBE"]
        assert len({number for _, number in requests(world, symbol)}) == 1 and symbol in home.granted
        world.feeds.move(symbol)
        until(lambda: any(symbol in feed.granted for feed in world.feeds.feeds if feed is not home))
        until(lambda: symbol not in home.granted)
        home.leave("nothing comes")
        until(lambda: "down" in world.events and home.up)
        assert {gap.symbol for gap in world.gaps.values()} == {""}
        assert [one.reason for one in world.records.connection_events if one.event == "down"] == ["nothing comes"]


def test_a_venue_whose_requests_name_everything_is_asked_for_all_of_it_again():
    with VenueWorld(["A", "B"], quick(replaces=True)) as world:
        until(lambda: world.feeds.feeds and world.feeds.feeds[0].up)
        world.feeds.feeds[0].subscribe_again("A")
        until(lambda: len(requests(world, "A")) == 2 and world.feeds.feeds[0].up)
        assert requests(world, "B") == requests(world, "A") and world.feeds.feeds[0].granted == {"A", "B"}
