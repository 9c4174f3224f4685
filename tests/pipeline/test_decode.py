"""Frames as text through the collector's own parser; the recorded ones where they are present."""

from __future__ import annotations

import gzip
import json
import random
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pumpwatch_plugins.exchanges.binance import VENUES, parse

from pumpwatch.model import Columns
from pumpwatch.pipeline.decode import Decoder
from tests.corpus import CORPUS

recorded = pytest.mark.skipif(CORPUS is None, reason="the recorded frames are not on this machine")

STRAY = b'{}[]",:0129eE.-\\ntrue'
SPOT = ('{"e":"trade","E":1672515782136,"s":"BNBBTC","t":12345,"p":"0.001","q":"100","T":1672515782136,"m":true,"M":true}')
FUTURES = ('{"stream":"btcusdt@trade","data":{"e":"trade","E":1596240000596,"T":1596240000519,"s":"BTCUSDT","t":173525189,'
           '"p":"11343.67","q":"0.467","X":"MARKET","m":false}}')


def decoder(market_type: str = "spot") -> Decoder:
    return Decoder(next(venue for venue in VENUES if venue.market_type == market_type))


def test_a_frame_becomes_a_trade_with_the_takers_side():
    assert list(decoder().lines([SPOT])) == [{
        "exchange": "binance", "market_type": "spot", "symbol": "BNBBTC", "side": "sell", "price": 0.001, "quantity": 100.0,
        "trade_id": "12345", "sequence_number": None, "timestamp": 1672515782136000000}]


def test_a_line_of_json_with_raw_tells_its_number():
    (trade,) = decoder("futures").lines(["", json.dumps({"raw": FUTURES})])
    assert (trade["line"], trade["side"], trade["price"]) == (2, "buy", 11343.67)


@pytest.mark.parametrize("kind", ["NA", "INSURANCE_FUND", "ADL"])
def test_rows_that_are_no_market_trades_are_not_printed(kind):
    one = decoder("futures")
    price = '"p":"0","q":"0"' if kind == "NA" else '"p":"1.5","q":"2"'
    frame = f'{{"e":"trade","E":1672515782136,"T":1672515782136,"s":"X","t":5,{price},"X":"{kind}","m":true}}'
    assert list(one.lines([frame])) == [] and one.refused == []


@pytest.mark.parametrize("change", [
    {"p": "nan"}, {"p": "1e400"}, {"p": "-1"}, {"p": "0"}, {"q": "0"}, {"q": "inf"}, {"p": None}, {"T": 1672515782},
    {"T": 1672515782136000}, {"T": 99999999999999}, {"t": 2**63}, {"t": -1}, {"t": None}, {"s": None}, {"s": 5}, {"m": None},
    {"p": "abc"}, {"p": []}, {"e": "trade "}, {"T": "soon"},
])
def test_a_frame_with_an_impossible_value_is_refused_with_a_reason(change):
    one = decoder()
    frame = json.loads(SPOT) | change
    assert list(one.lines([json.dumps(frame)])) == []
    assert len(one.refused) == 1 or one.controls == 1
    assert all(reason for _, reason in one.refused)


def test_symbols_of_any_spelling_pass():
    for symbol in ("A/B", "币安人生USDT", "x" * 200, "1000PEPE", "\u0000"):
        (trade,) = decoder().lines([json.dumps(json.loads(SPOT) | {"s": symbol})])
        assert trade["symbol"] == symbol


def test_mutated_frames_never_crash_and_each_is_a_trade_control_or_refused():
    draw = random.Random(7).random  # its other methods take most of the time of a frame
    one = decoder("futures")
    seeds = [FUTURES.encode(), SPOT.encode(), b'{"result":null,"id":1}', b'{"error":{"code":4,"msg":"Too many"},"id":19}']
    for number in range(100_000):
        frame = bytearray(seeds[int(draw() * len(seeds))])
        for _ in range(1 + int(draw() * 4)):
            at = int(draw() * len(frame))
            kind = draw()
            if kind < 0.5:
                frame[at] = int(draw() * 256)
            elif kind < 0.75:
                del frame[at]
            else:
                frame.insert(at, STRAY[int(draw() * len(STRAY))])
        before = len(one.refused) + one.controls
        trades = one.frame(bytes(frame), number)
        outcomes = len(one.refused) + one.controls - before
        assert trades or outcomes == 1 or b'"NA"' in frame


@pytest.mark.parametrize("combined", [False, True])
def test_an_incomplete_frame_is_rejected_with_the_missing_key(combined):
    lacking = {"e": "trade", "s": "BTCUSDT", "t": 7, "p": "1.5", "q": "2", "m": True}
    one = decoder()
    assert one.frame(json.dumps({"stream": "btcusdt@trade", "data": lacking} if combined else lacking).encode()) == []
    assert "missing required field `T`" in one.refused[0][1]


@recorded
def test_every_recorded_binance_frame_gives_what_is_expected():
    checked = 0
    for path in (CORPUS / "trades.jsonl", CORPUS / "trades_cryptofeed.jsonl.gz"):
        opener = gzip.open if path.suffix == ".gz" else open
        with opener(path, "rt", encoding="utf-8") as lines:
            for line in lines:
                row = json.loads(line)
                if row["exchange"] != "binance" or row.get("obsolete"):
                    continue
                checked += 1
                got = decoder(row["market"]).frame(row["raw"].encode())
                assert [_comparable(trade) for trade in got] == [_expected(one) for one in row.get("expected", [])], row
    assert checked > 50


@recorded
def test_recorded_control_frames_give_no_trade():
    with (CORPUS / "control.jsonl").open(encoding="utf-8") as lines:
        rows = [row for row in map(json.loads, lines) if row["exchange"] == "binance"]
    for row in rows:
        one = decoder(row["market"])
        assert one.frame(row["raw"].encode()) == [] and not one.refused, (row, one.refused)
    assert rows


def _comparable(trade):
    return (trade["symbol"], Decimal(repr(trade["price"])), Decimal(repr(trade["quantity"])), trade["side"],
            trade["trade_id"], trade["timestamp"])


def _expected(one):
    return (one["symbol"], Decimal(one["price"]).normalize() + 0, Decimal(one["quantity"]).normalize() + 0, one["side"],
            one["trade_id"], one["timestamp_ns"])


@given(st.one_of(
    st.decimals(min_value=Decimal("1e-12"), max_value=Decimal("1e12"), allow_nan=False, allow_infinity=False).map("{:f}".format),
    st.floats(min_value=1e-300, max_value=1e300).map(repr),
    st.from_regex(r"[1-9][0-9]{0,18}\.[0-9]{1,20}", fullmatch=True)))
def test_digits_become_the_very_float_that_python_makes_of_them(text):
    columns = Columns()
    parse(b"[" + json.dumps(json.loads(SPOT) | {"p": text, "q": text}).encode() + b"]", columns)
    assert columns.price == columns.quantity == [float(text)]
