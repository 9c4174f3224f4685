"""A connection kept alive, against a scripted venue: what is renewed, what is given up, and what the ledger hears of it."""

from __future__ import annotations

import dataclasses

import gevent
import numpy as np
import pytest

from pumpwatch.clock import NS_PER_S
from pumpwatch.feeds.feed import DISORDER_NS
from pumpwatch.model import Control, ControlKind, Heartbeat, IdKind, Session
from tests.feeds.scripted import World, quick, until

RECONNECT = Control(ControlKind.RECONNECT, reason="serverShutdown")
EARLIER_NS = 1_700_000_000 * NS_PER_S


def beating(interval_s: float, **facts: object):
    return quick(heartbeat=Heartbeat(interval_s=interval_s, text=lambda now_ns: "PING"), **facts)


def test_everything_is_subscribed_and_a_first_connection_leaves_no_gap():
    with World(symbols=["A", "B", "C"]) as world:
        world.wait_up()
        assert world.feed.granted == {"A", "B", "C"} and world.events == ["up"] and not world.gaps


def test_a_cut_connection_comes_back_and_the_gap_reaches_from_the_last_data_to_the_grant():
    with World() as world:
        world.wait_up()
        world.ping()
        until(lambda: world.connections[0].bytes_read)
        last_ns = world.connections[0].received_at_ns
        world.streams[0].ended = True
        until(lambda: world.events == ["up", "down", "up"])
        granted_ns = world.records.connection_events[-1].at_ns
        (gap,) = world.gaps.values()
        assert gap.from_ns == last_ns - DISORDER_NS and gap.to_ns >= granted_ns + DISORDER_NS
        assert (gap.exchange, gap.market_type, gap.symbol) == ("binance", "spot", "")


def test_the_run_before_is_missed_until_the_connection_stands():
    with World(down_since_ns=EARLIER_NS) as world:
        world.wait_up()
        assert list(world.gaps) == [EARLIER_NS - DISORDER_NS]


def test_where_a_venue_lags_a_gap_is_wider():
    with World() as world:
        world.wait_up()
        world.buffer.lag.record(np.array([7_000_000_000]))
        last_ns = world.connections[0].received_at_ns
        world.streams[0].ended = True
        until(lambda: world.events == ["up", "down", "up"])
        assert list(world.gaps) == [last_ns - 8 * NS_PER_S]  # the lag, and the disorder of trades
        assert world.gaps[last_ns - 8 * NS_PER_S].to_ns >= world.records.connection_events[-1].at_ns + 8 * NS_PER_S


def test_while_a_connection_is_down_its_gap_reaches_past_now_and_a_stop_ends_it():
    with World() as world:
        world.wait_up()
        world.failing = True
        world.streams[0].ended = True
        until(lambda: "refused" in world.events)
        world.clock.wall_s += 3600  # an outage of an hour
        count = len(world.records.gaps)
        until(lambda: len(world.records.gaps) > count)
        assert max(gap.to_ns for gap in world.gaps.values()) > world.clock.now_ns()
        world.clock.wall_s += 3600
        stopped_ns = world.clock.now_ns()
        world.feed.stop()
        (gap,) = world.gaps.values()  # written before `stop` returns
        assert gap.to_ns >= stopped_ns + DISORDER_NS


def test_refused_connections_are_said_once_and_tried_again():
    with World(down_since_ns=EARLIER_NS) as world:
        world.failing = True
        until(lambda: world.stats.total("connect_failures_total") >= 2)
        world.failing = False
        world.wait_up()
        assert world.events == ["refused", "up"]


def test_a_connection_that_answers_pings_and_trades_no_more_is_given_up_and_its_gap_begins_with_the_last_trade():
    with World(quick(stale_after_s=0.6)) as world:
        world.wait_up()
        world.trade_often(25)
        traded_ns = world.connections[0].source.traded_at_ns
        with gevent.Timeout(20):
            while "down" not in world.events:
                world.ping()
                gevent.sleep(0.02)
        assert "no trade for" in world.records.connection_events[-1].reason
        assert list(world.gaps) == [traded_ns - DISORDER_NS]


def test_a_connection_of_which_too_little_is_known_may_be_quiet():
    with World(quick(stale_after_s=0.3)) as world:
        world.wait_up()
        world.trade_often(3)
        for _ in range(60):
            world.ping()
            gevent.sleep(0.02)
        assert world.events == ["up"]


def test_no_bytes_at_all_is_silence_whatever_the_wall_clock_says():
    with World(quick(stale_after_s=30.0)) as world:
        world.wait_up()
        world.clock.wall_s += 3600
        world.feed.change(["C"], [])  # which makes it look
        until(lambda: world.feed.granted == {"A", "B", "C"})
        gevent.sleep(0.1)
        assert world.events == ["up"]
        world.clock.monotonic_s += 31
        until(lambda: world.events == ["up", "down", "up"])
        assert world.records.connection_events[1].reason.startswith("silent for")


def test_a_connection_is_renewed_with_no_gap_when_it_is_old():
    limits = dataclasses.replace(quick().limits, connection_age_s=0.3)
    with World(quick(limits=limits, stale_after_s=60.0)) as world:
        world.wait_up()
        world.overlap()
        until(lambda: world.events.count("renewed") == 1)
        world.overlap()
        until(lambda: world.events.count("renewed") == 2)
        assert not world.gaps and not world.stats.total("disconnects_total") and world.events[:3] == ["up", "renewed", "renewed"]


@pytest.mark.parametrize("kind", list(IdKind))
def test_asked_to_reconnect_both_are_read_until_the_successor_delivers_and_the_old_one_to_its_end(kind):
    with World(quick(id_kind=kind)) as world:
        world.wait_up()
        world.answering = False
        world.say(RECONNECT)
        until(lambda: len(world.streams) == 2 and world.streams[1].texts)
        assert not world.streams[0].closed and world.events == ["up"]
        world.answering = True
        until(lambda: world.feed._successor.stood_at_ns)
        gevent.sleep(0.1)
        assert not world.streams[0].closed and world.events == ["up"]  # granted, and no trade so far
        world.clock.monotonic_s += 2.5
        gevent.sleep(0.5)
        assert not world.streams[0].closed
        old = world.connections[0]
        world.trade()
        until(lambda: world.events == ["up", "renewed"])
        assert world.streams[0].closed and not world.streams[1].closed and not world.gaps and world.drained == [old]
        assert world.records.connection_events[-1].reason == "serverShutdown"


@pytest.mark.parametrize("speaks", [True, False])
def test_an_old_connection_that_answers_no_ping_is_read_until_it_has_said_something_later_or_is_dead(speaks):
    with World(quick(stale_after_s=40.0)) as world:
        world.wait_up()
        world.streams[0].answers_pings = False
        world.say(RECONNECT)
        until(lambda: world.feed._successor and world.feed._successor.stood_at_ns)
        for _ in range(2):
            world.streams[1].incoming += b"\x89\x00"
            world.connections[1].source.receive_trades(world.clock.now_ns())
            world.clock.monotonic_s += 16
            world.clock.wall_s += 16
            gevent.sleep(0.5)
        assert world.events == ["up"]
        world.streams[speaks is False].incoming += b"\x89\x00"
        world.clock.monotonic_s += 0 if speaks else 16
        until(lambda: world.events == ["up", "renewed"])
        assert len(world.gaps) == (not speaks)


@pytest.mark.parametrize("payload", [b"", b"7", b"1700000000000"])
def test_a_pong_that_answers_no_ping_of_ours_does_not_prove_that_the_old_connection_was_read_to_its_end(payload):
    with World() as world:
        world.wait_up()
        world.streams[0].answers_pings = False
        world.say(RECONNECT)
        until(lambda: world.feed._successor and world.feed._successor.stood_at_ns)
        until(lambda: world.streams[0].pings)
        world.streams[0].incoming += 3 * (bytes([0x8A, len(payload)]) + payload)
        world.overlap()
        gevent.sleep(0.5)
        assert world.events == ["up"] and not world.streams[0].closed


def test_where_nothing_trades_a_successor_takes_over_after_a_while():
    with World() as world:
        world.wait_up()
        world.say(RECONNECT)
        until(lambda: world.feed._successor and world.feed._successor.stood_at_ns)
        world.clock.monotonic_s += 10
        gevent.sleep(0.5)
        assert world.events == ["up"]
        world.clock.monotonic_s += 6
        until(lambda: world.events == ["up", "renewed"])
        assert not world.gaps


def test_where_a_venue_lags_both_are_read_for_longer():
    with World() as world:
        world.wait_up()
        world.buffer.lag.record(np.array([7_000_000_000]))
        world.say(RECONNECT)
        world.overlap()
        world.clock.monotonic_s += 10
        gevent.sleep(0.5)
        assert world.events == ["up"]
        world.clock.monotonic_s += 2
        until(lambda: world.events == ["up", "renewed"])


def test_a_successor_that_is_silent_while_the_old_connection_trades_does_not_take_over():
    with World(quick(stale_after_s=600.0)) as world:
        world.wait_up()
        world.say(RECONNECT)
        until(lambda: world.feed._successor and world.feed._successor.stood_at_ns)
        world.clock.wall_s += 10
        world.connections[0].source.receive_trades(world.clock.now_ns())
        world.clock.monotonic_s += 16
        until(lambda: world.stats.total("renewal_failures_total") == 1)
        assert world.streams[1].closed and not world.streams[0].closed and world.feed.up and not world.gaps


@pytest.mark.parametrize(("stood_s", "gaps"), [(3.0, 0), (0.0, 1)])
def test_an_old_connection_that_the_venue_cuts_in_the_overlap_leaves_a_gap_only_where_the_successor_had_just_come(stood_s, gaps):
    with World() as world:
        world.wait_up()
        world.say(RECONNECT)
        until(lambda: world.feed._successor and world.feed._successor.stood_at_ns)
        stood_ns = world.feed._successor.stood_at_ns
        world.clock.wall_s += stood_s
        read = world.connections[0].bytes_read
        world.ping()
        until(lambda: not world.connections or world.connections[0].bytes_read > read)
        world.streams[0].ended = True
        until(lambda: world.events == ["up", "renewed"])
        assert "the old connection went first: cut" in world.records.connection_events[-1].reason
        assert len(world.gaps) == gaps and not world.stats.total("disconnects_total") and world.feed.up
        for gap in world.gaps.values():
            assert gap.from_ns < stood_ns < gap.to_ns and gap.symbols == ("A", "B")


def test_a_successor_that_dies_in_the_overlap_leaves_the_old_connection_alone():
    with World() as world:
        world.wait_up()
        world.say(RECONNECT)
        until(lambda: world.feed._successor and world.feed._successor.stood_at_ns)
        world.streams[1].ended = True
        until(lambda: world.streams[1].closed)
        assert world.feed.up and world.events == ["up"] and not world.gaps
        until(lambda: len(world.streams) == 3)
        world.overlap()
        until(lambda: world.events == ["up", "renewed"])


def test_a_successor_that_dies_leaves_the_old_connection_alone_and_another_follows():
    with World() as world:
        world.wait_up()
        world.answering = False
        world.say(RECONNECT)
        until(lambda: len(world.streams) == 2 and world.streams[1].texts)
        world.streams[1].ended = True
        until(lambda: world.streams[1].closed)
        assert world.feed.up and world.events == ["up"]
        world.answering = True
        until(lambda: len(world.streams) == 3)
        world.overlap()
        until(lambda: world.events == ["up", "renewed"])
        assert len(world.streams) == 3 and not world.gaps
        assert world.stats.total("renewal_failures_total") == 1


def test_a_renewal_that_cannot_connect_is_tried_again():
    with World() as world:
        world.wait_up()
        world.failing = True
        world.say(RECONNECT)
        until(lambda: world.stats.total("renewal_failures_total"))
        world.failing = False
        world.overlap()
        until(lambda: world.events == ["up", "renewed"])
        assert not world.gaps


def test_the_old_connection_dies_while_its_successor_is_opened_and_that_is_a_gap():
    with World() as world:
        world.wait_up()
        last_ns = world.connections[0].received_at_ns
        world.answering = False
        world.say(RECONNECT)
        until(lambda: len(world.streams) == 2 and world.streams[1].texts)
        world.streams[0].ended = True
        until(lambda: world.events == ["up", "down"])
        world.answering = True
        until(lambda: world.events == ["up", "down", "up"])
        assert len(world.streams) == 2  # the successor took over
        (gap,) = world.gaps.values()
        assert gap.from_ns == last_ns - DISORDER_NS and gap.to_ns >= world.records.connection_events[-1].at_ns


def test_during_a_renewal_the_old_connection_has_its_heartbeats_and_newcomers_go_to_both():
    with World(beating(0.1)) as world:
        world.wait_up()
        world.answering = False
        world.say(RECONNECT)
        until(lambda: len(world.streams) == 2 and world.streams[1].texts)
        before = world.streams[0].texts.count("PING")
        until(lambda: world.streams[0].texts.count("PING") >= before + 3)
        world.feed.change(["C"], ["A"])
        world.answering = True
        world.overlap()
        gevent.sleep(0.3)
        assert world.events == ["up"]  # it may still bring what was sent before the successor came
        for _ in range(world.streams[0].texts.count("PING")):
            world.say(Control(ControlKind.PONG), 0)
        until(lambda: world.events == ["up", "renewed"] and world.feed.granted == {"B", "C"})


def test_the_gap_of_a_connection_names_the_symbols_that_it_had():
    with World() as world:
        world.wait_up()
        world.failing = True
        world.streams[0].ended = True
        until(lambda: "refused" in world.events)
        world.feed.change(["C"], ["A"])
        world.failing = False
        world.wait_up()
        assert {gap.symbols for gap in world.records.gaps} == {("A", "B")} and len(world.gaps) == 1


@pytest.mark.parametrize("how", ["refused", "refused symbols", "slow"])
def test_a_first_connection_that_does_not_come_about_is_a_gap_from_the_beginning(how):
    with World(began_ns=EARLIER_NS) as world:
        world.failing = how == "refused"
        world.refuses = lambda symbol: how == "refused symbols"
        world.answering = how != "slow"
        if how == "slow":
            until(lambda: world.streams and world.streams[0].texts)
            assert not world.gaps and world.feed.trouble == ""
            world.clock.monotonic_s += 31
        until(lambda: world.gaps and world.feed.trouble)
        world.clock.monotonic_s += 20
        assert list(world.gaps) == [EARLIER_NS] and world.gaps[EARLIER_NS].symbols == ("A", "B")
        assert world.feed.down_s(world.clock.monotonic()) > 20
        world.failing, world.answering, world.refuses = False, True, lambda symbol: False
        world.wait_up()
        assert world.gaps[EARLIER_NS].to_ns > world.records.connection_events[-1].at_ns
        assert world.feed.trouble == "" and world.feed.down_s(world.clock.monotonic()) == 0
        world.streams[-1].ended = True
        until(lambda: len(world.gaps) == 2)
        world.wait_up()
        assert len(world.gaps) == 2  # what comes later is another gap


def test_an_address_that_a_session_names_is_dialed_as_one_that_someone_else_wrote():
    session = Session(request=None, url=lambda body, url, connection: "ws://127.0.0.1:9000/exec", welcome=True)
    for venue, dialed in ((quick(session=session), ("ws://127.0.0.1:9000/exec", "ws://venue")), (quick(), ("ws://venue", ""))):
        with World(venue) as world:
            until(lambda: world.dialed)
        assert world.dialed[0] == dialed


def test_nothing_is_sent_before_the_welcome():
    session = Session(request=None, url=lambda body, url, connection: url, welcome=True)
    with World(beating(0.05, session=session)) as world:
        until(lambda: world.connections)
        gevent.sleep(0.2)
        assert not world.streams[0].texts
        world.say(Control(ControlKind.WELCOME))
        until(lambda: world.feed.up and "PING" in world.streams[0].texts)


def test_a_heartbeat_is_not_kept_waiting_by_requests_and_a_stop_neither():
    limits = dataclasses.replace(quick().limits, symbols_per_message=1, messages_per_second=3)
    with World(beating(0.1, limits=limits), symbols=[f"S{i}" for i in range(500)]) as world:
        until(lambda: world.connections)
        until(lambda: world.streams[0].texts.count("PING") >= 3)
        assert world.feed.up is False
    assert len(world.streams[0].texts) < 100  # stopped long before all were asked


def test_requests_keep_the_hourly_limit():
    limits = dataclasses.replace(quick().limits, symbols_per_message=10, subscriptions_per_hour=100)
    with World(quick(limits=limits), symbols=[f"S{i:03}" for i in range(100)]) as world:
        until(lambda: world.streams and len(world.streams[0].texts) == 8)
        gevent.sleep(0.1)
        assert len(world.streams[0].texts) == 8


def test_where_everything_is_refused_the_connection_fails_and_no_symbol_is_left_out():
    with World(symbols=[f"S{i}" for i in range(9)]) as world:
        world.refuses = lambda symbol: True
        until(lambda: world.events.count("down") >= 2)
        assert not world.refused and "every symbol was refused" in world.records.connection_events[0].reason
        world.refuses = lambda symbol: False
        world.wait_up()
        assert len(world.feed.granted) == 9


def test_a_whole_message_of_bad_symbols_is_left_out_at_the_second_try():
    limits = dataclasses.replace(quick().limits, symbols_per_message=3)
    bad = {"S3", "S4", "S5"}
    with World(quick(limits=limits), symbols=[f"S{i}" for i in range(6)]) as world:
        world.refuses = lambda symbol: symbol in bad
        until(lambda: world.feed.up)
        assert set(world.refused) == bad and world.events[0] == "down" and world.events.count("down") == 1


@pytest.mark.parametrize("traded", [True, False])
def test_where_nobody_acknowledges_a_trade_tells_that_the_connection_stands(traded):
    with World(quick(acknowledges=False, stale_after_s=20.0), down_since_ns=EARLIER_NS) as world:
        until(lambda: world.connections and world.feed.up)
        gevent.sleep(0.1)
        assert "up" not in world.events
        if traded:
            world.trade()
        else:
            world.clock.monotonic_s += 16
        until(lambda: "up" in world.events)


def test_a_connection_that_has_lost_its_last_symbol_is_closed_until_there_is_another():
    with World() as world:
        world.wait_up()
        world.feed.change((), ("A", "B"))
        until(lambda: world.streams[0].closed)
        gevent.sleep(0.2)
        assert len(world.streams) == 1 and not world.stats.total("disconnects_total") and world.events == ["up", "down"]
        world.feed.change(("C",), ())
        until(lambda: world.feed.granted == {"C"})
        world.wait_up()
        assert len(world.streams) == 2 and not world.gaps


def test_a_connection_that_cannot_be_made_is_given_up_with_its_last_symbol():
    with World() as world:
        world.failing = True
        until(lambda: "refused" in world.events)
        world.feed.change((), ("A", "B"))
        gevent.sleep(0.1)
        failures = world.stats.total("connect_failures_total")
        world.failing = False
        gevent.sleep(1.5)
        assert not world.streams and world.stats.total("connect_failures_total") == failures
