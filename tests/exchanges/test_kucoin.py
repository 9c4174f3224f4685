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
from pumpwatch.model import ControlKind, Flag, HistoryQuery
from tests.corpus import CORPUS, needs_corpus, rows
from tests.exchanges.venues import changed, columns_of, comparable, decoded, historical, mutate, outcome, payload, recorded

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


def test_lots_become_base_units_to_the_digit():
    (trade,) = decoded(FUTURES, FUTURE, instruments=answer([CONTRACT]))
    assert (trade["symbol"], trade["quantity"], trade["timestamp"]) == ("XBTUSDTM", 0.003, NS)


def test_ids_that_are_words_are_kept_as_text_also_beside_numbers():
    (trade,) = decoded(SPOT, changed(FRAME, tradeId=WORD))
    assert trade["trade_id"] == WORD
    assert columns_of(SPOT, payload(FRAME), changed(FRAME, tradeId=WORD)).trade_id == ["12067996711960577", WORD]
    assert decoded(SPOT, changed(FRAME, tradeId=str(2**70)))[0]["trade_id"] == str(2**70)


@pytest.mark.parametrize("bad", ["-1", "", "4 5"])
def test_an_id_that_is_neither_is_refused_also_beside_a_word(bad):
    for frame in (FRAME, changed(FRAME, tradeId=WORD)):
        with pytest.raises(BadFrame):
            columns_of(SPOT, changed(FRAME, tradeId=bad), payload(frame))


def test_the_tokenless_protocol_is_read_by_either_variant():
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
def test_what_is_no_trade_is_understood(frame, kind, number):
    assert outcome(SPOT, payload(frame)) == "control"
    control = SPOT.read_control(payload(frame))
    if kind != ControlKind.WELCOME:
        assert control.request_id in (number, 9)
    assert control.kind == kind


@pytest.mark.parametrize("frame", [b"", b"pong", b"[1]", b"7", b"null", b"<html>", b"{}", b'{"type":5}',
                                   b'{"subject":"match"}', b'"x"'])
def test_garbage_is_refused(frame):
    assert outcome(SPOT, frame) == "refused"


@pytest.mark.parametrize("change", [
    {"price": "nan"}, {"price": "1e400"}, {"price": "-1"}, {"price": "0"}, {"price": None}, {"price": []}, {"price": "abc"},
    {"size": "0"}, {"size": -2}, {"size": "inf"}, {"size": ...}, {"time": "1762000000"}, {"time": "1762000000123"},
    {"time": str(9 * 10**18)}, {"time": "soon"}, {"time": ...}, {"tradeId": "-1"}, {"tradeId": None}, {"tradeId": ""},
    {"tradeId": ...}, {"symbol": None}, {"symbol": 5}, {"side": "hold"}, {"side": None}, {"side": ...}, {"sequence": "x"},
    {"sequence": str(2**64)},
])
def test_a_classic_frame_with_an_impossible_value_is_refused_with_a_reason(change):
    assert outcome(SPOT, changed(FRAME, **change)) == "refused"


@pytest.mark.parametrize("change", [
    {"p": "nan"}, {"q": "0"}, {"M": 1762000000}, {"ti": "-7"}, {"ti": ""}, {"S": "hold"}, {"s": None}, {"S": ...},
    {"ti": ...}, {"M": ...},
])
def test_a_tokenless_frame_with_an_impossible_value_is_refused_with_a_reason(change):
    assert outcome(TOKENLESS_SPOT, changed(PUSH, **change)) == "refused"


def test_numbers_may_be_numbers_and_exponents_and_fields_may_come_on_top():
    (trade,) = decoded(SPOT, changed(FRAME, price=8.123e-1, size="1.205e2", tradeId=12067996711960577, time=NS, sequence=5,
                                     new=[{}]))
    assert (trade["price"], trade["quantity"], trade["trade_id"]) == (0.8123, 120.5, "12067996711960577")


def test_symbols_of_any_spelling_pass():
    for symbol in ("A/B", "币安人生-USDT", "x" * 200, "\u0000"):
        assert decoded(SPOT, changed(FRAME, symbol=symbol))[0]["symbol"] == symbol


def test_mutated_frames_never_crash_and_each_is_a_trade_control_or_refused():
    mutate(FUTURES, [FRAME, FUTURE, PUSH, changed(FRAME, tradeId=WORD), {"id": "5", "type": "ack"}], 20_000)


@given(st.decimals(min_value=Decimal("1e-12"), max_value=Decimal("1e12"), allow_nan=False,
                   allow_infinity=False).map("{:f}".format))
def test_digits_become_the_very_float_that_python_makes_of_them(text):
    for columns in (columns_of(SPOT, changed(FRAME, price=text, size=text)), columns_of(SPOT, changed(PUSH, p=text, q=text))):
        assert columns.price == columns.quantity == [float(text)]


def test_only_what_trades_against_usdt_is_listed_and_a_renamed_coin_has_its_new_name():
    body = answer([SYMBOL, SYMBOL | {"symbol": "BCHSV-USDT", "baseCurrency": "BSV"}, SYMBOL | {"enableTrading": False},
                   SYMBOL | {"quoteCurrency": "BTC"}])
    assert [(one.symbol, one.base) for one in SPOT.parse_instruments([body])] == [("SOMI-USDT", "SOMI"), ("BCHSV-USDT", "BSV")]


def test_contracts_that_are_dated_inverse_or_closed_are_left_out_and_xbt_is_btc():
    others = [{"type": "FFICSX"}, {"isInverse": True}, {"status": "Paused"}, {"settleCurrency": "USDC", "quoteCurrency": "USDC"}]
    names = {"1MBABYDOGEUSDTM": "1MBABYDOGE", "1000XUSDTM": "1000X", "10000CATUSDTM": "10000CAT", "PEPEUSDTM": "PEPE"}
    body = answer([CONTRACT, *(CONTRACT | one for one in others),
                   *(CONTRACT | {"symbol": symbol, "baseCurrency": base, "multiplier": 100} for symbol, base in names.items())])
    found = FUTURES.parse_instruments([body])
    assert (found[0].symbol, found[0].base, found[0].contract_size, found[0].volume) == ("XBTUSDTM", "BTC", 0.001, 5.5e8)
    assert [(coin_of(one), one.multiplier, one.contract_size) for one in found[1:]] == [
        ("BABYDOGE", 1_000_000, 100.0), ("X", 1000, 100.0), ("CAT", 10_000, 100.0), ("PEPE", 1, 100.0)]


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"{}", b'{"code":"429000","msg":"too many requests"}',
                                  b'{"code":"200000","data":[5]}',
                                  b'{"code":"200000","data":[{"symbol":"A"}]}', b'{"code":"200000","data":'])
def test_what_is_no_list_no_history_and_no_token_is_a_clear_refusal(body):
    for read in (lambda: SPOT.parse_instruments([body]), lambda: historical(SPOT, body, "A-USDT"),
                 lambda: SPOT.session.url(body, SPOT.ws_url, "1")):
        with pytest.raises(REFUSALS):
            read()


def test_each_connection_has_a_token_and_a_number_of_its_own():
    session = SPOT.session
    assert (session.request.method, session.request.path, session.welcome) == ("POST", "/api/v1/bullet-public", True)
    address = urlsplit(session.url(json.dumps(TOKEN).encode(), SPOT.ws_url, "42"))
    assert (address.netloc, address.path, parse_qs(address.query)) == (
        "ws-7.example", "/endpoint", {"token": ["a+b/c=="], "connectId": ["42"]})


def test_an_address_of_the_config_goes_before_the_one_that_comes_with_the_token():
    assert SPOT.session.url(json.dumps(TOKEN).encode(), "wss://127.0.0.1:9/", "1").startswith("wss://127.0.0.1:9/?token=a%2Bb")
    strange = json.loads(json.dumps(TOKEN))
    strange["data"]["instanceServers"][0]["endpoint"] = "http://ws-7.example"
    with pytest.raises(BadFrame):
        SPOT.session.url(json.dumps(strange).encode(), SPOT.ws_url, "1")


def test_the_tokenless_protocol_asks_for_no_token_and_waits_for_the_welcome():
    session = TOKENLESS_SPOT.session
    assert session.request is None and session.welcome
    assert session.url(b"", "wss://127.0.0.1:9/tokenless", "1") == "wss://127.0.0.1:9/tokenless"


@pytest.mark.parametrize("venue", VENUES, ids=lambda venue: f"{venue.name}:{venue.variant}")
def test_requests_keep_the_limits_and_every_symbol_is_asked_for_once(venue):
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


def test_pings_have_an_id_each_and_come_in_time():
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
@pytest.mark.parametrize("venue", VENUES, ids=lambda venue: f"{venue.name}:{venue.variant}")
def test_every_recorded_frame_gives_exactly_what_is_expected(venue):
    checked = 0
    for raw, expected in recorded("kucoin", venue.market_type):
        assert comparable(decoded(venue, raw)) == expected, raw
        checked += 1
    assert checked >= 5


@needs_corpus
def test_recorded_control_frames_give_no_trade():
    frames = [row["raw"] for row in rows("control.jsonl") if row["exchange"] == "kucoin"]
    assert len(frames) > 20
    for raw in frames:
        assert decoded(FUTURES, raw) == [] == decoded(SPOT, raw)


@needs_corpus
def test_recorded_lists_and_histories_are_read():
    folder = CORPUS / "rest_symbols"
    spot = SPOT.parse_instruments([gzip.decompress((folder / "kucoin_symbols_20210425.json.gz").read_bytes())])
    assert len(spot) == 227 and {"BCHSV-USDT": "BSV"}.items() <= {one.symbol: one.base for one in spot}.items()
    sizes = [{(one.symbol, one.base, one.contract_size) for one in FUTURES.parse_instruments([(folder / name).read_bytes()])}
             for name in ("kucoin_contracts_active_roq.json", "kucoin_ua_instrument_futures_roq.json")]
    assert ("XBTUSDTM", "BTC", 0.001) in sizes[0] & sizes[1]
    for path in sorted((CORPUS / "rest_trades").glob("kucoin_*.expected.json")):
        expected = [(Decimal(one["price"]), Decimal(one["quantity"]), one["side"], one["trade_id"], one["timestamp_ns"])
                    for one in json.loads(path.read_bytes())]
        body = path.with_name(path.name.replace(".expected", "")).read_bytes()
        assert [row[1:] for row in historical(SPOT, body, "X")] == expected
