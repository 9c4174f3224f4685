"""A request function with one mistake fails in the row that is about the mistake."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Sequence
from typing import Any

import pytest
from pumpwatch_plugins.simulators.binance import SPOT_DIALECT

from pumpwatch.model import Control, ControlKind
from pumpwatch.plugin_kit.check_requests import check_requests
from pumpwatch.plugin_kit.samples import Samples, gather
from pumpwatch.venue import AggregatedHistory, HttpRequest
from tests.plugin_kit.good_venue import SPOT, changed, failures, results

NO_SAMPLES = Samples()


@pytest.mark.parametrize(("facts", "check", "says"), [
    ({"subscribe": lambda symbols, number: '{"params":["' + '","'.join(symbols) + f'"],"id":{number}}}'},
     "odd symbols and request ids", "does not contain the symbol"),
    ({"subscribe": lambda symbols, number: json.dumps(list(symbols))}, "odd symbols and request ids",
     "leaves out the request id"),
    ({"subscribe": lambda symbols, number: json.dumps([[name[:64] for name in symbols], number])}, "odd symbols and request ids",
     "does not contain the symbol"),
    ({"unsubscribe": lambda symbols, number: symbols[100]}, "odd symbols and request ids", "IndexError"),
    ({"unsubscribe": lambda symbols, number: f'{{"method":"PING","id":{number}}}'}, "odd symbols and request ids",
     "unsubscribe of 'A/B' does not contain the symbol"),
    ({"subscribe": lambda symbols, number: json.dumps([*symbols[1:], number])}, "subscribe within its limits", "in no message"),
    ({"subscribe": lambda symbols, number: json.dumps([*symbols, "x" * 9000, number])}, "subscribe within its limits",
     "bytes, the limit is 8000"),
    ({"history_request": lambda query: 5}, "history requests", "not an HttpRequest"),
    ({"history_request": lambda query: dataclasses.replace(SPOT.history_request(query), path="trades")}, "history requests",
     "does not begin with /"),
    ({"history_request": lambda query: dataclasses.replace(SPOT.history_request(query), weight=10_000)}, "history requests",
     "the weight is 10000"),
])
def test_a_wrong_request_is_named(facts: dict[str, Any], check: str, says: str) -> None:
    found = failures(check_requests(changed(**facts), NO_SAMPLES))
    assert says in found.get(check, "(no failure)"), found


def test_good_requests_have_no_failure() -> None:
    assert {state for state, _ in results(check_requests(SPOT, NO_SAMPLES)).values()} == {"ok"}


def test_requests_of_an_aggregated_history_are_checked_too() -> None:
    deeper = AggregatedHistory(depth=SPOT.history, request=lambda query: HttpRequest("trades"), parse=SPOT.parse_history)
    found = failures(check_requests(changed(aggregated_history=deeper), NO_SAMPLES))
    assert "aggregated_history.request: the path 'trades' does not begin with /" in found["history requests"]


def test_answers_that_name_their_symbol_need_no_request_id() -> None:
    def anonymous(symbols: Sequence[str], number: int) -> str:
        return json.dumps({"op": "subscribe", "args": list(symbols)}, ensure_ascii=False)

    venue = changed(subscribe=anonymous, unsubscribe=anonymous)
    state, detail = results(check_requests(venue, NO_SAMPLES))["odd symbols and request ids"]
    assert state == "fail" and "set answers_by_symbol" in detail
    by_symbol = dataclasses.replace(venue, answers_by_symbol=True)
    assert results(check_requests(by_symbol, NO_SAMPLES))["odd symbols and request ids"][0] == "ok"


def test_if_no_request_drops_a_symbol_unsubscribe_need_not_name_it() -> None:
    venue = changed(unsubscribe=lambda symbols, number: f'{{"method":"PING","id":{number}}}', drops=False)
    assert failures(check_requests(venue, NO_SAMPLES)) == {}


def test_the_dialects_answers_must_lead_back_to_their_request() -> None:
    def anonymous(frame: bytes) -> Control | None:
        control = SPOT.read_control(frame)
        return Control(ControlKind.ACK) if control and control.kind == ControlKind.ACK else control

    venue = changed(read_control=anonymous)
    found = failures(check_requests(venue, gather(venue, (), SPOT_DIALECT)))
    assert "finds neither the request id nor" in found["answers are understood"]
    assert failures(check_requests(SPOT, gather(SPOT, (), SPOT_DIALECT))) == {}
