"""Bybit: UUIDs and numbers that skip, rejected requests, paged lists, requests within the limits."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from pumpwatch_plugins.exchanges.bybit import VENUES

from pumpwatch.catalogue import coin_of
from pumpwatch.errors import REFUSALS
from pumpwatch.feeds.subscriptions import Subscriptions
from pumpwatch.instruments.lists import fetch_instruments, fetch_volumes
from pumpwatch.model import NO_SEQUENCE, Columns, ControlKind, Flag, Instrument
from pumpwatch.pipeline.decode import Decoder
from pumpwatch.venue import HistoryQuery, HttpRequest
from tests.corpus import CORPUS, needs_corpus
from tests.exchanges.decoding import compare_recorded_frames, compare_recorded_history, damage, read_recorded_control

SPOT, LINEAR = VENUES
UUIDS = ("5b1f9a70-11aa-5c3d-8e21-0f7c55d1a001", "5b1f9a70-11aa-5c3d-8e21-0f7c55d1a002")


def linear_trade(number: int = 0, **change: Any) -> dict[str, Any]:
    return {"T": 1790000000123, "s": "SOMIUSDT", "S": "Sell", "v": "12.5", "p": "0.8213", "L": "PlusTick", "i": UUIDS[number],
            "BT": False, "RPI": False, "seq": 987654321, **change}


def spot_trade(number: int = 2290000000060000001, **change: Any) -> dict[str, Any]:
    return {"i": str(number), "T": 1790000000456, "p": "61888.8", "v": "0.000123", "S": "Buy", "seq": 5, "s": "BTCUSDT",
            "BT": False, "RPI": False, **change}


def frame(*trades: dict[str, Any], **change: Any) -> bytes:
    return json.dumps({"topic": f"publicTrade.{trades[0]['s']}", "type": "snapshot", "ts": 1790000000124, "data": trades,
                       **change}).encode()


def parsed(venue: Any, *frames: bytes) -> Columns:
    columns = Columns()
    venue.parse(b"[" + b",".join(frames) + b"]", columns)
    return columns


def test_a_linear_frame_of_several_trades_keeps_their_ids_sequence_and_flags() -> None:
    columns = parsed(LINEAR, frame(linear_trade(0, RPI=True), linear_trade(1, S="Buy", BT=True, RPI=True)), frame(linear_trade()))
    assert columns.trade_id == [UUIDS[0], UUIDS[1], UUIDS[0]]
    assert (columns.counts, columns.sell) == ([2, 1], [True, False, True])
    assert columns.flags == {0: Flag.RPI, 1: Flag.BLOCK | Flag.RPI}
    assert columns.sequence_number == [987654321] * 3
    assert (columns.quantity, columns.price, columns.timestamp) == ([12.5] * 3, [0.8213] * 3, [1790000000123] * 3)
    assert not columns.past  # the venue calls live frames `snapshot`


def test_spot_ids_are_numbers_and_old_frames_without_a_sequence_have_none() -> None:
    trade = spot_trade()
    del trade["seq"], trade["RPI"]
    columns = parsed(SPOT, frame(trade))
    assert (columns.trade_id, columns.sequence_number) == ([2290000000060000001], [NO_SEQUENCE])
    (printed,) = Decoder(SPOT).frame(frame(trade))
    assert (printed["trade_id"], printed["sequence_number"], printed["quantity"]) == ("2290000000060000001", None, 0.000123)


@pytest.mark.parametrize("change", [
    {"p": "nan"}, {"p": "1e400"}, {"p": "-1"}, {"p": "0"}, {"v": "0"}, {"v": "inf"}, {"p": None}, {"T": 1790000000},
    {"T": 1790000000123000}, {"T": 99999999999999}, {"i": 2**63}, {"i": None}, {"i": ""}, {"s": None}, {"s": 5}, {"S": "sell"},
    {"S": None}, {"p": "abc"}, {"p": []}, {"T": "soon"}, {"seq": 2**63}, {"BT": "maybe"},
])
@pytest.mark.parametrize("venue", VENUES, ids=lambda venue: venue.market_type)
def test_an_impossible_value_is_quarantined_with_a_reason(venue: Any, change: dict[str, Any]) -> None:
    decoder = Decoder(venue)
    trade = spot_trade(**change) if venue is SPOT else linear_trade(**change)
    assert decoder.frame(json.dumps({"topic": "publicTrade.X", "type": "snapshot", "ts": 1, "data": [trade]}).encode()) == []
    assert len(decoder.refused) == 1 and decoder.refused[0][1]


def test_a_bad_trade_does_not_cost_the_good_ones_of_its_frame() -> None:
    decoder = Decoder(LINEAR)
    (trade,) = decoder.frame(frame(linear_trade(0), linear_trade(1, v="0")))
    assert trade["trade_id"] == UUIDS[0] and len(decoder.refused) == 1


@pytest.mark.parametrize("symbol", ["A/B", "币安人生USDT", "X" * 200, "\u0000", "1000PEPEUSDT"])
def test_symbols_of_any_spelling_pass(symbol: str) -> None:
    (trade,) = Decoder(LINEAR).frame(frame(linear_trade(s=symbol)))
    assert trade["symbol"] == symbol


@pytest.mark.parametrize(("text", "kind", "number", "symbols"), [
    ('{"success":true,"ret_msg":"subscribe","conn_id":"c","req_id":"12","op":"subscribe"}', ControlKind.ACK, 12, ()),
    ('{"success":true,"ret_msg":"","conn_id":"c","req_id":"","op":"subscribe"}', ControlKind.ACK, None, ()),
    ('{"success":false,"ret_msg":"args size >10","conn_id":"c","req_id":"3","op":"subscribe"}', ControlKind.REFUSAL, 3, ()),
    ('{"success":false,"ret_msg":"error:handler not found,topic:publicTrade.NOPEUSDT","req_id":"4","op":"subscribe"}',
     ControlKind.REFUSAL, 4, ("NOPEUSDT",)),
    ('{"success":false,"ret_msg":"error:already subscribed,topic:publicTrade.BTCUSDT","req_id":"5","op":"subscribe"}',
     ControlKind.ACK, 5, ("BTCUSDT",)),
    ('{"success":true,"ret_msg":"pong","conn_id":"c","req_id":"7","op":"ping"}', ControlKind.PONG, None, ()),
    ('{"req_id":"7","op":"pong","args":["1790000000123"],"conn_id":"c"}', ControlKind.PONG, None, ()),
    ('{"topic":"tickers.BTCUSDT","type":"delta","data":{"symbol":"BTCUSDT"}}', ControlKind.OTHER, None, ()),
    ('{"topic":"publicTrade.BTCUSDT","type":"snapshot","ts":1,"data":[]}', ControlKind.OTHER, None, ()),
])
def test_control_frames_are_understood(text: str, kind: ControlKind, number: int | None,
                                                  symbols: tuple[str, ...]) -> None:
    control = LINEAR.read_control(text.encode())
    assert control is not None
    assert (control.kind, control.request_id, control.symbols) == (kind, number, symbols)


@pytest.mark.parametrize("text", ["[]", "null", '"x"', "{}", '{"topic":5}',
                                  '{"topic":"publicTrade.X","data":{}}', '{"success":"yes"}'])
def test_a_frame_that_is_neither_trade_nor_control_is_not_guessed(text: str) -> None:
    assert LINEAR.read_control(text.encode()) is None


def test_a_rejected_request_drops_the_named_symbol_and_asks_again_for_the_rest() -> None:
    rejected: list[str] = []
    asking = Subscriptions(SPOT, lambda symbol, reason: rejected.append(symbol))
    asking.want(["AUSDT", "NOPEUSDT", "ZUSDT"], add=True)
    number = json.loads(asking.next_text(0.0))["req_id"]
    control = SPOT.read_control(json.dumps({"success": False, "req_id": number, "op": "subscribe",
                                            "ret_msg": "error:handler not found,topic:publicTrade.NOPEUSDT"}).encode())
    assert control is not None
    asking.answer(control)
    assert rejected == ["NOPEUSDT"]
    assert json.loads(asking.next_text(1.0))["args"] == ["publicTrade.AUSDT", "publicTrade.ZUSDT"]


def test_requests_keep_the_limits() -> None:
    symbols = [f"1000000COIN{number:04d}USDT" for number in range(LINEAR.limits.symbols_per_connection)]  # as long as the longest
    assert len(json.dumps([f"publicTrade.{symbol}" for symbol in symbols], separators=(",", ":"))) < 21_000
    for venue, most_topics in ((SPOT, 10), (LINEAR, 100)):
        asking = Subscriptions(venue, lambda symbol, reason: None)
        asking.want(symbols[:100], add=True)
        while asking.waiting:
            request = json.loads(asking.next_text(0.0))
            assert request["op"] == "subscribe" and len(request["args"]) <= most_topics
    assert json.loads(SPOT.unsubscribe(["BTCUSDT"], 9)) == {"req_id": "9", "op": "unsubscribe", "args": ["publicTrade.BTCUSDT"]}
    assert LINEAR.heartbeat.text is not None
    assert json.loads(LINEAR.heartbeat.text(5)) == {"req_id": "5", "op": "ping"}
    assert LINEAR.limits.connection_age_s == math.inf


def instrument(symbol: str, base: str, **change: Any) -> dict[str, Any]:
    return {"symbol": symbol, "contractType": "LinearPerpetual", "status": "Trading", "baseCoin": base, "quoteCoin": "USDT",
            "settleCoin": "USDT", "deliveryTime": "0", **change}


def page(*rows: dict[str, Any], cursor: str = "", code: int = 0) -> bytes:
    return json.dumps({"retCode": code, "retMsg": "OK" if not code else "params error",
                       "result": {"category": "linear", "list": rows, "nextPageCursor": cursor} if not code else {}}).encode()


def test_every_page_of_the_list_is_requested_and_only_usdt_perpetuals_are_kept() -> None:
    asked: list[HttpRequest] = []
    pages = [page(instrument("BTCUSDT", "BTC"), instrument("SHIB1000USDT", "SHIB1000"), cursor="first%3D2%26x"),
             page(instrument("10000SATSUSDT", "10000SATS"), instrument("BTCUSDT-25DEC26", "BTC", contractType="LinearFutures"),
                  instrument("BTCPERP", "BTC", quoteCoin="USDC", settleCoin="USDC"),
                  instrument("NEWUSDT", "NEW", status="PreLaunch"))]

    def ask(request: HttpRequest) -> bytes:
        if request.path.endswith("tickers"):
            return page({"symbol": "BTCUSDT", "turnover24h": "8.5e9"}, {"symbol": "SHIB1000USDT", "turnover24h": ""})
        asked.append(request)
        return pages[len(asked) - 1]

    found = fetch_instruments(LINEAR, ask)
    assert fetch_volumes(LINEAR.volumes, ask) == {"BTCUSDT": 8.5e9, "SHIB1000USDT": 0.0}
    assert [(listed.symbol, listed.multiplier, coin_of(listed), listed.contract_size) for listed in found] == [
        ("BTCUSDT", 1, "BTC", 1.0), ("SHIB1000USDT", 1000, "SHIB", 1.0), ("10000SATSUSDT", 10000, "SATS", 1.0)]
    assert [request.params.get("cursor") for request in asked] == [None, "first=2&x"]  # encoded once more on its way
    assert all(request.params["limit"] == 1000 for request in asked)


@pytest.mark.parametrize("body", [b"", b"[]", b"null", b"<html></html>", b'{"retCode":0}',
                                 b'{"result":{}}', b'{"result":{"list":5}}',
                                  page(code=10001)])
def test_a_body_that_is_not_a_list_raises(body: bytes) -> None:
    with pytest.raises(REFUSALS):
        LINEAR.parse_instruments([body])
    with pytest.raises(REFUSALS):
        LINEAR.parse_history(body, "BTCUSDT", Columns())


def test_history_is_the_newest_rows_and_its_ids_are_those_of_the_stream() -> None:
    assert SPOT.history_request(HistoryQuery("BTCUSDT", 0, 1)).params == {"category": "spot", "symbol": "BTCUSDT", "limit": 60}
    assert LINEAR.history_request(HistoryQuery("BTCUSDT", 0, 1)).params["limit"] == 1000
    row = {"execId": UUIDS[0], "symbol": "SOMIUSDT", "price": "0.8213", "size": "12.5", "side": "Sell", "time": "1790000000123",
           "isBlockTrade": True, "isRPITrade": False, "seq": "987654321"}
    columns = Columns()
    LINEAR.parse_history(json.dumps({"retCode": 0, "result": {"list": [row]}}).encode(), "SOMIUSDT", columns)
    live = parsed(LINEAR, frame(linear_trade(0, BT=True)))
    for name in ("symbol", "trade_id", "price", "quantity", "sell", "timestamp", "sequence_number", "flags"):
        assert getattr(columns, name) == getattr(live, name)


@pytest.mark.parametrize("result", [{"symbol": "OTHERUSDT", "list": []}, {"list": []},
                                    {"symbol": "SOMIUSDT", "list": [["1", "2"]]},
                                    {"symbol": "SOMIUSDT", "list": [["0", "1", "1", "1", "1", "nan", "1"]]}])
def test_candles_of_another_symbol_or_shape_are_rejected(result: dict[str, Any]) -> None:
    assert SPOT.candles is not None
    with pytest.raises(REFUSALS):
        SPOT.candles.parse(json.dumps({"retCode": 0, "result": result}).encode(), Instrument(symbol="SOMIUSDT", base="SOMI",
                                                                                            quote="USDT"))


def test_damaged_frames_never_raise_and_each_is_a_trade_control_or_quarantined() -> None:
    damage(LINEAR, [frame(linear_trade()), frame(linear_trade(0), linear_trade(1)),
                    b'{"success":true,"ret_msg":"","conn_id":"c","req_id":"12","op":"subscribe"}'], 20_000)


@needs_corpus
def test_recorded_frames_give_what_is_expected_and_control_frames_nothing() -> None:
    assert compare_recorded_frames("bybit", VENUES) > 15
    assert read_recorded_control("bybit", VENUES) > 40


@needs_corpus
def test_recorded_bodies_give_what_is_expected() -> None:
    compare_recorded_history(SPOT, "bybit_recent_trade_spot_doc")
    compare_recorded_history(LINEAR, "bybit_recent_trade_hirokisan")
    assert CORPUS is not None
    folder = CORPUS / "rest_symbols"
    for venue, name in ((LINEAR, "bybit_instruments_linear_nautilus.json"), (SPOT, "bybit_instruments_spot_roq.json")):
        listed = venue.parse_instruments([(folder / name).read_bytes()])
        assert [instrument.symbol for instrument in listed] == ["BTCUSDT", "ETHUSDT"]
    wrapped = json.loads((folder / "bybit_instruments_spot_hirokisan.json").read_text("utf-8"))["Spot"]
    found = SPOT.parse_instruments([json.dumps(wrapped).encode()])
    assert len(found) == sum(row["quoteCoin"] == "USDT" for row in wrapped["list"]) > 80
