"""Binance: raw and aggregated trades, rows that only use up ids, symbols that may still trade, requests within the limits."""

from __future__ import annotations

import gzip
import json
import tracemalloc
from collections.abc import Callable
from decimal import Decimal
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pumpwatch_plugins.exchanges.binance import VENUES

from pumpwatch.catalogue import coin_of
from pumpwatch.errors import REFUSALS, BadFrame
from pumpwatch.feeds.subscriptions import Subscriptions
from pumpwatch.model import Columns, ControlKind, Flag, Instrument
from pumpwatch.venue import HistoryQuery, Venue
from tests.corpus import CORPUS, needs_corpus
from tests.exchanges.decoding import (
    changed,
    columns_of,
    comparable,
    compare_recorded_frames,
    compare_recorded_history,
    damage,
    decoded,
    historical,
    outcome,
    read_recorded_control,
)

SPOT, FUTURES, AGGREGATED = VENUES
FRAME: dict[str, Any] = {"e": "trade", "E": 1790000000125, "s": "SOMIUSDT", "t": 41001, "p": "0.81230000", "q": "120.50000000",
                         "T": 1790000000123, "m": True, "M": True}
FUTURE: dict[str, Any] = {"e": "trade", "E": 1790000000125, "T": 1790000000123, "s": "1000PEPEUSDT", "t": 880001, "p": "0.0111",
                          "q": "250", "X": "MARKET", "m": False, "st": 1}
AGGREGATE: dict[str, Any] = {"e": "aggTrade", "E": 1790000000125, "s": "SOMIUSDT", "a": 5510, "p": "0.8123", "q": "44", "f": 7,
                             "l": 9, "T": 1790000000123, "m": False}


def combined(frame: dict[str, Any]) -> dict[str, Any]:
    return {"stream": f"{frame['s'].lower()}@trade", "data": frame}


@pytest.mark.parametrize("frame", [FRAME, combined(FRAME), FRAME | {"a": 7002, "b": 7001}], ids=["bare", "combined", "old"])
def test_a_spot_frame_becomes_a_trade_with_the_takers_side(frame: dict[str, Any]) -> None:
    assert decoded(SPOT, frame) == [{
        "exchange": "binance", "market_type": "spot", "symbol": "SOMIUSDT", "side": "sell", "price": 0.8123, "quantity": 120.5,
        "trade_id": "41001", "sequence_number": None, "timestamp": 1790000000123000000}]


def test_rows_of_na_use_up_an_id_and_those_of_insurance_and_adl_are_flagged() -> None:
    kinds = ["MARKET", "NA", "INSURANCE_FUND", "ADL"]
    columns = columns_of(FUTURES, *(FUTURE | {"t": 880001 + row, "X": kind} for row, kind in enumerate(kinds)))
    assert columns.trade_id == [880001, 880002, 880003, 880004]
    assert (columns.void, columns.flags) == ([1], {2: Flag.INSURANCE_FUND, 3: Flag.ADL})


def test_a_row_of_na_needs_no_side_and_a_trade_does() -> None:
    assert columns_of(FUTURES, FUTURE | {"X": "NA", "p": "0", "q": "0", "m": None}).void == [0]
    with pytest.raises(BadFrame):
        columns_of(FUTURES, FUTURE, FUTURE | {"m": None})


def test_aggregated_trades_have_the_id_of_the_aggregate_and_are_flagged() -> None:
    columns = columns_of(AGGREGATED, AGGREGATE, AGGREGATE | {"a": 5511})
    assert (columns.trade_id, columns.flags) == ([5510, 5511], {0: Flag.AGGREGATED, 1: Flag.AGGREGATED})


@pytest.mark.parametrize(("frame", "kind", "number"), [
    ({"result": None, "id": 7}, ControlKind.ACK, 7),
    ({"result": ["a@trade"], "id": 7}, ControlKind.ACK, 7),
    ({"code": 2, "msg": "Invalid request", "id": 8}, ControlKind.REFUSAL, 8),
    ({"error": {"code": 3, "msg": "Invalid JSON"}, "id": None}, ControlKind.REFUSAL, None),
    ({"error": {"code": 4, "msg": "Too many subscriptions"}, "id": 9}, ControlKind.FULL, 9),
    ({"e": "serverShutdown", "E": 1790000000123}, ControlKind.RECONNECT, None),
    ({"stream": "serverShutdown", "data": {"e": "serverShutdown", "E": 1790000000123}}, ControlKind.RECONNECT, None),
    ({"e": "blockTrade", "s": "AUSDT", "t": 5}, ControlKind.OTHER, None),
    ({"u": 1, "s": "AUSDT", "b": "1", "B": "2", "a": "3", "A": "4"}, ControlKind.OTHER, None),
    ({"lastUpdateId": 5, "bids": [], "asks": []}, ControlKind.OTHER, None),
])
def test_control_frames_are_understood(frame: dict[str, Any], kind: ControlKind, number: int | None) -> None:
    assert outcome(SPOT, frame) == "control"
    control = SPOT.read_control(json.dumps(frame).encode())
    assert control is not None and (control.kind, control.request_id) == (kind, number)


@pytest.mark.parametrize("frame", [b"", b"[1]", b"7", b"null", b"<html>", b"{}", b'{"e":"trade"}', b'{"e":"neverHeardOf"}',
                                   b'{"id":5}', b'"x"'])
def test_a_frame_that_is_neither_trade_nor_control_is_quarantined(frame: bytes) -> None:
    assert outcome(SPOT, frame) == "quarantined"


@pytest.mark.parametrize("change", [
    {"p": "nan"}, {"p": "1e400"}, {"p": "-1"}, {"p": "0"}, {"p": None}, {"p": []}, {"p": "abc"}, {"q": "0"}, {"q": "inf"},
    {"q": ...}, {"T": 1790000000}, {"T": 1790000000123000}, {"T": 99999999999999}, {"T": "soon"}, {"T": ...}, {"t": 2**63},
    {"t": -1}, {"t": None}, {"t": ...}, {"s": None}, {"s": 5}, {"m": None}, {"m": "yes"}, {"e": "trade "},
])
@pytest.mark.parametrize(("venue", "frame"), [(SPOT, FRAME), (SPOT, combined(FRAME)), (FUTURES, FUTURE)],
                         ids=["spot", "combined", "futures"])
def test_a_frame_with_an_impossible_value_is_quarantined_with_a_reason(venue: Venue, frame: dict[str, Any],
                                                                       change: dict[str, Any]) -> None:
    assert outcome(venue, changed(frame, **change)) == "quarantined"


@pytest.mark.parametrize("symbol", ["A/B", "币安人生USDT", "X" * 200, "\u0000", "1000SATSUSDT"])
def test_symbols_of_any_spelling_pass(symbol: str) -> None:
    assert [trade["symbol"] for trade in decoded(SPOT, changed(FRAME, s=symbol))] == [symbol]


def test_damaged_frames_never_raise_and_each_is_a_trade_control_or_quarantined() -> None:
    damage(FUTURES, [FUTURE, combined(FRAME), AGGREGATE, {"result": None, "id": 1}], 20_000)


@given(st.decimals(min_value=Decimal("1e-12"), max_value=Decimal("1e12"), allow_nan=False,
                   allow_infinity=False).map("{:f}".format))
def test_digits_become_the_very_float_that_python_makes_of_them(text: str) -> None:
    columns = columns_of(SPOT, changed(FRAME, p=text, q=text))
    assert columns.price == columns.quantity == [float(text)]


@pytest.mark.parametrize(("venue", "channel", "most"), [(SPOT, "trade", 200), (FUTURES, "trade", 200),
                                                        (AGGREGATED, "aggTrade", 200)], ids=["spot", "futures", "aggregated"])
def test_requests_keep_the_limits_and_ask_for_every_symbol_once_in_lower_case(venue: Venue, channel: str, most: int) -> None:
    wanted = [f"COIN{number}USDT" for number in range(450)]
    asked, subscriptions = [], Subscriptions(venue, lambda symbol, reason: None)
    subscriptions.want(wanted, add=True)
    while subscriptions.waiting:
        request = json.loads(subscriptions.next_text(0.0))
        assert request["method"] == "SUBSCRIBE" and len(request["params"]) <= most
        asked += request["params"]
    assert asked == [f"{symbol.lower()}@{channel}" for symbol in sorted(wanted)]
    assert json.loads(venue.unsubscribe(["AUSDT"], 9)) == {"method": "UNSUBSCRIBE", "params": [f"ausdt@{channel}"], "id": 9}


def test_futures_trades_come_from_the_public_path_and_aggregated_ones_from_the_market_path() -> None:
    assert (FUTURES.ws_url, FUTURES.variant) == ("wss://fstream.binance.com/public/ws", "")
    assert (AGGREGATED.ws_url, AGGREGATED.variant) == ("wss://fstream.binance.com/market/ws", "agg_trade")


def test_spot_history_pages_by_id_and_futures_history_is_the_last_rows() -> None:
    by_id = HistoryQuery("SOMIUSDT", 0, 1, first_id=41001, last_id=41002)
    assert SPOT.history_request(by_id).params == {"symbol": "SOMIUSDT", "limit": 2, "fromId": 41001}
    more = SPOT.history_request(HistoryQuery("SOMIUSDT", 0, 1, first_id=41001, last_id=99_999))
    assert more.params == {"symbol": "SOMIUSDT", "limit": 1000, "fromId": 41001}
    first_ones = SPOT.history_request(HistoryQuery("SOMIUSDT", 0, 1, last_id=300))
    assert first_ones.params == {"symbol": "SOMIUSDT", "limit": 301, "fromId": 0}
    by_time = SPOT.history_request(HistoryQuery("SOMIUSDT", 0, 1))
    assert (by_time.path, by_time.params) == ("/api/v3/trades", {"symbol": "SOMIUSDT", "limit": 1000})
    assert FUTURES.history_request(by_id).params == {"symbol": "SOMIUSDT", "limit": 1000}


def test_aggregates_are_asked_for_by_less_than_an_hour_of_time() -> None:
    assert FUTURES.aggregated_history is not None
    request = FUTURES.aggregated_history.request(HistoryQuery("SOMIUSDT", 10**18, 10**18 + 7 * 3600 * 10**9, 5, 9))
    assert request.params == {"symbol": "SOMIUSDT", "limit": 1000, "startTime": 10**12, "endTime": 10**12 + 3_599_000}
    assert FUTURES.aggregated_history.depth.window_s < 3600


def test_the_aggregated_stream_has_a_history_with_its_own_ids() -> None:
    by_id = AGGREGATED.history_request(HistoryQuery("SOMIUSDT", 0, 1, first_id=7, last_id=9))
    assert (by_id.path, by_id.params["fromId"], by_id.weight) == ("/fapi/v1/aggTrades", 7, 20)
    assert "startTime" in AGGREGATED.history_request(HistoryQuery("SOMIUSDT", 0, 10**9)).params
    row = {"a": 7, "p": "0.8", "q": "12", "f": 100, "l": 102, "T": 1790000000123, "m": True}
    columns = Columns()
    AGGREGATED.parse_history(json.dumps([row, row | {"a": 8, "f": 103, "l": 103}]).encode(), "SOMIUSDT", columns)
    assert (columns.trade_id, columns.void, columns.flags) == ([7, 8], [], {0: Flag.AGGREGATED, 1: Flag.AGGREGATED})


def test_candles_of_the_aggregated_stream_do_not_count_trades() -> None:
    body = json.dumps([[1791000060000, "1", "2", "1", "2", "5", 1791000119999, "7", 3, "0", "0", "0"]]).encode()
    instrument = Instrument(symbol="SOMIUSDT", base="SOMI", quote="USDT")
    assert FUTURES.candles is not None and AGGREGATED.candles is not None
    assert [FUTURES.candles.parse(body, instrument)[0].trades, AGGREGATED.candles.parse(body, instrument)[0].trades] == [3, -1]


@pytest.mark.parametrize("span", [(5, 4), (-1, 3)])
def test_an_aggregate_of_impossible_ids_is_rejected(span: tuple[int, int]) -> None:
    assert FUTURES.aggregated_history is not None
    row = {"a": 7, "p": "0.8", "q": "12", "f": span[0], "l": span[1], "T": 1790000000123, "m": True}
    with pytest.raises(BadFrame):
        FUTURES.aggregated_history.parse(json.dumps([row]).encode(), "SOMIUSDT", Columns())


def test_an_aggregate_of_too_many_trades_is_left_out_alone() -> None:
    assert FUTURES.aggregated_history is not None
    row = {"a": 7, "p": "0.8", "q": "12", "f": 1, "l": 2, "T": 1790000000123, "m": True}
    long, behind = row | {"a": 8, "f": 3, "l": 10_003}, row | {"a": 9, "f": 10_004, "l": 10_005}
    columns = Columns()
    FUTURES.aggregated_history.parse(json.dumps([row, long, behind]).encode(), "SOMIUSDT", columns)
    assert (columns.trade_id, columns.void) == ([1, 2, 10_004, 10_005], [1, 3])
    assert columns.flags == {0: Flag.AGGREGATED, 2: Flag.AGGREGATED} and len(columns.price) == 4


@pytest.mark.parametrize(("minutes", "weight"), [(1, 1), (99, 1), (100, 2), (499, 2), (500, 5), (1000, 5), (1001, 10),
                                                 (1500, 10)])
def test_futures_candles_cost_by_their_number(minutes: int, weight: int) -> None:
    assert FUTURES.candles is not None
    request = FUTURES.candles.request("SOMIUSDT", 0, minutes * 60 * 10**9)
    assert (request.params["limit"], request.weight) == (minutes, weight)


def test_history_has_the_same_trades_as_the_stream() -> None:
    row = {"id": 41001, "price": "0.81230000", "qty": "120.50000000", "quoteQty": "97.88", "time": 1790000000123,
           "isBuyerMaker": True, "isBestMatch": True}
    assert historical(SPOT, json.dumps([row]).encode(), "SOMIUSDT") == comparable(decoded(SPOT, FRAME))


@pytest.mark.parametrize("body", [b"", b"<html>", b"[1]", b"{}", b"null", b'{"code":-1003,"msg":"busy"}', b'[{"id":1}]'])
def test_a_body_that_is_neither_list_nor_history_nor_volumes_raises(body: bytes) -> None:
    assert SPOT.volumes is not None
    for read in (lambda: SPOT.parse_instruments([body]), lambda: historical(SPOT, body, "AUSDT"),
                 lambda: SPOT.volumes.parse(body)):
        with pytest.raises(REFUSALS):
            read()


def test_volumes_are_what_was_traded_in_the_quote() -> None:
    assert SPOT.volumes is not None
    rows = [{"symbol": "AUSDT", "volume": "5.0", "quoteVolume": "8.50", "count": 3}]
    assert SPOT.volumes.parse(json.dumps(rows).encode()) == {"AUSDT": 8.5}


def listed(venue: Venue, rows: list[dict[str, Any]]) -> dict[str, str]:
    return {instrument.symbol: instrument.status
            for instrument in venue.parse_instruments([json.dumps({"symbols": rows}).encode()])}


def row(symbol: str, status: str, **other: object) -> dict[str, Any]:
    return {"symbol": symbol, "status": status, "baseAsset": symbol[:-4], "quoteAsset": symbol[-4:], **other}


@pytest.mark.parametrize("status", ["TRADING", "BREAK", "HALT", "END_OF_DAY", "CANCEL_ONLY", "AUCTION_MATCH"])
def test_spot_symbols_are_subscribed_whatever_halts_them(status: str) -> None:
    assert listed(SPOT, [row("AUSDT", status, isSpotTradingAllowed=True)]) == {"AUSDT": status.lower()}


@pytest.mark.parametrize(("status", "subscribed"), [
    ("TRADING", True), ("PENDING_TRADING", True), ("PRE_SETTLE", True), ("SETTLING", False), ("CLOSE", False),
    ("DELIVERING", False), ("DELIVERED", False)])
def test_futures_are_subscribed_before_they_open_and_not_after_their_end(status: str, subscribed: bool) -> None:
    assert bool(listed(FUTURES, [row("AUSDT", status, contractType="PERPETUAL")])) == subscribed


def test_a_contract_that_is_not_open_yet_has_no_type_and_is_subscribed() -> None:
    assert listed(FUTURES, [row("AUSDT", "PENDING_TRADING", contractType="")]) == {"AUSDT": "pending_trading"}


def test_dated_contracts_other_quotes_and_pairs_without_spot_trading_are_left_out() -> None:
    rows = [row("AUSDT", "TRADING", contractType="CURRENT_QUARTER"), row("AUSDC", "TRADING", contractType="PERPETUAL")]
    assert not listed(FUTURES, rows)
    assert not listed(SPOT, [row("AUSDT", "TRADING", isSpotTradingAllowed=False)])


def test_a_multiplier_in_the_base_is_found() -> None:
    (instrument,) = FUTURES.parse_instruments([json.dumps({"symbols": [row("1000PEPEUSDT", "TRADING")]}).encode()])
    assert (instrument.base, instrument.multiplier, coin_of(instrument)) == ("1000PEPE", 1000, "PEPE")


def test_a_list_whose_rows_are_mostly_permissions_is_decoded_in_little_memory() -> None:
    row = {"status": "TRADING", "quoteAsset": "USDT", "permissionSets": [[f"TRD_GRP_{number:03d}" for number in range(200)]]}
    rows = [row | {"symbol": f"C{number}USDT", "baseAsset": f"C{number}"} for number in range(200)]
    body = json.dumps({"symbols": rows}).encode()

    def peak_bytes(read: Callable[[], object]) -> int:
        tracemalloc.start()
        try:
            read()
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    assert peak_bytes(lambda: SPOT.parse_instruments([body])) < peak_bytes(lambda: msgspec.json.decode(body)) / 4


@needs_corpus
def test_recorded_frames_give_what_is_expected_and_control_frames_nothing() -> None:
    assert compare_recorded_frames("binance", VENUES[:2]) > 50
    assert read_recorded_control("binance", VENUES[:2])


@needs_corpus
def test_recorded_aggregates_are_the_history_of_the_aggregated_stream() -> None:
    compare_recorded_history(AGGREGATED, "binance_usdm_aggTrades_BTCUSDT")


@needs_corpus
def test_recorded_lists_are_read() -> None:
    assert CORPUS is not None
    folder = CORPUS / "rest_symbols"
    spot = SPOT.parse_instruments([gzip.decompress((folder / "binance_spot_exchangeInfo_20211012.json.gz").read_bytes())])
    assert (len(spot), sum(instrument.status == "trading" for instrument in spot)) == (302, 275)
    futures = FUTURES.parse_instruments([(folder / "binance_usdm_exchangeInfo_20210722.json").read_bytes()])
    assert [instrument.symbol for instrument in futures if instrument.status != "trading"] == ["BTCSTUSDT"]
