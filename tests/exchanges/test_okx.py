"""OKX: `trades-all`, answers per symbol, contracts, history by id or by time."""

from __future__ import annotations

import gzip
import json
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pumpwatch_plugins.exchanges.okx import VENUES

from pumpwatch.catalogue import coin_of
from pumpwatch.errors import REFUSALS
from pumpwatch.feeds.subscriptions import Subscriptions
from pumpwatch.model import ControlKind, Flag, Instrument
from pumpwatch.venue import HistoryQuery
from tests.corpus import CORPUS, needs_corpus
from tests.exchanges.decoding import (
    changed,
    columns_of,
    comparable,
    compare_recorded_frames,
    damage,
    decoded,
    expected,
    historical,
    outcome,
    payload,
    read_recorded_control,
)

SPOT, FUTURES = VENUES
TRADE = {"instId": "SOMI-USDT", "tradeId": "7712345", "px": "0.8123", "sz": "120.5", "side": "sell", "source": "0",
         "ts": "1762000000123"}
FRAME = {"arg": {"channel": "trades-all", "instId": "SOMI-USDT"}, "data": [TRADE]}
ACK = {"id": "3", "event": "subscribe", "arg": {"channel": "trades-all", "instId": "SOMI-USDT"}, "connId": "0a1b2c3d"}
NO_SUCH = "Wrong URL or channel:trades-all,instId:NOPE-USDT doesn't exist. Please use the correct URL, channel and parameters."


def swap(symbol: str = "PEPE-USDT-SWAP", **change: str) -> dict[str, str]:
    family = symbol.removesuffix("-SWAP")
    return {"instType": "SWAP", "instId": symbol, "instFamily": family, "uly": family, "baseCcy": "", "quoteCcy": "",
            "ctVal": "10",
            "ctMult": "1", "ctType": "linear", "settleCcy": "USDT", "state": "live", **change}


def spot(symbol: str = "SOMI-USDT", **change: str) -> dict[str, str]:
    base, _, quote = symbol.partition("-")
    return {"instType": "SPOT", "instId": symbol, "instFamily": "", "uly": "", "baseCcy": base, "quoteCcy": quote, "ctVal": "",
            "ctMult": "", "ctType": "", "settleCcy": "", "state": "live", **change}


def listed(*instruments: dict[str, str]) -> bytes:
    return json.dumps({"code": "0", "msg": "", "data": instruments}).encode()


def test_a_frame_becomes_a_trade_with_the_takers_side():
    assert decoded(SPOT, FRAME) == [{
        "exchange": "okx", "market_type": "spot", "symbol": "SOMI-USDT", "side": "sell", "price": 0.8123, "quantity": 120.5,
        "trade_id": "7712345", "sequence_number": None, "timestamp": 1762000000123000000}]


def test_contracts_are_multiplied_by_both_factors_exactly():
    frame = changed(FRAME, instId="PEPE-USDT-SWAP", sz="0.3")
    body = listed(swap(ctVal="0.1", ctMult="10000000"))
    assert decoded(FUTURES, frame, instruments=body)[0]["quantity"] == 300_000
    assert decoded(FUTURES, changed(FRAME, instId="BTC-USDT-SWAP", sz="0.03"),
                   instruments=listed(swap("BTC-USDT-SWAP", ctVal="0.01")))[0]["quantity"] == 0.0003


def test_the_trades_of_a_frame_are_counted_together():
    several = {**FRAME, "data": [TRADE, TRADE | {"tradeId": "7712346"}]}
    columns = columns_of(SPOT, payload(several), payload(FRAME))
    assert columns.trade_id == [7712345, 7712346, 7712345] and columns.counts == [2, 1]


def test_joined_fills_of_the_other_channel_are_flagged_with_the_last_id():
    joined = {"arg": {"channel": "trades", "instId": "SOMI-USDT"}, "data": [TRADE | {"count": "3"}]}
    columns = columns_of(SPOT, payload(joined), payload(FRAME))
    assert columns.flags == {0: Flag.AGGREGATED} and columns.trade_id[0] == 7712345


@pytest.mark.parametrize(("frame", "kind", "number", "symbols"), [
    (b"pong", ControlKind.PONG, None, ()),
    (ACK, ControlKind.ACK, 3, ("SOMI-USDT",)),
    (ACK | {"event": "unsubscribe"}, ControlKind.ACK, 3, ("SOMI-USDT",)),
    ({"id": "4", "event": "error", "code": "60018", "msg": NO_SUCH, "connId": "x"}, ControlKind.REFUSAL, 4, ("NOPE-USDT",)),
    ({"id": "4", "event": "error", "code": "60012", "msg": 'Invalid request: {"args":[{"instId":"A-USDT"},{"instId":"B-USDT"}]}'},
     ControlKind.REFUSAL, 4, ()),
    ({"event": "error", "code": "60012", "msg": "Invalid request"}, ControlKind.REFUSAL, None, ()),
    ({"event": "notice", "code": "64008", "msg": "service upgrade"}, ControlKind.RECONNECT, None, ()),
    ({"event": "notice", "code": "1", "msg": "hello"}, ControlKind.OTHER, None, ()),
    ({"event": "channel-conn-count", "channel": "trades-all", "connCount": "1"}, ControlKind.OTHER, None, ()),
    ({"arg": {"channel": "books", "instId": "A-USDT"}, "data": [{"asks": []}]}, ControlKind.OTHER, None, ()),
    ({"arg": {"channel": "public-block-trades", "instId": "A-USDT"}, "data": [TRADE]}, ControlKind.OTHER, None, ()),
    ({"table": "spot/ticker", "data": []}, ControlKind.OTHER, None, ()),
])
def test_control_frames_are_understood(frame, kind, number, symbols):
    assert outcome(SPOT, payload(frame)) == "control"
    control = SPOT.read_control(payload(frame))
    assert (control.kind, control.request_id, control.symbols) == (kind, number, symbols)


@pytest.mark.parametrize("frame", [b"", b"ping", b"[1]", b"7", b"null", b"<html>", b'{"event":5}', b'{"table":"spot/trade"}',
                                   b'"x"'])
def test_a_frame_that_is_neither_trade_nor_control_is_quarantined(frame):
    assert outcome(SPOT, frame) == "quarantined"


@pytest.mark.parametrize("change", [
    {"px": "nan"}, {"px": "1e400"}, {"px": "-1"}, {"px": "0"}, {"sz": "0"}, {"sz": "-2"}, {"sz": "inf"}, {"px": None}, {"px": []},
    {"px": "abc"}, {"ts": "1762000000"}, {"ts": "1762000000123456"}, {"ts": "9999999999999"}, {"ts": "soon"}, {"tradeId": "-1"},
    {"tradeId": str(2**63)}, {"tradeId": None}, {"tradeId": ""}, {"tradeId": ...}, {"instId": None}, {"instId": 5},
    {"side": "hold"},
    {"side": None}, {"side": ...}, {"sz": ...}, {"ts": ...},
])
def test_a_frame_with_an_impossible_value_is_quarantined_with_a_reason(change):
    assert outcome(SPOT, changed(FRAME, **change)) == "quarantined"


@pytest.mark.parametrize("frame", [{**FRAME, "data": []}, {**FRAME, "data": TRADE}, {"data": [TRADE]}, {**FRAME, "data": [[]]}])
def test_a_frame_of_another_shape_is_quarantined(frame):
    assert outcome(SPOT, payload(frame)) == "quarantined"


def test_numbers_may_be_unquoted_or_have_exponents_and_unknown_fields_are_ignored():
    (trade,) = decoded(SPOT, changed(FRAME, px=8.123e-1, sz="1.205e2", tradeId=7712345, ts=1762000000123, seqId=5, new={"a": []}))
    assert (trade["price"], trade["quantity"], trade["trade_id"]) == (0.8123, 120.5, "7712345")


def test_symbols_of_any_spelling_pass():
    for symbol in ("A/B", "币安人生-USDT", "x" * 200, "\u0000"):
        assert decoded(SPOT, changed(FRAME, instId=symbol))[0]["symbol"] == symbol


def test_damaged_frames_never_raise_and_each_is_a_trade_control_or_quarantined():
    damage(FUTURES, [FRAME, ACK, b"pong", {"event": "error", "code": "60018", "msg": NO_SUCH}], 20_000)


@given(st.decimals(min_value=Decimal("1e-12"), max_value=Decimal("1e12"), allow_nan=False,
                   allow_infinity=False).map("{:f}".format))
def test_digits_become_the_very_float_that_python_makes_of_them(text):
    columns = columns_of(SPOT, changed(FRAME, px=text, sz=text))
    assert columns.price == columns.quantity == [float(text)]


def test_only_live_symbols_against_usdt_are_listed():
    body = listed(spot(), spot("ETH-BTC"), spot("OLD-USDT", state="suspend"), spot("NEW-USDT", state="preopen"))
    (found,) = SPOT.parse_instruments([body])
    assert (found.symbol, found.base, found.quote, found.contract_size) == ("SOMI-USDT", "SOMI", "USDT", 1.0)


def test_a_swap_has_its_base_from_its_family_or_underlying_and_its_size_from_both_factors():
    found = FUTURES.parse_instruments([listed(
        swap(ctVal="0.1", ctMult="100"), swap("BTC-USDT-SWAP", instFamily=""), swap("1000X-USDT-SWAP"),
        swap("BTC-USD-SWAP", ctType="inverse", settleCcy="BTC"), swap("ETH-USDC-SWAP", settleCcy="USDC"),
        swap("A-USDT-SWAP", state="test"), swap("BTC-USDT-260925", instType="FUTURES"))])
    assert [(each.symbol, coin_of(each), each.multiplier, each.contract_size) for each in found] == [
        ("PEPE-USDT-SWAP", "PEPE", 1, 10.0), ("BTC-USDT-SWAP", "BTC", 1, 10.0), ("1000X-USDT-SWAP", "X", 1000, 10.0)]


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"{}", b'{"code":"50011","msg":"Too Many Requests","data":[]}',
                                  b'{"code":"0","data":[{"instId":"A-USDT"}]}', b'{"code":"0","data":["x"]}',
                                  b'{"code":"0","data":'])
def test_a_body_that_is_neither_list_nor_history_raises(body):
    with pytest.raises(REFUSALS):
        SPOT.parse_instruments([body])
    with pytest.raises(REFUSALS):
        historical(SPOT, body, "A-USDT")


def test_requests_keep_the_limits_and_ask_for_every_symbol_once():
    wanted = [f"COIN{number}WITHALONGNAME-USDT-SWAP" for number in range(240)]
    asked, subscriptions = [], Subscriptions(FUTURES, lambda symbol, reason: None)
    subscriptions.want(wanted, add=True)
    while subscriptions.waiting:
        text = subscriptions.next_text(0.0)
        request = json.loads(text)
        assert len(text.encode()) <= 4096 and request["op"] == "subscribe" and request["id"].isalnum()
        assert {argument["channel"] for argument in request["args"]} == {"trades-all"}
        asked += [argument["instId"] for argument in request["args"]]
    assert asked == sorted(wanted)


def test_a_rejected_symbol_of_a_request_costs_no_other():
    rejected = []
    subscriptions = Subscriptions(SPOT, lambda symbol, reason: rejected.append(symbol))
    subscriptions.want(["A-USDT", "B-USDT", "C-USDT"], add=True)
    number = json.loads(subscriptions.next_text(0.0))["id"]
    for frame in (ACK | {"id": number, "arg": {"channel": "trades-all", "instId": "A-USDT"}},
                  {"id": number, "event": "error", "code": "60018", "msg": NO_SUCH.replace("NOPE", "B")},
                  ACK | {"id": number, "arg": {"channel": "trades-all", "instId": "C-USDT"}}):
        subscriptions.answer(SPOT.read_control(payload(frame)))
    assert rejected == ["B-USDT"] and subscriptions.granted == {"A-USDT", "C-USDT"} and subscriptions.settled


def test_history_is_requested_by_id_or_by_time_up_to_the_last_wanted():
    by_id = SPOT.history_request(HistoryQuery("SOMI-USDT", 0, 0, first_id=10, last_id=99))
    assert (by_id.path, by_id.params["type"], by_id.params["after"]) == ("/api/v5/market/history-trades", 1, 100)
    by_time = SPOT.history_request(HistoryQuery("SOMI-USDT", 0, 1_762_000_000_123_456_789))
    assert (by_time.params["type"], by_time.params["after"]) == (2, 1762000000124)


@pytest.mark.parametrize("body", [b"", b"[]", b'{"code":"51001","data":[],"msg":"no"}', b'{"code":"0","data":[["0","1"]]}',
                                  b'{"code":"0","data":[["0","1","1","1","1","1","1","1","2"]]}'])
def test_a_body_that_is_not_candles_raises(body):
    with pytest.raises(REFUSALS):
        SPOT.candles.parse(body, Instrument(symbol="SOMI-USDT", base="SOMI", quote="USDT"))


def test_history_has_the_same_trades_as_the_stream():
    body = json.dumps({"code": "0", "msg": "", "data": [TRADE, TRADE | {"tradeId": "7712344"}]}).encode()
    assert historical(SPOT, body, "SOMI-USDT")[0] == comparable(decoded(SPOT, FRAME))[0]


def test_the_ping_is_the_bare_word():
    assert SPOT.heartbeat.text(0) == "ping" and SPOT.heartbeat.interval_s < 30


@needs_corpus
def test_recorded_frames_give_what_is_expected_and_control_frames_nothing():
    assert compare_recorded_frames("okx", VENUES) > 20
    assert read_recorded_control("okx", VENUES) > 30


@needs_corpus
def test_recorded_lists_and_histories_are_read():
    folder = CORPUS / "rest_symbols"
    spots = SPOT.parse_instruments([gzip.decompress((folder / "okx_instruments_SPOT_20220513.json.gz").read_bytes())])
    swaps = FUTURES.parse_instruments([(folder / "okx_instruments_SWAP_20220513.json").read_bytes()])
    assert (len(spots), len(swaps)) == (350, 126)
    assert all(listed.base and listed.contract_size > 0 for listed in spots + swaps)
    assert not FUTURES.parse_instruments([(folder / "okx_instruments_FUTURES_20220513.json").read_bytes()])
    for path in sorted((CORPUS / "rest_trades").glob("okx_*.expected.json")):
        body = path.with_name(path.name.replace(".expected", "")).read_bytes()
        assert historical(SPOT, body, "BTC-USDT") == expected(json.loads(path.read_bytes()))
