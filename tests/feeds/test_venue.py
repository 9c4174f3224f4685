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
from pumpwatch.feeds.rejected_symbols import LONGEST_ROUNDS
from pumpwatch.instruments.symbols_file import SymbolsFile, VenueSymbols
from pumpwatch.model import Control, ControlKind, Gap, Instrument
from tests.feeds.scripted import VenueWorld, quick, until

EARLIER_NS = 1_700_000_000 * NS_PER_S


def subscribed(world: VenueWorld) -> set[str]:
    return {symbol for feed in world.feeds.feeds for symbol in feed.granted}


def test_newcomers_are_subscribed_and_what_went_is_dropped_on_the_running_connection():
    with VenueWorld([f"S{i}" for i in range(20)]) as world:
        until(lambda: len(subscribed(world)) == 20)
        world.listed = (world.listed - {"S3"}) | {"NEW"}
        until(lambda: "NEW" in subscribed(world) and "S3" not in subscribed(world))
        assert len(world.streams) == 1 and world.feeds.status()["instruments"] == 20
        assert "NEW" in world.catalogue.ids_of(("binance", "spot"))


def gaps_of(world: VenueWorld, symbol: str) -> list[Gap]:
    """Return a symbol's own gaps as far as they have grown."""
    return [gap for gap in world.gaps.values() if gap.symbol == symbol]


def test_a_symbol_that_a_list_or_two_lack_is_read_on():
    with VenueWorld([f"S{i}" for i in range(20)], refresh_s=1.0) as world:
        until(lambda: len(subscribed(world)) == 20)
        world.listed -= {"S3"}
        until(lambda: world.feeds.placement.leaving == {"S3"})
        world.listed |= {"S3"}
        world.refresh(2)
        assert not any("UNSUBSCRIBE" in text for text in world.streams[0].texts) and not world.gaps
        assert not world.feeds.status()["list_problem"]


def test_a_symbol_that_left_the_list_and_returns_is_a_gap_from_when_it_was_dropped_to_its_grant():
    with VenueWorld([f"S{i}" for i in range(20)]) as world:
        until(lambda: len(subscribed(world)) == 20)
        world.listed -= {"S3"}
        until(lambda: "S3" not in subscribed(world))
        gone_ns = world.clock.now_ns()
        world.clock.wall_s += 3600
        world.refresh(2)
        assert not world.gaps  # as long as it is not listed it does not trade
        world.listed |= {"S3"}
        until(lambda: "S3" in subscribed(world))
        granted_ns = world.clock.now_ns()
        until(lambda: "S3" not in world.feeds._unread)
        (gap,) = gaps_of(world, "S3")
        assert gone_ns - 3 * NS_PER_S < gap.from_ns <= gone_ns and gap.to_ns >= granted_ns and "listed again" in gap.reason


def test_a_newcomer_is_a_gap_from_the_list_before_to_its_grant():
    with VenueWorld([f"S{i}" for i in range(20)], refresh_s=0.5) as world:
        until(lambda: len(subscribed(world)) == 20)
        began_ns = world.clock.now_ns()
        world.refresh(2)
        world.answering = False
        before_ns = world.clock.now_ns()
        world.listed |= {"NEW"}
        until(lambda: "NEW" in world.feeds._unread)
        until(lambda: len([gap for gap in world.records.gaps if gap.symbol == "NEW"]) > 1)  # it grows
        world.answering = True
        until(lambda: "NEW" in subscribed(world))
        granted_ns = world.clock.now_ns()
        until(lambda: "NEW" not in world.feeds._unread)
        (gap,) = gaps_of(world, "NEW")
        assert began_ns < gap.from_ns <= before_ns and gap.to_ns >= granted_ns and gap.reason == "listed, not yet read"
        assert {one.symbol for one in world.records.gaps} == {"NEW"}


def test_a_newcomer_that_is_refused_stays_a_gap():
    with VenueWorld([f"S{i}" for i in range(20)]) as world:
        until(lambda: len(subscribed(world)) == 20)
        world.refuses = lambda symbol: symbol == "NEW"
        world.listed |= {"NEW"}
        until(lambda: world.feeds.status()["refused"] == ["NEW"] and gaps_of(world, "NEW"))
        (begun,) = gaps_of(world, "NEW")
        until(lambda: gaps_of(world, "NEW")[0].to_ns > begun.to_ns)
        world.refuses = lambda symbol: False
        until(lambda: "NEW" in subscribed(world) and not world.feeds.status()["refused"])
        assert len(gaps_of(world, "NEW")) == 1


@pytest.mark.parametrize("down_since_ns", [0, EARLIER_NS])
def test_a_venue_whose_list_never_comes_is_a_gap_from_the_start_until_its_connections_stand(down_since_ns):
    started_ns = time.time_ns()
    with VenueWorld([], down_since_ns=down_since_ns) as world:
        until(lambda: len(world.records.gaps) > 2)
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


def test_a_list_that_is_neither_given_nor_refused_is_a_gap_after_a_while():
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


def test_begun_with_an_earlier_list_what_only_the_next_one_has_was_not_read_since_the_start(tmp_path):
    file = SymbolsFile(str(tmp_path / "symbols.yaml"))
    file.put("binance.spot", VenueSymbols(EARLIER_NS, [Instrument(symbol="A", base="A", quote="USDT")], {}))
    file.write()
    started_ns = time.time_ns()
    with VenueWorld([], symbols_file=SymbolsFile(str(tmp_path / "symbols.yaml"))) as world:
        until(lambda: subscribed(world) == {"A"})
        world.listed = {"A", "B"}
        until(lambda: subscribed(world) == {"A", "B"})
        (gap,) = gaps_of(world, "B")
        assert started_ns <= gap.from_ns < started_ns + NS_PER_S


def test_a_list_that_does_not_come_is_asked_for_again():
    with VenueWorld([]) as world:
        until(lambda: world.asked >= 2)
        world.listed = {"A"}
        until(lambda: subscribed(world) == {"A"})
        assert world.stats.total("instrument_list_failures_total") >= 2


@pytest.mark.parametrize("answer", [b"[]", b'{"symbols":[]}', b"<html>busy</html>", ServiceUnavailable("HTTP 502"), "S1"])
def test_a_list_that_is_none_or_short_is_told_once_and_drops_nothing(caplog, answer):
    caplog.set_level(logging.INFO, "pumpwatch.feeds.venue")
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
    assert "nothing is read yet venue=binance.spot symbols=0 reason=an instrument list without an instrument" in caplog.text


def test_what_trades_is_read_on_whatever_the_list_says():
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


def test_a_refused_symbol_is_told_of_and_tried_again_until_it_is_granted(caplog):
    caplog.set_level(logging.INFO, "pumpwatch.feeds")
    with VenueWorld(["A", "B", "C"]) as world:
        world.refuses = lambda symbol: symbol == "B"
        until(lambda: world.feeds.status()["refused"] == ["B"] and subscribed(world) == {"A", "C"})
        until(lambda: world.events.count("refused") >= 3)  # each try is an event
        assert world.records.connection_events[-1].reason.startswith("B: ")
        world.refuses = lambda symbol: False
        until(lambda: subscribed(world) == {"A", "B", "C"} and "is granted now" in caplog.text)
        assert world.feeds.status()["refused"] == [] and caplog.text.count("left out") == 1
        assert not world.gaps  # it was never seen before


def test_a_symbol_that_is_refused_after_it_was_seen_is_a_gap_that_grows():
    with VenueWorld(["A", "B", "C"]) as world:
        until(lambda: len(subscribed(world)) == 3)
        world.refuses = lambda symbol: symbol == "B"
        world.streams[0].ended = True
        until(lambda: subscribed(world) == {"A", "C"})

        def of_b():
            return [gap for gap in world.gaps.values() if gap.symbol == "B"]

        until(of_b)
        (first,) = of_b()
        until(lambda: of_b()[0].to_ns > first.to_ns)
        assert [gap.from_ns for gap in of_b()] == [first.from_ns] and "rejects" in first.reason


def seen_and_refused(world: VenueWorld) -> Gap:
    """Have B read, then refused; return its gap."""
    until(lambda: len(subscribed(world)) == 3)
    world.refuses = lambda symbol: symbol == "B"
    world.streams[0].ended = True
    until(lambda: subscribed(world) == {"A", "C"} and gaps_of(world, "B"))
    return gaps_of(world, "B")[0]


def test_the_gap_of_a_refused_symbol_grows_without_a_list_and_a_little_ahead():
    with VenueWorld(["A", "B", "C"], refresh_s=600.0) as world:
        first = seen_and_refused(world)
        assert first.to_ns > world.clock.now_ns() + NS_PER_S
        until(lambda: gaps_of(world, "B")[0].to_ns > first.to_ns)


def test_the_gap_of_a_refused_symbol_goes_up_to_the_stop():
    with VenueWorld(["A", "B", "C"], refresh_s=600.0) as world:
        seen_and_refused(world)
        world.clock.wall_s += 100.0
    assert gaps_of(world, "B")[0].to_ns > world.clock.now_ns() - NS_PER_S


def test_a_refused_symbol_that_one_list_lacks_is_a_gap_without_a_hole():
    with VenueWorld(["A", "B", "C"], refresh_s=1.5) as world:
        seen_and_refused(world)
        world.listed -= {"B"}
        world.refresh()
        world.listed |= {"B"}
        world.refuses = lambda symbol: False
        until(lambda: "B" in subscribed(world))
        granted_ns = world.clock.now_ns()
        until(lambda: len(gaps_of(world, "B")) == 2 and "B" not in world.feeds._unread)
        first, second = sorted(gaps_of(world, "B"), key=lambda gap: gap.from_ns)
        assert second.from_ns <= first.to_ns and second.to_ns >= granted_ns


def test_a_symbol_that_is_refused_when_it_is_asked_for_again_was_read_and_is_a_gap():
    with VenueWorld(["A", "B", "C"]) as world:
        until(lambda: len(subscribed(world)) == 3)
        world.refuses = lambda symbol: symbol == "B"
        world.feeds.feeds[0].ask_again("B")
        until(lambda: [gap for gap in world.records.gaps if gap.symbol == "B" and "rejects" in gap.reason])


def test_after_an_earlier_run_every_refused_symbol_may_have_been_seen():
    with VenueWorld(["A", "B"], down_since_ns=EARLIER_NS) as world:
        world.refuses = lambda symbol: symbol == "B"
        until(lambda: any(gap.symbol == "B" for gap in world.gaps.values()))


def test_a_refused_symbol_that_is_listed_no_more_is_forgotten():
    with VenueWorld([f"S{i}" for i in range(20)]) as world:
        world.refuses = lambda symbol: symbol == "S7"
        until(lambda: world.feeds.status()["refused"] == ["S7"])
        world.listed -= {"S7"}
        until(lambda: world.feeds.status()["refused"] == [])


def test_tries_grow_rarer_and_never_end():
    with VenueWorld(["A", "B"]) as world:
        world.refuses = lambda symbol: symbol == "B"
        until(lambda: world.events.count("refused") >= 5)
        assert world.asked >= 1 + 1 + 2 + 4 + 8
        assert LONGEST_ROUNDS * 300 <= 3600  # an hour at the default refresh


def test_a_configured_symbol_that_is_not_listed_is_said_once_with_the_nearest_and_again_when_it_comes(caplog):
    caplog.set_level(logging.INFO, "pumpwatch.feeds.venue")
    with VenueWorld(["BTCUSDT", "ETHUSDT"], symbols=["btc-usdt", "ETHUSDT"]) as world:
        until(lambda: subscribed(world) == {"ETHUSDT"})
        world.refresh(3)
        assert caplog.text.count("configured symbol is not listed venue=binance.spot symbol=btc-usdt nearest=BTCUSDT") == 1
        assert world.feeds.status()["unlisted"] == ["btc-usdt"]
        world.listed |= {"btc-usdt"}
        until(lambda: "is listed now" in caplog.text)
        until(lambda: world.feeds.status()["unlisted"] == [])


def test_an_excluded_symbol_that_is_not_listed_is_called_so(caplog):
    with VenueWorld(["BTCUSDT", "ETHUSDT"], excluded=["btc-usdt"]):
        until(lambda: "excluded symbol is not listed venue=binance.spot symbol=btc-usdt nearest=BTCUSDT" in caplog.text)


def test_what_a_full_connection_has_no_room_for_goes_to_another_and_newcomers_with_it(caplog):
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


def test_symbols_that_were_seen_and_lose_their_place_are_a_gap_until_another_connection_has_them():
    with VenueWorld([f"S{i}" for i in range(20)]) as world:
        until(lambda: len(subscribed(world)) == 20)
        world.room = 12
        world.streams[0].ended = True
        until(lambda: len(world.feeds.feeds) == 2 and len(subscribed(world)) == 20)
        moved = world.feeds.feeds[1].granted
        gaps = [gap for gap in world.records.gaps if gap.symbol]
        assert {gap.symbol for gap in gaps} == moved and all("no room" in gap.reason for gap in gaps)
        assert max(gap.to_ns for gap in gaps) > world.records.connection_events[-1].at_ns


def test_what_a_successor_has_no_room_for_is_a_gap_until_another_connection_has_it():
    with VenueWorld([f"S{i}" for i in range(20)]) as world:
        until(lambda: len(subscribed(world)) == 20)
        world.room = 12
        world.say(Control(ControlKind.RECONNECT, reason="asked to"))
        until(lambda: len(world.feeds.feeds) == 2)
        world.clock.monotonic_s += 16
        until(lambda: "renewed" in world.events and len(subscribed(world)) == 20)
        up_ns = next(one.at_ns for one in reversed(world.records.connection_events) if one.event == "up")
        moved = world.feeds.feeds[1].granted
        until(lambda: max((gap.to_ns for gap in world.records.gaps), default=0) > up_ns)
        assert {gap.symbol for gap in world.records.gaps} == moved and "renewed" in world.events


def test_where_a_venue_drops_no_symbol_a_silent_one_has_its_connection_made_anew_and_stays_on_it():
    with VenueWorld([f"S{i}" for i in range(20)], quick(drops=False), symbols_per_connection=12) as world:
        until(lambda: len(subscribed(world)) == 20)
        number = world.feeds.placement.connection_of("S3")
        until(lambda: world.feeds.feeds[number].established_at_ns)
        world.feeds.move("S3")
        until(lambda: "down" in world.events and len(subscribed(world)) == 20)
        assert world.feeds.placement.connection_of("S3") == number and len(world.streams) == 3


def test_a_venue_that_fails_and_is_begun_again_looks_for_silence_once():
    with VenueWorld(["A"]) as world:
        until(lambda: len(subscribed(world)) == 1)
        world.spawn("venue again", world.feeds.run)
        world.refresh(2)
        assert sorted(set(world.spawned)) == ["feed binance.spot#0", "list binance.spot", "silence", "venue", "venue again"]
        assert world.spawned.count("silence") == world.spawned.count("feed binance.spot#0") == 1


def test_a_stop_closes_every_connection_also_one_that_waits_for_its_turn():
    limits = dataclasses.replace(quick().limits, connects_per_5_minutes=3)
    with VenueWorld([f"S{i}" for i in range(9)], quick(limits=limits), symbols_per_connection=3) as world:
        until(lambda: len(world.feeds.feeds) == 3 and len(world.streams) == 1)
    assert len(world.streams) == 1  # the others would have waited for minutes
