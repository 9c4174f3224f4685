"""A feed asks a venue for its symbols, and acts on each kind of answer."""

from __future__ import annotations

import dataclasses
import json

from hypothesis import given
from hypothesis import strategies as st
from pumpwatch_plugins.exchanges.binance import VENUES

from pumpwatch.feeds.subscriptions import ANSWER_WITHIN_S, Subscriptions
from pumpwatch.model import Control, ControlKind

SPOT = VENUES[0]


def drive(subscriptions: Subscriptions, bad: set[str]) -> int:
    """Play a venue that refuses a request whole when it holds a bad symbol; return the number of messages."""
    messages = 0
    while subscriptions.waiting:
        message = json.loads(subscriptions.next_text(0.0))
        messages += 1
        symbols = {param.split("@")[0].upper() for param in message["params"]}
        kind = ControlKind.REFUSAL if symbols & bad else ControlKind.ACK
        subscriptions.answer(Control(kind, message["id"], reason="2 no"))
    return messages


def test_messages_keep_the_venues_limits():
    subscriptions = Subscriptions(SPOT, lambda symbol, reason: None)
    subscriptions.want([f"SYMBOL{i:04}USDT" for i in range(1000)], add=True)
    while subscriptions.waiting:
        text = subscriptions.next_text(0.0)
        assert len(json.loads(text)["params"]) <= SPOT.limits.symbols_per_message
        assert len(text.encode()) <= SPOT.limits.message_bytes


@given(st.sets(st.integers(0, 299), max_size=5))
def test_a_rejected_request_is_split_until_the_bad_symbol_is_alone(bad_numbers):
    refused: list[str] = []
    subscriptions = Subscriptions(SPOT, lambda symbol, reason: refused.append(symbol))
    names = {f"S{i}" for i in range(300)}
    bad = {f"S{i}" for i in bad_numbers}
    subscriptions.want(names, add=True)
    messages = drive(subscriptions, bad)
    assert set(refused) == bad and len(refused) == len(bad)
    assert subscriptions.granted == names - bad and subscriptions.settled
    assert messages <= 2 + len(bad) * 20


def test_a_symbol_the_venue_names_is_left_out_at_once():
    refused: list[str] = []
    subscriptions = Subscriptions(SPOT, lambda symbol, reason: refused.append(symbol))
    subscriptions.want(["A", "B", "C", "D"], add=True)
    number = json.loads(subscriptions.next_text(0.0))["id"]
    subscriptions.answer(Control(ControlKind.REFUSAL, number, symbols=("C",), reason="unknown C"))
    assert refused == ["C"]
    drive(subscriptions, set())
    assert subscriptions.granted == {"A", "B", "D"}


def test_a_dropped_symbol_is_not_granted_any_more():
    subscriptions = Subscriptions(SPOT, lambda symbol, reason: None)
    subscriptions.want(["A", "B"], add=True)
    drive(subscriptions, set())
    subscriptions.want(["A"], add=False)
    drive(subscriptions, set())
    assert subscriptions.granted == {"B"}


def test_a_missing_answer_is_noticed():
    subscriptions = Subscriptions(SPOT, lambda symbol, reason: None)
    subscriptions.want(["A"], add=True)
    subscriptions.next_text(100.0)
    assert not subscriptions.overdue(100.0 + ANSWER_WITHIN_S)
    assert subscriptions.overdue(100.1 + ANSWER_WITHIN_S)


def test_an_answer_to_nothing_we_asked_is_ignored():
    subscriptions = Subscriptions(SPOT, lambda symbol, reason: None)
    subscriptions.want(["A"], add=True)
    subscriptions.next_text(0.0)
    subscriptions.answer(Control(ControlKind.ACK, 999))
    subscriptions.answer(Control(ControlKind.ACK, None))
    assert not subscriptions.granted and not subscriptions.settled


def test_a_venue_that_replaces_gets_all_symbols_in_each_request():
    subscriptions = Subscriptions(dataclasses.replace(SPOT, replaces=True), lambda symbol, reason: None)
    subscriptions.want(["A", "B"], add=True)
    subscriptions.want(["C"], add=True)
    asked = []
    while subscriptions.waiting:
        message = json.loads(subscriptions.next_text(0.0))
        asked.append(message["params"])
        subscriptions.answer(Control(ControlKind.ACK, message["id"]))
    subscriptions.want(["B"], add=False)
    subscriptions.want(["B"], add=False)
    asked.append(json.loads(subscriptions.next_text(0.0))["params"])
    assert asked == [["a@trade", "b@trade", "c@trade"], ["a@trade", "c@trade"]]
    assert subscriptions.granted == {"A", "C"} and not subscriptions.waiting


def test_without_acknowledgements_a_sent_request_is_granted():
    subscriptions = Subscriptions(dataclasses.replace(SPOT, acknowledges=False), lambda symbol, reason: None)
    subscriptions.want(["A", "B"], add=True)
    assert not subscriptions.settled
    subscriptions.next_text(0.0)
    assert subscriptions.settled and subscriptions.granted == {"A", "B"}
    assert not subscriptions.overdue(ANSWER_WITHIN_S + 1)
    subscriptions.want(["A"], add=False)
    subscriptions.next_text(1.0)
    assert subscriptions.granted == {"B"}


def test_a_wholly_rejected_request_fails_the_connection_and_leaves_no_symbol_out():
    refused: list[str] = []
    suspects: set[str] = set()
    subscriptions = Subscriptions(SPOT, lambda symbol, reason: refused.append(symbol), suspects)
    names = {f"S{i:03}" for i in range(300)}
    subscriptions.want(names, add=True)
    drive(subscriptions, {f"S{i:03}" for i in range(200)})  # the first message, whole
    assert subscriptions.failed == "2 no" and not subscriptions.settled and not refused
    assert len(suspects) == 200


def test_refused_once_more_while_others_are_granted_the_same_symbols_are_left_out():
    refused: list[str] = []
    bad = {f"S{i:03}" for i in range(200)}
    again = Subscriptions(SPOT, lambda symbol, reason: refused.append(symbol), set(bad))
    again.want({f"S{i:03}" for i in range(300)}, add=True)
    drive(again, bad)
    assert set(refused) == bad and len(again.granted) == 100 and again.settled


def test_if_nothing_is_ever_granted_no_symbol_is_left_out():
    names = {f"S{i}" for i in range(9)}
    suspects: set[str] = set()
    for venue in (SPOT, dataclasses.replace(SPOT, limits=dataclasses.replace(SPOT.limits, symbols_per_message=1))):
        for _ in range(3):
            refused: list[str] = []
            subscriptions = Subscriptions(venue, lambda symbol, reason, told=refused: told.append(symbol), suspects)
            subscriptions.want(names, add=True)
            drive(subscriptions, names)
            assert subscriptions.failed and not refused


def test_rejected_new_symbols_leave_a_good_connection_alone():
    refused: list[str] = []
    subscriptions = Subscriptions(SPOT, lambda symbol, reason: refused.append(symbol))
    subscriptions.want(["A", "B"], add=True)
    drive(subscriptions, set())
    subscriptions.want(["C", "D"], add=True)
    drive(subscriptions, {"C", "D"})
    assert sorted(refused) == ["C", "D"] and subscriptions.settled and subscriptions.granted == {"A", "B"}


def test_with_answers_by_symbol_the_rejected_symbol_is_left_out():
    refused: list[str] = []
    venue = dataclasses.replace(SPOT, answers_by_symbol=True)
    subscriptions = Subscriptions(venue, lambda symbol, reason: refused.append(symbol))
    subscriptions.want(["A", "B", "C"], add=True)
    number = json.loads(subscriptions.next_text(0.0))["id"]
    subscriptions.answer(Control(ControlKind.REFUSAL, number, symbols=("B",), reason="no such"))
    subscriptions.answer(Control(ControlKind.ACK, number, symbols=("A",)))
    assert not subscriptions.settled
    subscriptions.answer(Control(ControlKind.ACK, number, symbols=("C",)))
    assert refused == ["B"] and subscriptions.granted == {"A", "C"} and subscriptions.settled


def test_a_replacing_request_does_not_name_a_rejected_symbol_again():
    refused: list[str] = []
    subscriptions = Subscriptions(dataclasses.replace(SPOT, replaces=True), lambda symbol, reason: refused.append(symbol))
    subscriptions.want(["A", "B", "C"], add=True)
    number = json.loads(subscriptions.next_text(0.0))["id"]
    subscriptions.answer(Control(ControlKind.REFUSAL, number, symbols=("B",), reason="no such"))
    message = json.loads(subscriptions.next_text(0.0))
    assert message["params"] == ["a@trade", "c@trade"] and refused == ["B"]
    subscriptions.answer(Control(ControlKind.REFUSAL, message["id"], reason="busy"))
    assert subscriptions.failed == "busy" and refused == ["B"]  # halves would replace each other


class Roomy:
    """Subscriptions of a connection that holds so many symbols, and what came of them."""

    def __init__(self, room: int, in_flight: int = 1, **facts: object) -> None:
        self.room, self.in_flight, self.has = room, in_flight, set()
        self.refused: list[str] = []
        self.moved: list[str] = []
        limits = dataclasses.replace(SPOT.limits, symbols_per_message=facts.pop("symbols_per_message", 200))
        venue = dataclasses.replace(SPOT, limits=limits, **facts)
        self.subscriptions = Subscriptions(venue, lambda symbol, reason: self.refused.append(symbol), None,
                                           lambda symbols, reason: self.moved.extend(symbols))

    def play(self) -> int:
        """Ask, so many at a time, and answer in order; return the number of messages."""
        messages = 0
        while self.subscriptions.waiting:
            asked = []
            while self.subscriptions.waiting and len(asked) < self.in_flight:
                asked.append(json.loads(self.subscriptions.next_text(0.0)))
            messages += len(asked)
            for message in asked:
                self._answer(message)
        return messages

    def _answer(self, message: dict[str, object]) -> None:
        symbols = {param.split("@")[0].upper() for param in message["params"]}
        wanted = symbols if self.subscriptions._venue.replaces else self.has | symbols
        fits = len(wanted) <= self.room
        if message["method"] == "UNSUBSCRIBE":
            self.has -= symbols
        elif fits:
            self.has = wanted
        kind = ControlKind.ACK if fits or message["method"] == "UNSUBSCRIBE" else ControlKind.FULL
        self.subscriptions.answer(Control(kind, message["id"], reason="full"))


@given(st.integers(1, 40), st.integers(1, 40), st.sampled_from([1, 7, 200]), st.integers(1, 5))
def test_a_full_connection_keeps_its_symbols_and_hands_the_rest_back_once(count, room, per_message, in_flight):
    names = {f"S{i:02}" for i in range(count)}
    world = Roomy(room, in_flight, symbols_per_message=per_message)
    world.subscriptions.want(names, add=True)
    messages = world.play()
    assert world.subscriptions.granted == world.has and len(world.has) <= room
    assert sorted(world.moved) == sorted(names - world.has) and not world.refused
    assert world.has and world.subscriptions.settled and not world.subscriptions.failed
    assert len(world.has) == count if count <= room else per_message > 1 or len(world.has) == room
    assert messages <= count + in_flight


def test_a_connection_that_has_no_room_for_a_single_symbol_has_failed():
    world = Roomy(0)
    world.subscriptions.want(["A", "B", "C"], add=True)
    world.play()
    assert world.subscriptions.failed == "full" and not world.moved and not world.refused


def test_newcomers_without_room_go_elsewhere_and_a_place_that_was_freed_is_taken():
    world = Roomy(2)
    world.subscriptions.want(["A", "B"], add=True)
    world.play()
    world.subscriptions.want(["C"], add=True)
    world.play()
    assert world.moved == ["C"] and world.subscriptions.granted == {"A", "B"}
    world.subscriptions.want(["A"], add=False)
    world.subscriptions.want(["D"], add=True)
    world.play()
    assert world.moved == ["C"] and world.subscriptions.granted == {"B", "D"} and world.subscriptions.settled


def test_a_rejected_symbol_is_left_out_although_the_connection_is_full():
    refused: list[str] = []
    moved: list[str] = []
    venue = dataclasses.replace(SPOT, answers_by_symbol=True)
    subscriptions = Subscriptions(venue, lambda symbol, reason: refused.append(symbol), None,
                                  lambda symbols, reason: moved.extend(symbols))
    subscriptions.want(["A", "B", "C"], add=True)
    number = json.loads(subscriptions.next_text(0.0))["id"]
    subscriptions.answer(Control(ControlKind.ACK, number, symbols=("A",)))
    subscriptions.answer(Control(ControlKind.FULL, number, symbols=("B",), reason="full"))
    assert not moved
    subscriptions.answer(Control(ControlKind.REFUSAL, number, symbols=("C",), reason="no such"))
    assert (refused, moved, subscriptions.granted) == (["C"], ["B"], {"A"}) and subscriptions.settled


@given(st.integers(2, 40), st.integers(1, 40))
def test_a_replacing_request_is_cut_until_it_fits(count, room):
    names = {f"S{i:02}" for i in range(count)}
    world = Roomy(room, replaces=True)
    world.subscriptions.want(names, add=True)
    world.play()
    assert world.subscriptions.granted == world.has == names - set(world.moved) and 0 < len(world.has) <= room


def by_symbol_only() -> tuple[Subscriptions, list[str]]:
    """A venue whose answers name a symbol and carry no request id."""
    rejected: list[str] = []
    venue = dataclasses.replace(SPOT, answers_by_symbol=True)
    return Subscriptions(venue, lambda symbol, reason: rejected.append(f"{symbol}: {reason}")), rejected


def test_answers_without_a_request_id_are_matched_by_their_symbol():
    subscriptions, rejected = by_symbol_only()
    subscriptions.want(["A", "B", "C"], add=True)
    subscriptions.next_text(0.0)
    for symbol in ("B", "A"):
        subscriptions.answer(Control(ControlKind.ACK, symbols=(symbol,)))
    assert subscriptions.granted == {"A", "B"} and not subscriptions.settled
    subscriptions.answer(Control(ControlKind.REFUSAL, symbols=("C",), reason="unknown symbol"))
    assert subscriptions.settled and subscriptions.granted == {"A", "B"} and rejected == ["C: unknown symbol"]


def test_an_answer_without_an_id_belongs_to_the_oldest_request_that_waits_for_its_symbol():
    subscriptions, _ = by_symbol_only()
    subscriptions.want(["A"], add=True)
    subscriptions.next_text(0.0)
    subscriptions.answer(Control(ControlKind.ACK, symbols=("A",)))
    subscriptions.renew("A")
    subscriptions.next_text(1.0)
    subscriptions.next_text(1.0)
    subscriptions.answer(Control(ControlKind.ACK, symbols=("A",)))
    assert subscriptions.granted == set()  # that was the answer to the request that dropped it
    subscriptions.answer(Control(ControlKind.ACK, symbols=("A",)))
    assert subscriptions.granted == {"A"} and subscriptions.settled


def test_an_answer_without_an_id_and_without_a_symbol_answers_nothing():
    subscriptions, _ = by_symbol_only()
    subscriptions.want(["A"], add=True)
    subscriptions.next_text(0.0)
    subscriptions.answer(Control(ControlKind.ACK))
    assert not subscriptions.granted and subscriptions.overdue(ANSWER_WITHIN_S + 1)
