"""Symbols that should be read and are not yet: a gap of each, until the venue has granted it."""

from __future__ import annotations

import time

from pumpwatch.clock import NS_PER_S
from pumpwatch.instruments.symbols_file import SymbolsFile, VenueSymbols
from pumpwatch.model import Control, ControlKind, Instrument
from tests.feeds.scripted import VenueWorld, gaps_of, subscribed, until

EARLIER_NS = 1_700_000_000 * NS_PER_S


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
    with VenueWorld([f"S{i}" for i in range(20)], refresh_s=0.2) as world:
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
