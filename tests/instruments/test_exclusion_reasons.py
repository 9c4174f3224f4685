"""Why a symbol is not collected, as the venue's own list tells it."""

from __future__ import annotations

import json

import gevent
import pytest

from pumpwatch.instruments.exclusion_reasons import PAUSE_ROWS, exclusion_reasons

KEPT = {f"C{number}USDT" for number in range(20)}


def listing(*others, wrap=lambda rows: {"symbols": rows}):
    kept = [{"symbol": symbol, "status": "TRADING", "base": symbol[:-4], "quote": "USDT", "tick": "0.01", "spot": True,
             "type": "PERPETUAL" if symbol != "C3USDT" else "TRADIFI"} for symbol in sorted(KEPT)]
    return json.dumps(wrap([*kept, *others])).encode()


def test_each_reason_is_a_field_that_nothing_kept_has_so():
    row = {"status": "TRADING", "base": "X", "quote": "USDT", "tick": "0.01", "spot": True, "type": "PERPETUAL"}
    body = listing({**row, "symbol": "XBTC", "quote": "BTC"}, {**row, "symbol": "XUSDT", "status": "BREAK"},
                   {**row, "symbol": "YUSDT", "spot": False}, {**row, "symbol": "XUSDT_261225", "type": "QUARTER"},
                   {**row, "symbol": "ODD"}, {**row, "symbol": "FINE", "tick": "7", "base": "never seen"})
    assert exclusion_reasons([body], KEPT) == {
        "XBTC": "quote BTC", "XUSDT": "status BREAK", "YUSDT": "spot False", "XUSDT_261225": "type QUARTER",
        "ODD": "the list gives no reason", "FINE": "tick 7"}


def test_pages_and_lists_within_lists_are_one_list_and_other_lists_are_none():
    pages = [listing({"symbol": "XBTC", "quote": "BTC"}, wrap=lambda rows: {"result": {"list": rows}, "other": [{"id": "A"}]}),
             listing({"symbol": "YBTC", "quote": "BTC"}, wrap=lambda rows: rows[-1:])]
    assert exclusion_reasons(pages, KEPT) == {"XBTC": "quote BTC", "YBTC": "quote BTC"}


@pytest.mark.parametrize("body", [b"", b"<html>", b"{}", b"[]", b"1e400",
                                  b'[{"symbol":7},{"symbol":null}]', b'{"a":[[1],{"b":[]}]}'])
def test_a_body_that_is_no_list_gives_nothing(body):
    assert exclusion_reasons([body], KEPT) == {}
    assert exclusion_reasons([body], set()) == {}


def test_names_that_no_symbol_can_have_are_passed_over_and_a_reason_is_short():
    rows = [{"s": name, "kind": kind} for name, kind in (
        *((f"S{i}", "SPOT") for i in range(9)), ("A\u2028B", "DATED"), ("X" * 2000, "DATED"), ("GOOD", "D" * 5000))]
    told = exclusion_reasons([json.dumps(rows).encode()], {f"S{i}" for i in range(9)})
    assert told.keys() == {"GOOD"} and told["GOOD"].startswith("kind DDD") and len(told["GOOD"]) <= 200


def test_others_have_their_turn_while_a_long_list_is_gone_through():
    turns: list[int] = []
    others = gevent.spawn(lambda: [turns.append(gevent.sleep(0) or 1) for _ in range(10**6)])
    body = listing(*({"symbol": f"X{number}BTC", "quote": "BTC"} for number in range(3000)))
    assert len(exclusion_reasons([body], KEPT)) == 3000
    others.kill()
    assert len(turns) >= 3000 / PAUSE_ROWS
