"""Gate: exact times, rows of several fills, sizes with a sign, rejected requests, requests that carry their time."""

from __future__ import annotations

import gzip
import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pumpwatch_plugins.exchanges.gate import VENUES, stamp

from pumpwatch.catalogue import Catalogue
from pumpwatch.clock import Clock
from pumpwatch.errors import REFUSALS
from pumpwatch.feeds.subscriptions import Subscriptions
from pumpwatch.model import Columns, ControlKind, Flag, IdKind, Instrument
from pumpwatch.net.frames import Frames, NoSource
from pumpwatch.pipeline.decode import Decoder
from pumpwatch.pipeline.dedupe import Dedupe
from pumpwatch.pipeline.parse import VenueParser
from pumpwatch.stats import Stats
from pumpwatch.venue import HistoryQuery
from tests.corpus import CORPUS, needs_corpus
from tests.exchanges.decoding import compare_recorded_frames, compare_recorded_history, damage, read_recorded_control

SPOT, FUTURES = VENUES


def spot(number: int = 5001, **change: Any) -> bytes:
    result = {"id": number, "id_market": number, "create_time": 1790000000, "create_time_ms": "1790000000402.208000",
              "side": "sell", "currency_pair": "SOMI_USDT", "amount": "12.5", "price": "0.8213", "range": f"{number}-{number}",
              "stock": "SOMI", "money": "USDT", "trade_mode": 0, **change}
    return json.dumps({"time": 1790000000, "time_ms": 1790000000403, "channel": "spot.trades", "event": "update",
                       "result": {name: value for name, value in result.items() if value != "absent"}}).encode()


def contract(number: int = 7001, **change: Any) -> dict[str, Any]:
    return {"id": number, "size": "-2.5", "create_time": 1790000001, "create_time_ms": 1790000001767, "price": "2650.5",
            "contract": "ETH_USDT", **change}


def futures(*trades: dict[str, Any]) -> bytes:
    return json.dumps({"time": 1790000001, "time_ms": 1790000001768, "channel": "futures.trades", "event": "update",
                       "result": trades}).encode()


def parsed(venue: Any, *frames: bytes) -> Columns:
    columns = Columns()
    venue.parse(b"[" + b",".join(frames) + b"]", columns)
    return columns


def test_a_spot_trade_is_known_by_its_number_in_the_market() -> None:
    columns = parsed(SPOT, spot(5001, id=99), spot(5002, side="buy"))
    assert (columns.trade_id, columns.sell, columns.symbol) == ([5001, 5002], [True, False], ["SOMI_USDT"] * 2)
    assert (columns.price, columns.quantity, columns.flags, columns.void) == ([0.8213] * 2, [12.5] * 2, {}, [])
    old = parsed(SPOT, spot(5001), spot(5002, id_market="absent", range="17-17"))
    assert old.trade_id == [5001, 5002]  # from before 2026: only `id`, and a range that counts something else


@pytest.mark.parametrize(("text", "ns"), [
    ("1790000000402.208000", 1790000000402208000), ("1790000000402.2081", 1790000000402208100),
    ("1790000000402.0", 1790000000402000000), ("1790000000402", 1790000000402000000),
    ("1790000000402.1234567", 1790000000402123456),
])
def test_a_time_in_text_is_exact(text: str, ns: int) -> None:
    assert parsed(SPOT, spot(create_time_ms=text)).timestamp == [ns]
    assert parsed(SPOT, spot(), spot(create_time_ms=text)).timestamp == [1790000000402208000, ns]


@given(st.lists(st.integers(1_500_000_000_000_000_000, 1_999_999_999_999_999_999), min_size=1, max_size=5))
def test_times_of_any_fraction_are_exact_together_and_alone(times: list[int]) -> None:
    texts = [f"{at // 10**6}.{at % 10**6:06d}" for at in times]
    assert parsed(SPOT, *(spot(create_time_ms=text) for text in texts)).timestamp == times


def test_a_row_of_several_fills_uses_up_their_numbers_and_is_one_trade() -> None:
    columns = parsed(SPOT, spot(5001), spot(5004, range="5002-5004"), spot(5005, range="5005-5006"), spot(5007))
    assert columns.trade_id == [5001, 5002, 5003, 5004, 5005, 5006, 5007]
    assert (columns.counts, columns.void) == ([1, 3, 2, 1], [1, 2, 5])
    assert columns.flags == {3: Flag.AGGREGATED, 4: Flag.AGGREGATED}
    assert [trade["trade_id"] for trade in Decoder(SPOT).frame(spot(5004, range="5002-5004"))] == ["5004"]


def test_a_row_of_several_fills_leaves_no_gap_and_a_lost_row_does() -> None:
    catalogue = Catalogue()
    catalogue.add(("gate", "spot"), Instrument(symbol="SOMI_USDT", base="SOMI", quote="USDT"))
    parser = VenueParser(SPOT, catalogue, Clock(), Stats())
    dedupe = Dedupe(catalogue, lambda *_: IdKind.CONTIGUOUS)
    gaps = []
    for frame in (spot(5001), spot(5004, range="5002-5004"), spot(5005), spot(5008, range="5007-5008")):
        frames = Frames(memoryview(b"[" + frame + b"]"), [len(frame) + 1], [1], [0], [NoSource()])
        for one in parser.parse(frames):
            gaps += dedupe.observe(one.batch).gaps
    assert [(gap.first_id, gap.last_id) for gap in gaps] == [(5006, 5006)]


@pytest.mark.parametrize("span", ["5-4", "1-999999999", "a-b", "5001", "5001-", "-", "1-2-3"])
def test_a_text_that_is_not_a_range_is_never_expanded(span: str) -> None:
    decoder = Decoder(SPOT)
    trades = decoder.frame(spot(range=span))
    assert (len(trades), len(decoder.refused)) in ((0, 1), (1, 0))


def test_the_sign_of_a_size_is_the_side_and_contracts_become_base_units() -> None:
    contracts = json.dumps([{"name": "ETH_USDT", "quanto_multiplier": "0.01"}]).encode()
    decoder = Decoder(FUTURES, contracts)
    got = decoder.frame(futures(contract(7001), contract(7002, size=3, is_internal=True), contract(7003, size="0.1")))
    assert [(trade["side"], trade["quantity"], trade["trade_id"]) for trade in got] == [
        ("sell", 0.025, "7001"), ("buy", 0.03, "7002"), ("buy", 0.001, "7003")]
    columns = parsed(FUTURES, futures(contract(), contract(is_internal=True)), futures(contract(create_time_ms=0)))
    assert (columns.flags, columns.counts) == ({1: Flag.INTERNAL}, [2, 1])
    assert columns.timestamp == [1790000001767, 1790000001767, 1790000001000]


@pytest.mark.parametrize("size", [0, "0", "-0", "0.0", "nan", "1e400", "-1e400", "", None, []])
def test_a_size_without_a_side_is_quarantined_and_not_guessed(size: Any) -> None:
    decoder = Decoder(FUTURES)
    assert decoder.frame(futures(contract(size=size))) == []
    assert len(decoder.refused) == 1


def test_a_size_of_zero_does_not_cost_the_other_trades_of_its_frame() -> None:
    decoder = Decoder(FUTURES)
    assert [trade["trade_id"] for trade in decoder.frame(futures(contract(1), contract(2, size=0), contract(3)))] == ["1", "3"]
    assert len(decoder.refused) == 1


@pytest.mark.parametrize("change", [
    {"price": "nan"}, {"price": "1e400"}, {"price": "-1"}, {"price": "0"}, {"amount": "0"}, {"amount": "inf"}, {"price": None},
    {"create_time_ms": "1790000000"}, {"create_time_ms": "1790000000402208"}, {"create_time_ms": "9990000000402.208000"},
    {"create_time_ms": "179000000040_.208000"}, {"create_time_ms": "1790000000402.20,000"}, {"create_time_ms": ""},
    {"create_time_ms": None}, {"create_time_ms": 1790000000402}, {"id_market": 2**63}, {"id_market": -1, "id": -1},
    {"id": None}, {"currency_pair": None}, {"side": "SELL"}, {"side": None}, {"price": []},
])
def test_an_impossible_value_on_spot_is_quarantined_with_a_reason(change: dict[str, Any]) -> None:
    decoder = Decoder(SPOT)
    assert decoder.frame(spot(**change)) == []
    assert len(decoder.refused) == 1 and decoder.refused[0][1]


@pytest.mark.parametrize("change", [
    {"price": "nan"}, {"price": "0"}, {"price": None}, {"create_time_ms": 1790000001}, {"create_time_ms": 1790000001767000},
    {"create_time_ms": "soon"}, {"create_time_ms": 99999999999999}, {"id": 2**63}, {"id": -1}, {"id": None}, {"contract": None},
    {"contract": 5}, {"is_internal": "perhaps"}, {"create_time_ms": 0, "create_time": 0},
])
def test_an_impossible_value_on_futures_is_quarantined_with_a_reason(change: dict[str, Any]) -> None:
    decoder = Decoder(FUTURES)
    assert decoder.frame(futures(contract(**change))) == []
    assert len(decoder.refused) == 1 and decoder.refused[0][1]


@pytest.mark.parametrize("symbol", ["A/B_USDT", "币安人生_USDT", "X" * 200, "\u0000"])
def test_symbols_of_any_spelling_pass(symbol: str) -> None:
    assert [trade["symbol"] for trade in Decoder(SPOT).frame(spot(currency_pair=symbol))] == [symbol]
    assert [trade["symbol"] for trade in Decoder(FUTURES).frame(futures(contract(contract=symbol)))] == [symbol]


@pytest.mark.parametrize(("text", "kind", "number"), [
    ('{"time":1,"id":4,"channel":"spot.trades","event":"subscribe","result":{"status":"success"}}', ControlKind.ACK, 4),
    ('{"id":4,"channel":"spot.trades","event":"subscribe","error":null,"result":{"status":"success"}}', ControlKind.ACK, 4),
    ('{"id":4,"channel":"spot.trades","event":"unsubscribe","result":{"status":"success"}}', ControlKind.ACK, 4),
    ('{"id":null,"channel":"spot.trades","event":"subscribe","result":{"status":"success"}}', ControlKind.ACK, None),
    ('{"id":4,"channel":"spot.trades","event":"subscribe","result":{"status":"fail"}}', ControlKind.REFUSAL, 4),
    ('{"time":1,"channel":"spot.pong","event":"","result":null}', ControlKind.PONG, None),
    ('{"time":1,"channel":"futures.pong","event":"","error":null,"result":null}', ControlKind.PONG, None),
    ('{"channel":"futures.system","event":"update","result":{"type":"upgrade","msg":"soon"}}', ControlKind.RECONNECT, None),
    ('{"channel":"spot.system","event":"update","result":{"type":"other"}}', ControlKind.OTHER, None),
    ('{"channel":"spot.book_ticker","event":"update","result":{"s":"A_USDT"}}', ControlKind.OTHER, None),
    ('{"channel":"futures.order_book","event":"all","result":{}}', ControlKind.OTHER, None),
    ('{"channel":"futures.trades","event":"update","result":[]}', ControlKind.OTHER, None),
])
def test_control_frames_are_understood(text: str, kind: ControlKind, number: int | None) -> None:
    control = SPOT.read_control(text.encode())
    assert control is not None
    assert (control.kind, control.request_id) == (kind, number)


@pytest.mark.parametrize("text", ["[]", "null", '"x"', "{}", '{"channel":5}',
                                  '{"channel":"spot.trades","event":"update","result":{}}',
                                 '{"channel":"spot.trades","event":"dance"}', '{"method":"trades.update","params":[]}'])
def test_a_frame_that_is_neither_trade_nor_control_is_not_guessed(text: str) -> None:
    assert SPOT.read_control(text.encode()) is None


@pytest.mark.parametrize("words", ["unknown currency pair NOPE_USDT", 'unknown contract: "NOPE_USDT".', "NOPE_USDT (delisted)"])
def test_a_rejected_request_drops_the_named_symbol_and_asks_again_for_the_rest(words: str) -> None:
    rejected: list[str] = []
    asking = Subscriptions(SPOT, lambda symbol, reason: rejected.append(symbol))
    asking.want(["A_USDT", "NOPE_USDT", "Z_USDT"], add=True)
    number = json.loads(asking.next_text(0.0))["id"]
    control = SPOT.read_control(json.dumps({
        "id": number, "channel": "spot.trades", "event": "subscribe", "payload": ["A_USDT", "NOPE_USDT", "Z_USDT"],
        "error": {"code": 2, "message": words.strip(".")}, "result": {"status": "fail"}}).encode())
    assert control is not None
    asking.answer(control)
    assert rejected == ["NOPE_USDT"]
    assert json.loads(asking.next_text(1.0))["payload"] == ["A_USDT", "Z_USDT"]


def test_requests_carry_their_sending_time_and_only_futures_send_the_size_header() -> None:
    text = FUTURES.subscribe(["ETH_USDT"], 3)
    assert json.loads(stamp(text, 1790000001999000000)) == {"time": 1790000001, "id": 3, "channel": "futures.trades",
                                                            "event": "subscribe", "payload": ["ETH_USDT"]}
    assert (SPOT.stamp, FUTURES.stamp) == (stamp, stamp)
    assert json.loads(SPOT.unsubscribe(["A_USDT"], 4))["event"] == "unsubscribe"
    assert SPOT.heartbeat.text is not None
    assert json.loads(SPOT.heartbeat.text(1790000001999000000)) == {"time": 1790000001, "channel": "spot.ping"}
    assert (dict(SPOT.headers), dict(FUTURES.headers)) == ({}, {"X-Gate-Size-Decimal": "1"})


def test_only_symbols_that_trade_against_usdt_are_listed() -> None:
    def pair(base: str, quote: str = "USDT", status: str = "tradable") -> dict[str, Any]:
        return {"id": f"{base}_{quote}", "base": base, "quote": quote, "trade_status": status}

    pairs = json.dumps([pair("SOMI"), pair("SOMI", "BTC"), pair("OLD", status="untradable"), pair("币安人生")]).encode()
    assert [listed.symbol for listed in SPOT.parse_instruments([pairs])] == ["SOMI_USDT", "币安人生_USDT"]
    contracts = json.dumps([
        {"name": "ETH_USDT", "quanto_multiplier": "0.01", "in_delisting": False},
        {"name": "PEPE_USDT", "quanto_multiplier": "10000000", "status": "trading", "in_delisting": False},
        {"name": "GONE_USDT", "quanto_multiplier": "1", "in_delisting": True},
        {"name": "NEW_USDT", "quanto_multiplier": "1", "status": "prelaunch"},
        {"name": "BTC_USD", "quanto_multiplier": "0"}]).encode()
    assert [(listed.symbol, listed.base, listed.contract_size) for listed in FUTURES.parse_instruments([contracts])] == [
        ("ETH_USDT", "ETH", 0.01), ("PEPE_USDT", "PEPE", 10_000_000.0)]


@pytest.mark.parametrize("body", [b"", b"{}", b"null", b"<html></html>", b'{"label":"X"}', b"[1]", b'[{"id":"A_USDT"}]'])
@pytest.mark.parametrize("venue", VENUES, ids=lambda venue: venue.market_type)
def test_a_body_that_is_not_a_list_raises(venue: Any, body: bytes) -> None:
    with pytest.raises(REFUSALS):
        venue.parse_instruments([body])
    with pytest.raises(REFUSALS):
        venue.parse_history(body, "A_USDT", Columns())


def test_history_is_asked_for_by_whole_seconds_and_read_exactly() -> None:
    query = HistoryQuery("A_USDT", 1_790_000_000_900_000_000, 1_790_000_005_000_000_001)
    assert SPOT.history_request(query).params == {"currency_pair": "A_USDT", "limit": 1000, "from": 1790000000, "to": 1790000005}
    assert FUTURES.history_request(query).params["contract"] == "A_USDT"
    up_to_a_second = HistoryQuery("A_USDT", 1_790_000_000_900_000_000, 1_790_000_005_000_000_000)
    assert SPOT.history_request(up_to_a_second).params["to"] == 1790000004
    columns = Columns()
    FUTURES.parse_history(b'[{"id":9,"contract":"A_USDT","create_time":1790000000.129,"create_time_ms":1790000000.129,"size":"-0.5",'
                          b'"price":"1.5","is_internal":true},{"id":8,"contract":"A_USDT","create_time_ms":1790000000129,"size":2,'
                          b'"price":"1.5"}]', "A_USDT", columns)
    assert (columns.timestamp, columns.trade_id) == ([1790000000129, 1790000000129], [9, 8])
    assert (columns.quantity, columns.sell, columns.flags) == ([0.5, 2.0], [True, False], {0: Flag.INTERNAL})


@pytest.mark.parametrize("venue", VENUES, ids=lambda venue: venue.market_type)
def test_damaged_frames_never_raise_and_each_is_a_trade_control_or_quarantined(venue: Any) -> None:
    seeds = [spot(), spot(5004, range="5002-5004")] if venue is SPOT else [futures(contract()), futures(contract(1), contract(2))]
    damage(venue, [*seeds, b'{"id":4,"channel":"spot.trades","event":"subscribe","result":{"status":"success"}}'], 15_000)


@needs_corpus
def test_recorded_frames_give_what_is_expected_and_control_frames_nothing() -> None:
    assert compare_recorded_frames("gate", VENUES) > 10
    assert read_recorded_control("gate", VENUES) > 30


@needs_corpus
def test_recorded_bodies_give_what_is_expected() -> None:
    compare_recorded_history(SPOT, "gate_spot_trades_20260925")
    compare_recorded_history(FUTURES, "gate_usdt_futures_trades_20260925")
    assert CORPUS is not None
    pairs = gzip.decompress((CORPUS / "rest_symbols" / "gate_currency_pairs_20210422.json.gz").read_bytes())
    listed = json.loads(pairs)
    assert len(SPOT.parse_instruments([pairs])) == sum(
        row["quote"] == "USDT" and row["trade_status"] == "tradable" for row in listed) > 500
    contracts = gzip.decompress((CORPUS / "rest_symbols" / "gate_usdt_contracts_20230524.json.gz").read_bytes())
    found = {listed.symbol: listed for listed in FUTURES.parse_instruments([contracts])}
    assert len(found) == sum(not row["in_delisting"] for row in json.loads(contracts)) > 290
    assert found["BTC_USDT"].contract_size == 0.0001
