"""KuCoin: tokens, two protocols, ids that are numbers or words."""

from __future__ import annotations

import gzip
import json
from decimal import Decimal
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pumpwatch_plugins.exchanges.kucoin import VENUES

from pumpwatch.catalogue import coin_of
from pumpwatch.errors import REFUSALS, BadFrame
from pumpwatch.feeds.subscriptions import Subscriptions
from pumpwatch.model import ControlKind, Flag
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

SPOT, FUTURES, TOKENLESS_SPOT, TOKENLESS_FUTURES = VENUES
NS = 1_762_000_000_123_456_789
FRAME = {"topic": "/market/match:SOMI-USDT", "type": "message", "subject": "trade.l3match", "data": {
    "makerOrderId": "690000000000000000000001", "price": "0.8123", "sequence": "12067996711960577", "side": "sell",
    "size": "120.5", "symbol": "SOMI-USDT", "takerOrderId": "690000000000000000000002", "time": str(NS),
    "tradeId": "12067996711960577", "type": "match"}}
FUTURE = {"topic": "/contractMarket/execution:XBTUSDTM", "type": "message", "subject": "match", "sn": 1994100537695,
          "data": {"symbol": "XBTUSDTM", "sequence": 1994100537695, "side": "buy", "size": 3, "price": "90001.5",
                   "tradeId": "1994100537695", "ts": NS}}
PUSH = {"T": "trade.SPOT", "P": NS + 9, "d": {"E": 24021490985222999, "M": NS, "S": "buy", "p": "0.8123", "q": "7",
                                              "s": "SOMI-USDT", "ti": "24021490985222999"}}
WORD = "6091a09769bc506996295eff"
CONTRACT = {"symbol": "XBTUSDTM", "type": "FFWCSX", "baseCurrency": "XBT", "quoteCurrency": "USDT", "settleCurrency": "USDT",
            "multiplier": 0.001, "isInverse": False, "status": "Open", "turnoverOf24h": 5.5e8}
SYMBOL = {"symbol": "SOMI-USDT", "name": "SOMI-USDT", "baseCurrency": "SOMI", "quoteCurrency": "USDT", "enableTrading": True}
TOKEN = {"code": "200000", "data": {"token": "a+b/c==", "instanceServers": [
    {"endpoint": "wss://ws-7.example/endpoint", "pingInterval": 18000}]}}


def answer(data) -> bytes:
    return json.dumps({"code": "200000", "data": data}).encode()


def test_a_spot_frame_becomes_a_trade_with_the_takers_side():
    assert decoded(SPOT, FRAME) == [{
        "exchange": "kucoin", "market_type": "spot", "symbol": "SOMI-USDT", "side": "sell", "price": 0.8123, "quantity": 120.5,
        "trade_id": "12067996711960577", "sequence_number": 12067996711960577, "timestamp": NS}]


def test_lots_become_base_units_exactly():
    (trade,) = decoded(FUTURES, FUTURE, instruments=answer([CONTRACT]))
    assert (trade["symbol"], trade["quantity"], trade["timestamp"]) == ("XBTUSDTM", 0.003, NS)


def test_ids_that_are_words_are_kept_as_text_and_so_are_numbers_beside_them():
    (trade,) = decoded(SPOT, changed(FRAME, tradeId=WORD))
    assert trade["trade_id"] == WORD
    assert columns_of(SPOT, payload(FRAME), changed(FRAME, tradeId=WORD)).trade_id == ["12067996711960577", WORD]
    assert decoded(SPOT, changed(FRAME, tradeId=str(2**70)))[0]["trade_id"] == str(2**70)


@pytest.mark.parametrize("bad", ["-1", "", "4 5"])
def test_an_id_that_is_neither_number_nor_word_raises_alone_and_beside_a_word(bad):
    for frame in (FRAME, changed(FRAME, tradeId=WORD)):
        with pytest.raises(BadFrame):
            columns_of(SPOT, changed(FRAME, tradeId=bad), payload(frame))


def test_either_variant_reads_both_protocols():
    for venue in (SPOT, TOKENLESS_SPOT):
        (trade,) = decoded(venue, PUSH)
        assert (trade["side"], trade["quantity"], trade["trade_id"], trade["timestamp"]) == ("buy", 7.0, "24021490985222999", NS)
    assert columns_of(TOKENLESS_FUTURES, changed(PUSH, rpi=True), payload(PUSH)).flags == {0: Flag.RPI}
    assert decoded(TOKENLESS_SPOT, changed(PUSH, ti=WORD))[0]["trade_id"] == WORD
    assert decoded(TOKENLESS_SPOT, FRAME)[0]["trade_id"] == "12067996711960577"


@pytest.mark.parametrize(("frame", "kind", "number"), [
    ({"id": "17", "type": "welcome"}, ControlKind.WELCOME, None),
    ({"sessionId": "x", "message": "welcome", "pingInterval": 18000}, ControlKind.WELCOME, None),
    ({"id": "5", "type": "ack"}, ControlKind.ACK, 5),
    ({"id": "5", "result": True}, ControlKind.ACK, 5),
    ({"id": "5", "result": False, "msg": "no"}, ControlKind.REFUSAL, 5),
    ({"id": "5", "type": "error", "code": 404, "data": "topic /market/mtch is not found"}, ControlKind.REFUSAL, 5),
    ({"id": "5", "type": "error", "code": 509, "data": "exceed max subscription count limitation of 400 per session"},
     ControlKind.FULL, 5),
    ({"id": "5", "type": "error", "code": 509, "data": "exceed max symbols count limitation of 100 per topic"},
     ControlKind.REFUSAL, 5),
    ({"id": "x", "type": "error", "code": 401, "data": "token is expired"}, ControlKind.REFUSAL, None),
    ({"id": "9", "type": "pong", "timestamp": 1}, ControlKind.PONG, None),
    ({"type": "message", "topic": "/market/ticker:A-USDT", "subject": "trade.ticker", "data": {}}, ControlKind.OTHER, None),
    ({"T": "kline.SPOT", "d": {}}, ControlKind.OTHER, None),
    ({"type": "notice", "data": "hello"}, ControlKind.OTHER, None),
])
def test_control_frames_are_understood(frame, kind, number):
    assert outcome(SPOT, payload(frame)) == "control"
    control = SPOT.read_control(payload(frame))
    if kind != ControlKind.WELCOME:
        assert control.request_id in (number, 9)
    assert control.kind == kind


@pytest.mark.parametrize("frame", [b"", b"pong", b"[1]", b"7", b"null", b"<html>", b"{}", b'{"type":5}',
                                   b'{"subject":"match"}', b'"x"'])
def test_a_frame_that_is_neither_trade_nor_control_is_quarantined(frame):
    assert outcome(SPOT, frame) == "quarantined"


@pytest.mark.parametrize("change", [
    {"price": "nan"}, {"price": "1e400"}, {"price": "-1"}, {"price": "0"}, {"price": None}, {"price": []}, {"price": "abc"},
    {"size": "0"}, {"size": -2}, {"size": "inf"}, {"size": ...}, {"time": "1762000000"}, {"time": "1762000000123"},
    {"time": str(9 * 10**18)}, {"time": "soon"}, {"time": ...}, {"tradeId": "-1"}, {"tradeId": None}, {"tradeId": ""},
    {"tradeId": ...}, {"symbol": None}, {"symbol": 5}, {"side": "hold"}, {"side": None}, {"side": ...}, {"sequence": "x"},
    {"sequence": str(2**64)},
])
def test_a_classic_frame_with_an_impossible_value_is_quarantined_with_a_reason(change):
    assert outcome(SPOT, changed(FRAME, **change)) == "quarantined"


@pytest.mark.parametrize("change", [
    {"p": "nan"}, {"q": "0"}, {"M": 1762000000}, {"ti": "-7"}, {"ti": ""}, {"S": "hold"}, {"s": None}, {"S": ...},
    {"ti": ...}, {"M": ...},
])
def test_a_tokenless_frame_with_an_impossible_value_is_quarantined_with_a_reason(change):
    assert outcome(TOKENLESS_SPOT, changed(PUSH, **change)) == "quarantined"


def test_numbers_may_be_unquoted_or_have_exponents_and_unknown_fields_are_ignored():
    (trade,) = decoded(SPOT, changed(FRAME, price=8.123e-1, size="1.205e2", tradeId=12067996711960577, time=NS, sequence=5,
                                     new=[{}]))
    assert (trade["price"], trade["quantity"], trade["trade_id"]) == (0.8123, 120.5, "12067996711960577")


def test_symbols_of_any_spelling_pass():
    for symbol in ("A/B", "币安人生-USDT", "x" * 200, "\u0000"):
        assert decoded(SPOT, changed(FRAME, symbol=symbol))[0]["symbol"] == symbol


def test_damaged_frames_never_raise_and_each_is_a_trade_control_or_quarantined():
    damage(FUTURES, [FRAME, FUTURE, PUSH, changed(FRAME, tradeId=WORD), {"id": "5", "type": "ack"}], 20_000)


@given(st.decimals(min_value=Decimal("1e-12"), max_value=Decimal("1e12"), allow_nan=False,
                   allow_infinity=False).map("{:f}".format))
def test_digits_become_the_very_float_that_python_makes_of_them(text):
    for columns in (columns_of(SPOT, changed(FRAME, price=text, size=text)), columns_of(SPOT, changed(PUSH, p=text, q=text))):
        assert columns.price == columns.quantity == [float(text)]


def test_only_symbols_that_trade_against_usdt_are_listed_and_a_renamed_coin_has_its_new_name():
    body = answer([SYMBOL, SYMBOL | {"symbol": "BCHSV-USDT", "baseCurrency": "BSV"}, SYMBOL | {"enableTrading": False},
                   SYMBOL | {"quoteCurrency": "BTC"}])
    assert [(listed.symbol, listed.base) for listed in SPOT.parse_instruments([body])] == [
        ("SOMI-USDT", "SOMI"), ("BCHSV-USDT", "BSV")]


def test_contracts_that_are_dated_inverse_or_closed_are_left_out_and_xbt_is_btc():
    others = [{"type": "FFICSX"}, {"isInverse": True}, {"status": "Paused"}, {"settleCurrency": "USDC", "quoteCurrency": "USDC"}]
    names = {"1MBABYDOGEUSDTM": "1MBABYDOGE", "1000XUSDTM": "1000X", "10000CATUSDTM": "10000CAT", "PEPEUSDTM": "PEPE"}
    body = answer([CONTRACT, *(CONTRACT | other for other in others),
                   *(CONTRACT | {"symbol": symbol, "baseCurrency": base, "multiplier": 100} for symbol, base in names.items())])
    found = FUTURES.parse_instruments([body])
    assert (found[0].symbol, found[0].base, found[0].contract_size, found[0].volume) == ("XBTUSDTM", "BTC", 0.001, 5.5e8)
    assert [(coin_of(listed), listed.multiplier, listed.contract_size) for listed in found[1:]] == [
        ("BABYDOGE", 1_000_000, 100.0), ("X", 1000, 100.0), ("CAT", 10_000, 100.0), ("PEPE", 1, 100.0)]


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"{}", b'{"code":"429000","msg":"too many requests"}',
                                  b'{"code":"200000","data":[5]}',
                                  b'{"code":"200000","data":[{"symbol":"A"}]}', b'{"code":"200000","data":'])
def test_a_body_that_is_neither_list_nor_history_nor_token_raises(body):
    for read in (lambda: SPOT.parse_instruments([body]), lambda: historical(SPOT, body, "A-USDT"),
                 lambda: SPOT.session.url(body, SPOT.ws_url, "1")):
        with pytest.raises(REFUSALS):
            read()


def test_each_connection_has_its_own_token_and_number():
    session = SPOT.session
    assert (session.request.method, session.request.path, session.welcome) == ("POST", "/api/v1/bullet-public", True)
    address = urlsplit(session.url(json.dumps(TOKEN).encode(), SPOT.ws_url, "42"))
    assert (address.netloc, address.path, parse_qs(address.query)) == (
        "ws-7.example", "/endpoint", {"token": ["a+b/c=="], "connectId": ["42"]})


def test_an_address_in_the_config_goes_before_the_one_that_comes_with_the_token():
    assert SPOT.session.url(json.dumps(TOKEN).encode(), "wss://127.0.0.1:9/", "1").startswith("wss://127.0.0.1:9/?token=a%2Bb")
    strange = json.loads(json.dumps(TOKEN))
    strange["data"]["instanceServers"][0]["endpoint"] = "http://ws-7.example"
    with pytest.raises(BadFrame):
        SPOT.session.url(json.dumps(strange).encode(), SPOT.ws_url, "1")


def test_the_tokenless_protocol_requests_no_token_and_waits_for_the_welcome():
    session = TOKENLESS_SPOT.session
    assert session.request is None and session.welcome
    assert session.url(b"", "wss://127.0.0.1:9/tokenless", "1") == "wss://127.0.0.1:9/tokenless"


@pytest.mark.parametrize("venue", VENUES, ids=lambda venue: f"{venue.name}:{venue.variant}")
def test_requests_keep_the_limits_and_ask_for_every_symbol_once(venue):
    wanted = [f"COIN{number}-USDT" for number in range(250)]
    asked, subscriptions = [], Subscriptions(venue, lambda symbol, reason: None)
    subscriptions.want(wanted, add=True)
    while subscriptions.waiting:
        request = json.loads(subscriptions.next_text(0.0))
        if venue.variant:
            assert (request["action"], request["channel"], request["tradeType"]) == ("SUBSCRIBE", "trade",
                                                                                     venue.market_type.upper())
            asked.append(request["symbol"])
        else:
            prefix, _, symbols = request["topic"].partition(":")
            assert prefix == {"spot": "/market/match", "futures": "/contractMarket/execution"}[venue.market_type]
            assert request["response"] is True and symbols.count(",") < 100
            asked += symbols.split(",")
        subscriptions.answer(venue.read_control(payload({"id": request["id"], "type": "ack"})))
    assert asked == sorted(wanted) and subscriptions.granted == set(wanted) and subscriptions.settled


def test_each_ping_has_its_own_id_and_comes_in_time():
    ping = json.loads(SPOT.heartbeat.text(NS))
    assert ping == {"id": str(NS), "type": "ping"} and SPOT.heartbeat.interval_s <= 18


def test_history_joins_with_the_live_trades_by_the_sequence():
    spot = [{"sequence": "12067996711960577", "price": "0.8123", "size": "120.5", "side": "sell", "time": NS}]
    assert historical(SPOT, answer(spot), "SOMI-USDT") == comparable(decoded(SPOT, FRAME))
    future = [{"sequence": 1994100537695, "tradeId": "1994100537695", "ts": NS, "size": 3, "price": "90001.5", "side": "buy"}]
    assert historical(FUTURES, answer(future), "XBTUSDTM") == comparable(decoded(FUTURES, FUTURE))
    assert SPOT.history_request(HistoryQuery("SOMI-USDT", 0, 1)).path == "/api/v1/market/histories"
    assert FUTURES.history_request(HistoryQuery("XBTUSDTM", 0, 1)).params == {"symbol": "XBTUSDTM"}


@needs_corpus
@pytest.mark.parametrize("venues", [VENUES[:2], VENUES[2:]], ids=["classic", "tokenless"])
def test_recorded_frames_give_what_is_expected_and_control_frames_nothing(venues):
    assert compare_recorded_frames("kucoin", venues) >= 10
    assert read_recorded_control("kucoin", venues) > 20


@needs_corpus
def test_recorded_lists_and_histories_are_read():
    folder = CORPUS / "rest_symbols"
    spot = SPOT.parse_instruments([gzip.decompress((folder / "kucoin_symbols_20210425.json.gz").read_bytes())])
    assert len(spot) == 227 and ("BCHSV-USDT", "BSV") in {(listed.symbol, listed.base) for listed in spot}
    for name in ("kucoin_contracts_active_roq.json", "kucoin_ua_instrument_futures_roq.json"):
        contracts = FUTURES.parse_instruments([(folder / name).read_bytes()])
        assert ("XBTUSDTM", "BTC", 0.001) in {(listed.symbol, listed.base, listed.contract_size) for listed in contracts}
    for path in sorted((CORPUS / "rest_trades").glob("kucoin_*.expected.json")):
        wanted = [trade[1:] for trade in expected(json.loads(path.read_bytes()))]
        body = path.with_name(path.name.replace(".expected", "")).read_bytes()
        assert [trade[1:] for trade in historical(SPOT, body, "X")] == wanted
