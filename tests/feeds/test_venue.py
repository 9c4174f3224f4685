"""All feeds of a venue, against a scripted one: its list, what it refuses, and what the config asks for."""

from __future__ import annotations

import dataclasses
import logging
import time

import gevent
import pytest

from pumpwatch.clock import NS_PER_S
from pumpwatch.errors import ServiceUnavailable
from pumpwatch.feeds.feed import FIRST_WITHIN_S
from tests.feeds.scripted import VenueWorld, quick, subscribed, until

EARLIER_NS = 1_700_000_000 * NS_PER_S


def test_new_symbols_are_subscribed_and_delisted_ones_dropped_on_the_running_connection():
    with VenueWorld([f"S{i}" for i in range(20)]) as world:
        until(lambda: len(subscribed(world)) == 20)
        world.listed = (world.listed - {"S3"}) | {"NEW"}
        until(lambda: "NEW" in subscribed(world) and "S3" not in subscribed(world))
        assert len(world.streams) == 1 and world.feeds.status()["instruments"] == 20
        assert "NEW" in world.catalogue.ids_of(("binance", "spot"))


def test_a_symbol_that_a_list_or_two_lack_is_read_on():
    with VenueWorld([f"S{i}" for i in range(20)], refresh_s=0.4) as world:
        until(lambda: len(subscribed(world)) == 20)
        world.listed -= {"S3"}
        until(lambda: world.feeds.placement.leaving == {"S3"})
        world.listed |= {"S3"}
        world.refresh(2)
        assert not any("UNSUBSCRIBE" in text for text in world.streams[0].texts) and not world.gaps
        assert not world.feeds.status()["list_problem"]


def test_a_symbol_is_watched_once_it_was_granted_and_until_it_leaves_the_list():
    with VenueWorld(["A", "B"]) as world:
        assert world.feeds.watched() == set()
        until(lambda: world.feeds.watched() == {"A", "B"})
        world.listed = {"A", *(f"S{i}" for i in range(9))}
        until(lambda: world.feeds.watched() == world.listed)


def test_after_another_run_every_listed_symbol_is_watched_because_gaps_name_the_ungranted_ones():
    with VenueWorld(["A"], down_since_ns=EARLIER_NS) as world:
        until(lambda: world.feeds.has_list)
        assert world.feeds.watched() == {"A"}


@pytest.mark.parametrize("down_since_ns", [0, EARLIER_NS])
def test_a_venue_whose_list_never_comes_is_a_gap_from_the_start_until_its_connections_stand(down_since_ns):
    started_ns = time.time_ns()
    with VenueWorld([], down_since_ns=down_since_ns) as world:
        until(lambda: len(world.records.gaps) > 1)
        (gap,) = world.gaps.values()
        assert started_ns <= gap.from_ns < started_ns + NS_PER_S and gap.to_ns > world.clock.now_ns()
        assert not gap.symbol and not gap.symbols and "no instrument list: HTTP 500" in gap.reason
        world.listed = {"A", "B"}
        until(lambda: "up" in world.events)
        until(lambda: any(gap.symbols for gap in world.records.gaps))
        named = [gap for gap in world.records.gaps if gap.symbols]
        assert {gap.symbols for gap in named} == {("A", "B")} and max(gap.to_ns for gap in named) > (
            world.records.connection_events[-1].at_ns)
        count = len(world.records.gaps)
        world.refresh(3)
        assert len(world.records.gaps) == count


def test_a_list_request_without_any_answer_is_a_gap_after_a_while():
    with VenueWorld(["A"], quick(volumes=None)) as world:
        world.lists_hang = True
        gevent.sleep(0.3)
        assert not world.records.gaps
        world.clock.monotonic_s += FIRST_WITHIN_S
        until(lambda: len(world.records.gaps) > 1)
        (gap,) = world.gaps.values()
        assert gap.reason == "no instrument list: it has not come yet" and gap.to_ns > world.clock.now_ns()
        world.lists_hang = False
        until(lambda: "up" in world.events)


def test_a_first_start_that_works_leaves_no_gap():
    with VenueWorld(["A", "B"]) as world:
        until(lambda: "up" in world.events)
        world.refresh(3)
        assert not world.records.gaps and world.feeds.status()["problem"] == "" and world.feeds.status()["down_s"] == 0


def test_a_venue_that_gives_its_list_and_no_connection_is_a_gap_from_the_start_and_says_why():
    with VenueWorld(["A", "B"]) as world:
        world.failing = True
        until(lambda: world.gaps and world.feeds.status()["problem"] == "connection 0: nobody there")
        (gap,) = world.gaps.values()
        assert gap.symbols == ("A", "B") and gap.from_ns <= world.clock.now_ns() - world.feeds.status()["down_s"]


def test_a_list_that_does_not_come_is_asked_for_again():
    with VenueWorld([]) as world:
        until(lambda: world.asked >= 2)
        world.listed = {"A"}
        until(lambda: subscribed(world) == {"A"})
        assert world.stats.total("instrument_list_failures_total") >= 2


@pytest.mark.parametrize("answer", [b"[]", b'{"symbols":[]}', b"<html>busy</html>", ServiceUnavailable("HTTP 502"), "S1"])
def test_an_invalid_or_short_list_is_logged_once_and_drops_nothing(caplog, answer):
    caplog.set_level(logging.INFO, "pumpwatch.feeds")
    with VenueWorld([f"S{i}" for i in range(20)]) as world:
        until(lambda: len(subscribed(world)) == 20)
        listed = world.listed
        if isinstance(answer, str):
            world.listed = {answer}
        else:
            world.answer = answer
        world.refresh(3)
        assert len(subscribed(world)) == 20 and world.feeds.status()["list_problem"]
        assert len(world.symbols.known("binance.spot").instruments) == 20  # what a next run begins with
        world.answer, world.listed = None, listed
        until(lambda: not world.feeds.status()["list_problem"])
        world.refresh(1)
    told = [record.getMessage() for record in caplog.records if "instrument list" in record.getMessage()]
    assert [line.split(" venue=")[0] for line in told] == ["instrument list is unreliable, reading goes on",
                                                           "instrument list is good again"]
    assert told[0].isprintable() and "symbols=20 reason=" in told[0]


def test_an_empty_list_at_the_start_is_asked_for_again_at_once(caplog):
    with VenueWorld(["A"]) as world:
        world.answer = b'{"symbols":[]}'
        until(lambda: world.asked >= 2)
        world.answer = None
        until(lambda: subscribed(world) == {"A"})
    assert "nothing is read yet venue=binance.spot symbols=0 reason=the instrument list is empty" in caplog.text


def test_a_trading_symbol_is_still_read_when_the_list_omits_it():
    with VenueWorld([f"S{i}" for i in range(20)]) as world:
        until(lambda: len(subscribed(world)) == 20)
        world.heard["S3"] = world.clock.now_ns() + 10 * NS_PER_S  # it trades, and goes on
        world.listed -= {"S3", "S4"}
        until(lambda: "S4" not in subscribed(world))
        world.refresh(3)
        assert "S3" in subscribed(world) and world.feeds.status()["list_problem"].endswith("such as S3")
        world.heard["S3"] = world.clock.now_ns() - NS_PER_S
        until(lambda: "S3" not in subscribed(world))


def test_many_symbols_are_spread_over_connections():
    with VenueWorld([f"S{i}" for i in range(25)], symbols_per_connection=10) as world:
        until(lambda: len(subscribed(world)) == 25)
        assert world.feeds.status()["connections"] == 3


def test_a_connection_without_symbols_is_not_counted():
    with VenueWorld([f"S{i}" for i in range(21)], symbols_per_connection=10) as world:
        until(lambda: world.feeds.status()["connections_up"] == 3)
        world.listed -= set(world.feeds.feeds[0].symbols)
        until(lambda: world.feeds.status()["connections"] == 2 and world.streams[0].closed)
        assert world.feeds.status()["connections_up"] == 2


def test_a_configured_symbol_that_is_not_listed_is_logged_once_with_the_nearest_and_again_when_it_comes(caplog):
    caplog.set_level(logging.INFO, "pumpwatch.feeds")
    with VenueWorld(["BTCUSDT", "ETHUSDT"], symbols=["btc-usdt", "ETHUSDT"]) as world:
        until(lambda: subscribed(world) == {"ETHUSDT"})
        world.refresh(3)
        assert caplog.text.count("configured symbol is not listed venue=binance.spot symbol=btc-usdt nearest=BTCUSDT") == 1
        assert world.feeds.status()["unlisted"] == ["btc-usdt"]
        world.listed |= {"btc-usdt"}
        until(lambda: "is listed now" in caplog.text)
        until(lambda: world.feeds.status()["unlisted"] == [])


def test_a_venue_without_the_chosen_coins_has_its_list_and_is_logged_once(caplog):
    with VenueWorld(["A", "B"], coins=["C", "D"]) as world:
        until(lambda: world.feeds.has_list)
        world.refresh(2)
        assert world.feeds.status()["no_coin_listed"] and world.feeds.absent_coins == {"C", "D"}
        world.answer = ServiceUnavailable("HTTP 500")
        until(lambda: "list is unreliable" in caplog.text)
        world.answer = None
        world.listed |= {"C"}
        until(lambda: subscribed(world) == {"C"})
        assert not world.feeds.status()["no_coin_listed"] and world.feeds.absent_coins == {"D"}
    assert caplog.text.count("none of the chosen coins is listed, nothing is read venue=binance.spot coins=C,D") == 1
    assert "no instrument list" not in caplog.text


def test_an_excluded_symbol_that_is_not_listed_is_called_so(caplog):
    with VenueWorld(["BTCUSDT", "ETHUSDT"], excluded=["btc-usdt"]):
        until(lambda: "excluded symbol is not listed venue=binance.spot symbol=btc-usdt nearest=BTCUSDT" in caplog.text)


def test_symbols_that_do_not_fit_on_a_connection_go_to_another_and_new_ones_too(caplog):
    with VenueWorld([f"S{i}" for i in range(20)]) as world:
        world.room = 12
        until(lambda: len(subscribed(world)) == 20)
        status = world.feeds.status()
        assert status["connections"] == 2 and status["refused"] == [] and "connection is full" in caplog.text
        assert world.events.count("full") == 1 and not world.gaps  # nothing of it was seen before
        first = world.feeds.feeds[0].granted.copy()
        world.listed |= {"NEW"}
        until(lambda: "NEW" in subscribed(world))
        assert world.feeds.feeds[0].granted == first


def test_without_unsubscribing_a_silent_symbol_stays_on_its_renewed_connection():
    with VenueWorld([f"S{i}" for i in range(20)], quick(drops=False), symbols_per_connection=12) as world:
        until(lambda: len(subscribed(world)) == 20)
        number = world.feeds.placement.connection_of("S3")
        until(lambda: world.feeds.feeds[number].established_at_ns)
        world.feeds.move("S3")
        with gevent.Timeout(20):
            while "renewed" not in world.events:
                world.trade()
                world.clock.monotonic_s += 0.5
                gevent.sleep(0.05)
        assert len(subscribed(world)) == 20 and "down" not in world.events and not world.gaps
        assert world.feeds.placement.connection_of("S3") == number and len(world.streams) == 3


def test_a_venue_that_fails_and_is_begun_again_looks_for_silence_once():
    with VenueWorld(["A"]) as world:
        until(lambda: len(subscribed(world)) == 1)
        world.spawn("venue again", world.feeds.run)
        world.refresh(2)
        assert sorted(set(world.spawned)) == ["feed binance.spot#0", "list binance.spot", "silence", "venue", "venue again"]
        assert world.spawned.count("silence") == world.spawned.count("feed binance.spot#0") == 1


def test_a_stop_closes_every_connection_and_ends_waiting_attempts():
    limits = dataclasses.replace(quick().limits, connects_per_5_minutes=3)
    with VenueWorld([f"S{i}" for i in range(9)], quick(limits=limits), symbols_per_connection=3) as world:
        until(lambda: len(world.feeds.feeds) == 3 and len(world.streams) == 1)
    assert len(world.streams) == 1  # the others would have waited for minutes
