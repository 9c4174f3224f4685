"""Phemex: scaled integers and decimal texts, trades without ids, rows newest first, and misleading names."""

from __future__ import annotations

import json
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pumpwatch_plugins.exchanges.phemex import VENUES

from pumpwatch.catalogue import Catalogue, coin_of
from pumpwatch.clock import Clock
from pumpwatch.errors import REFUSALS, ServiceUnavailable
from pumpwatch.feeds.subscriptions import Subscriptions
from pumpwatch.instruments.lists import fetch_instruments
from pumpwatch.model import Columns, ControlKind, Instrument
from pumpwatch.net.frames import Frames, NoSource
from pumpwatch.pipeline.decode import Decoder
from pumpwatch.pipeline.parse import VenueParser
from pumpwatch.stats import Stats
from pumpwatch.venue import HistoryQuery, Venue
from tests.corpus import CORPUS, needs_corpus
from tests.exchanges.decoding import (
    columns_of,
    compare_recorded_frames,
    damage,
    decoded,
    expected,
    historical,
    read_recorded_control,
)

SPOT, FUTURES = VENUES
AT = 1_788_000_000_123_456_789
SPOT_FRAME: dict[str, Any] = {"sequence": 771, "symbol": "sSUSHIUSDT", "trades": [[AT, "Buy", 731_200_000, 45_000_000]],
                              "type": "incremental"}
FRAME: dict[str, Any] = {"dts": AT + 9, "mts": AT + 5, "sequence": 991, "symbol": "BTCUSDT",
                         "trades_p": [[AT, "Sell", "71044.3", "0.052"]], "type": "incremental"}
COIN_MARGINED: dict[str, Any] = {"sequence": 5, "symbol": "LTCUSD", "trades": [[AT, "Sell", 731_250, 12]], "type": "snapshot"}


def products(**rows_of: Any) -> bytes:
    currencies = [{"currency": name, "valueScale": scale} for name, scale in
                  {"USDT": 8, "TRY": 4, "SUSHI": 8, "OL": 8, "FEW": 2, "USDC": 8, "PEPE": 8, **rows_of.pop("scales", {})}.items()]
    return json.dumps({"code": 0, "msg": "", "data": {"currencies": currencies, "products": [], **rows_of}}).encode()


def spot_row(symbol: str, base: str, quote: str = "USDT", **other: str) -> dict[str, str]:
    return {"symbol": symbol, "type": "Spot", "baseCurrency": base, "quoteCurrency": quote, "status": "Listed", **other}


def perpetual_row(symbol: str, base: str, quote: str = "USDT", **other: str) -> dict[str, str]:
    return {"symbol": symbol, "type": "PerpetualV2", "baseCurrency": base, "quoteCurrency": quote, "settleCurrency": quote,
            "status": "Listed", **other}


def test_a_spot_frame_is_scaled_by_the_digits_of_its_currencies():
    (trade,) = decoded(SPOT, SPOT_FRAME)
    assert (trade["symbol"], trade["side"], trade["price"], trade["quantity"]) == ("sSUSHIUSDT", "buy", 7.312, 0.45)
    assert (trade["timestamp"], trade["sequence_number"], trade["trade_id"]) == (AT, 771, "B731200000x45000000")
    listed = products(products=[spot_row("sFEWUSDT", "FEW")], scales={"USDT": 6})
    (trade,) = decoded(SPOT, SPOT_FRAME | {"symbol": "sFEWUSDT"}, instruments=listed)
    assert (trade["price"], trade["quantity"]) == (731.2, 450_000.0)


def test_the_decimals_of_a_perpetual_are_not_scaled():
    (trade,) = decoded(FUTURES, FRAME)
    assert (trade["symbol"], trade["side"], trade["price"], trade["quantity"], trade["timestamp"]) == (
        "BTCUSDT", "sell", 71044.3, 0.052, AT)
    assert trade["trade_id"] == "S71044.3x0.052"


@pytest.mark.parametrize(("spelt", "other"), [("100.0", "100.00"), ("100", "100.0"), ("0.052", "0.0520"), ("1e2", "100"),
                                              ("10.05", "10.050")])
def test_a_number_gives_the_same_identity_however_it_is_spelt(spelt, other):
    ids = {decoded(FUTURES, FRAME | {"trades_p": [[AT, "Buy", text, text]]})[0]["trade_id"] for text in (spelt, other)}
    assert len(ids) == 1


def test_a_frame_of_several_trades_is_printed_as_it_is_and_stored_oldest_first():
    frame = FRAME | {"trades_p": [[AT + 2, "Buy", "3", "1"], [AT + 1, "Buy", "2", "1"], [AT, "Sell", "1", "1"]]}
    assert [trade["price"] for trade in decoded(FUTURES, frame)] == [3, 2, 1]
    catalogue = Catalogue()
    catalogue.add(("phemex", "futures"), Instrument(symbol="BTCUSDT", base="BTC", quote="USDT"))
    parser = VenueParser(FUTURES, catalogue, Clock(), Stats())
    texts = [json.dumps(one).encode() for one in (frame | {"type": "snapshot"}, FRAME, frame)]
    ends = np.cumsum([len(text) + 1 for text in texts]).tolist()
    (parsed,) = parser.parse(Frames(memoryview(b"[" + b",".join(texts) + b"]"), ends, [3], [AT], [NoSource()]))
    assert parsed.batch.price.tolist() == [1, 2, 3, 71044.3, 1, 2, 3]
    assert parsed.past is not None and parsed.past.tolist() == [True] * 3 + [False] * 4


def test_only_the_rows_of_a_snapshot_are_past():
    columns = columns_of(SPOT, SPOT_FRAME, SPOT_FRAME | {"type": "snapshot", "trades": SPOT_FRAME["trades"] * 3})
    assert (columns.past, columns.counts, len(columns.symbol)) == ([1, 2, 3], [1, 3], 4)
    untyped = {key: value for key, value in FRAME.items() if key != "type"}
    assert columns_of(FUTURES, untyped).past == []


def test_a_snapshot_without_a_trade_is_neither_a_trade_nor_quarantined():
    for venue, frame in ((SPOT, SPOT_FRAME | {"trades": []}), (FUTURES, FRAME | {"trades_p": []})):
        assert decoded(venue, frame | {"type": "snapshot"}) == []


def test_case_and_prefix_are_kept():
    assert decoded(SPOT, SPOT_FRAME | {"symbol": "sOLUSDT"})[0]["symbol"] == "sOLUSDT"
    assert decoded(FUTURES, FRAME | {"symbol": "SOLUSDT"})[0]["symbol"] == "SOLUSDT"


def test_integers_are_read_only_where_their_scale_is_known():
    (trade,) = decoded(FUTURES, COIN_MARGINED)
    assert (trade["price"], trade["quantity"]) == (73.125, 12)
    for venue, frame in ((FUTURES, COIN_MARGINED | {"symbol": "LTCUSDT"}), (SPOT, COIN_MARGINED), (SPOT, FRAME)):
        decoder = Decoder(venue)
        assert decoder.frame(json.dumps(frame).encode()) == [] and len(decoder.refused) == 1


def test_only_symbols_that_trade_against_usdt_are_listed_under_the_coin_of_their_product():
    body = products(
        products=[spot_row("sOLUSDT", "OL"), spot_row("sSUSHIUSDT", "SUSHI", status="Delisted"),
                  spot_row("sUSDTTRY", "USDT", "TRY"),
                  {"symbol": "BTCUSD", "type": "Perpetual", "quoteCurrency": "USD", "status": "Listed"}],
        perpProductsV2=[perpetual_row("SOLUSDT", "SOL"), perpetual_row("u1000PEPEUSDT", "1000 PEPE"),
                        perpetual_row("BTCUSDC", "BTC", "USDC"), perpetual_row("LUNAUSDT", "LUNA", status="Delisted")])
    (ol,) = SPOT.parse_instruments([body])
    assert (ol.symbol, ol.base, coin_of(ol), ol.price_divisor, ol.contract_size) == ("sOLUSDT", "OL", "OL", 1e8, 1e-8)
    sol, pepe = FUTURES.parse_instruments([body])
    assert (sol.symbol, coin_of(sol), sol.multiplier) == ("SOLUSDT", "SOL", 1)
    assert (pepe.symbol, pepe.base, coin_of(pepe), pepe.multiplier) == ("u1000PEPEUSDT", "1000PEPE", "PEPE", 1000)


@pytest.mark.parametrize("body", [
    b"", b"{", b"<html>gateway</html>", b"[]", b"null", b'{"data":null}', b'{"data":{"products":[]}}',
    products(products=[spot_row("sNEWUSDT", "NEW")]), products(products=["sNEWUSDT"]), products(products=[{"symbol": "sX"}]),
], ids=repr)
def test_a_body_that_is_not_a_product_list_makes_the_list_unavailable(body):
    with pytest.raises(ServiceUnavailable, match="not an instrument list"):
        fetch_instruments(SPOT, lambda request: body)


def test_a_request_has_one_symbol_and_dropping_a_symbol_never_drops_all():
    for venue, method in ((SPOT, "trade.subscribe"), (FUTURES, "trade_p.subscribe")):
        asked = Subscriptions(venue, lambda symbol, reason: None)
        asked.want([f"s{number}USDT" for number in range(90)], add=True)
        texts = []
        while asked.waiting:
            texts.append(json.loads(asked.next_text(0.0)))
        assert len(texts) == 90
        for text in texts:
            assert (text["method"], len(text["params"])) == (method, 1)
            granted = {"error": None, "id": text["id"], "result": {"status": "success"}}
            asked.answer(venue.read_control(json.dumps(granted).encode()))
        asked.want(["s5USDT"], add=False)
        text = json.loads(asked.next_text(0.0))
        assert text["method"] == "server.ping" and text["id"] > 90
        asked.answer(venue.read_control(json.dumps({"error": None, "id": text["id"], "result": "pong"}).encode()))
        assert asked.settled and len(asked.granted) == 89
    assert json.loads(SPOT.heartbeat.text(AT)) == {"id": 0, "method": "server.ping", "params": []}


@pytest.mark.parametrize(("frame", "kind", "request_id"), [
    ({"error": None, "id": 7, "result": {"status": "success"}}, ControlKind.ACK, 7),
    ({"error": {"code": 6001, "message": "invalid argument"}, "id": 7, "result": None}, ControlKind.REFUSAL, 7),
    ({"error": {"code": 6015, "message": "subscription limit exceeded"}, "id": 8, "result": None}, ControlKind.FULL, 8),
    ({"error": None, "id": 0, "result": "pong"}, ControlKind.PONG, 0),
    ({"error": {"code": 6001, "message": "invalid argument"}, "id": None, "result": None}, ControlKind.REFUSAL, None),
    ({"book": {"asks": [], "bids": []}, "sequence": 1, "symbol": "sBTCUSDT", "type": "snapshot"}, ControlKind.OTHER, None),
    ({"orderbook_p": {"asks": []}, "symbol": "BTCUSDT"}, ControlKind.OTHER, None),
    ({"kline": [[1]], "symbol": "BTCUSD"}, ControlKind.OTHER, None),
    ({"data": [["X"]], "method": "perp_market24h_pack_p.update"}, ControlKind.OTHER, None),
])
def test_control_frames_are_understood(frame, kind, request_id):
    for venue in VENUES:
        control = venue.read_control(json.dumps(frame).encode())
        assert control is not None and (control.kind, control.request_id) == (kind, request_id)
        assert decoded(venue, frame) == []


@pytest.mark.parametrize("text", ["[]", "null", "5", '"pong"', "{}", '{"id":1}', '{"result":5,"id":1}', '{"book":5}'])
def test_a_frame_that_is_neither_trade_nor_control_is_not_guessed(text):
    assert SPOT.read_control(text.encode()) is None


BAD_ROWS = [[], [AT], [AT, "Buy", 1], [AT, "buy", 1, 1], [AT, "Hold", 1, 1], [AT, None, 1, 1], [None, "Buy", 1, 1],
            [AT, "Buy", None, 1], [AT, "Buy", [], 1], [AT, "Buy", {}, 1], {"at": AT}, None, 5,
            [AT // 10**9, "Buy", 1, 1], [AT // 10**6, "Buy", 1, 1],
            [AT // 1000, "Buy", 1, 1], [AT * 10, "Buy", 1, 1], [2**63, "Buy", 1, 1], [-AT, "Buy", 1, 1], [AT, "Buy", -1, 1],
            [AT, "Buy", 1, 0], [AT, "Buy", 10**400, 1], [AT + 0.5, "Buy", 1, 1]]
BAD_TEXTS = ["nan", "1e400", "-1", "0", "inf", "", "x", "1_0", "\u0661", "1,5", "0x1"]


@pytest.mark.parametrize("row", BAD_ROWS, ids=repr)
def test_a_row_with_an_impossible_value_is_quarantined_with_a_reason(row):
    texts = [*row[:2], *map(str, row[2:])] if isinstance(row, list) and len(row) == 4 and None not in row else row
    for venue, frame in ((SPOT, SPOT_FRAME | {"trades": [row]}), (FUTURES, FRAME | {"trades_p": [texts]})):
        decoder = Decoder(venue)
        assert decoder.frame(json.dumps(frame).encode()) == []
        assert len(decoder.refused) == 1 and decoder.refused[0][1]


@pytest.mark.parametrize("text", BAD_TEXTS)
@pytest.mark.parametrize("place", [2, 3])
def test_a_text_that_is_not_a_number_is_quarantined(text, place):
    row = [AT, "Buy", "5", "5"]
    row[place] = text
    decoder = Decoder(FUTURES)
    assert decoder.frame(json.dumps(FRAME | {"trades_p": [row]}).encode()) == [] and len(decoder.refused) == 1


@pytest.mark.parametrize("change", [
    {"symbol": None}, {"symbol": 5}, {"sequence": 2**63}, {"sequence": None}, {"type": "delta"},
    {"trades_p": None, "trades": None}, {"trades_p": {}, "trades": {}},
])
def test_a_frame_with_an_impossible_field_is_quarantined(change):
    for venue, frame in ((SPOT, SPOT_FRAME), (FUTURES, FRAME)):
        decoder = Decoder(venue)
        assert decoder.frame(json.dumps(frame | change).encode()) == [] and len(decoder.refused) == 1


@pytest.mark.parametrize("symbol", ["sA/B", "s币安人生USDT", "s" * 200, "s\u0000"])
def test_symbols_of_any_spelling_pass(symbol):
    for venue, frame in ((SPOT, SPOT_FRAME), (FUTURES, FRAME)):
        assert decoded(venue, frame | {"symbol": symbol, "more": 1})[0]["symbol"] == symbol


def test_a_good_row_beside_a_bad_one_is_kept_and_the_frame_quarantined():
    decoder = Decoder(FUTURES)
    (trade,) = decoder.frame(json.dumps(FRAME | {"trades_p": [[AT, "Buy", "5", "0"], [AT, "Buy", "5", "1"]]}).encode())
    assert trade["quantity"] == 1 and len(decoder.refused) == 1


def test_history_is_the_newest_rows_of_the_requested_symbol():
    for venue, frame, path in ((SPOT, SPOT_FRAME, "/md/trade"), (FUTURES, FRAME, "/md/v2/trade")):
        request = venue.history_request(HistoryQuery(frame["symbol"], 0, AT))
        assert (request.path, request.params) == (path, {"symbol": frame["symbol"]})
        body = json.dumps({"error": None, "id": 0, "result": frame | {"type": "snapshot"}}).encode()
        columns = Columns()
        venue.parse_history(body, frame["symbol"], columns)
        assert (columns.symbol, columns.past, columns.timestamp) == ([frame["symbol"]], [0], [AT])
        for wrong in (body.replace(b"USDT", b"USDC"), b'{"error":{"code":6001},"id":0,"result":null}', b"<html>", b"[]"):
            with pytest.raises(REFUSALS):
                venue.parse_history(wrong, frame["symbol"], Columns())


@given(st.integers(1, 2**53 - 1), st.integers(1, 2**53 - 1))
def test_scaled_integers_become_the_very_float_their_decimals_mean(price, quantity):
    (trade,) = decoded(SPOT, SPOT_FRAME | {"trades": [[AT, "Buy", price, quantity]]})
    assert (trade["price"], trade["quantity"]) == tuple(float(Decimal(n).scaleb(-8)) for n in (price, quantity))


@given(st.decimals(min_value=Decimal("1e-9"), max_value=Decimal("1e9"), allow_nan=False, allow_infinity=False).map("{:f}".format))
def test_decimal_texts_become_the_very_float_that_python_makes_of_them(text):
    columns = columns_of(FUTURES, FRAME | {"trades_p": [[AT, "Buy", text, text]]})
    assert columns.price == columns.quantity == [float(text)]


@pytest.mark.parametrize(("venue", "seeds"), [
    (SPOT, [SPOT_FRAME, COIN_MARGINED]), (FUTURES, [FRAME, FRAME | {"trades_p": FRAME["trades_p"] * 3}, COIN_MARGINED])],
    ids=["spot", "futures"])
def test_damaged_frames_never_raise_and_each_is_trades_control_or_quarantined(venue: Venue, seeds: list[dict[str, Any]]) -> None:
    answers = [{"error": None, "id": 1, "result": {"status": "success"}}, {"error": {"code": 6001, "message": "x"}, "id": 2}]
    damage(venue, [*seeds, *answers], 15_000, vanishing=b"[]")


@needs_corpus
@pytest.mark.parametrize("listed", [None, "phemex_products_20210703.json", "phemex_products_roq.json"])
def test_every_recorded_frame_gives_exactly_what_is_expected(listed):
    body = (CORPUS / "rest_symbols" / listed).read_bytes() if listed else None
    assert compare_recorded_frames("phemex", VENUES, body, ids=False) == 26


@needs_corpus
def test_recorded_control_frames_give_no_trade():
    assert read_recorded_control("phemex", VENUES) == 9


@needs_corpus
def test_recorded_products_and_history_are_read():
    listed = SPOT.parse_instruments([(CORPUS / "rest_symbols" / "phemex_products_20210703.json").read_bytes()])
    assert len(listed) == 30 and all(instrument.symbol == f"s{instrument.base}USDT" for instrument in listed)
    body = CORPUS / "rest_trades" / "phemex_md_trade_spot_doc.json"
    wanted = expected(json.loads(body.with_suffix(".expected.json").read_text()))
    assert [(*trade[1:4], trade[5]) for trade in historical(SPOT, body.read_bytes(), "sBTCUSDT")] == [
        (price.scaleb(8), quantity.scaleb(8), side, at) for _, price, quantity, side, _, at in wanted]
