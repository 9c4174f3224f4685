"""Phemex's plugin: scaled integers and decimal texts, trades without ids, rows newest first, and names that mislead."""

from __future__ import annotations

import json
import random
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pumpwatch_plugins.exchanges.phemex import VENUES, parse_futures, parse_spot

from pumpwatch.catalogue import Catalogue, coin_of
from pumpwatch.clock import Clock
from pumpwatch.errors import REFUSALS, ServiceUnavailable
from pumpwatch.feeds.subscriptions import Subscriptions
from pumpwatch.instruments.lists import fetch_instruments
from pumpwatch.model import Columns, ControlKind, HistoryQuery, Instrument, Venue
from pumpwatch.net.frames import Frames, NoSource
from pumpwatch.pipeline.decode import Decoder
from pumpwatch.pipeline.parse import VenueParser
from pumpwatch.stats import Stats
from tests.corpus import CORPUS, needs_corpus, rows

SPOT, FUTURES = VENUES
AT = 1_788_000_000_123_456_789
SPOT_FRAME: dict[str, Any] = {"sequence": 771, "symbol": "sSUSHIUSDT", "trades": [[AT, "Buy", 731_200_000, 45_000_000]],
                              "type": "incremental"}
FRAME: dict[str, Any] = {"dts": AT + 9, "mts": AT + 5, "sequence": 991, "symbol": "BTCUSDT",
                         "trades_p": [[AT, "Sell", "71044.3", "0.052"]], "type": "incremental"}
COIN_MARGINED: dict[str, Any] = {"sequence": 5, "symbol": "LTCUSD", "trades": [[AT, "Sell", 731_250, 12]], "type": "snapshot"}


def decoded(venue: Venue, frame: Any, instruments: bytes | None = None) -> list[dict[str, Any]]:
    one = Decoder(venue, instruments)
    trades = one.frame(frame if isinstance(frame, bytes) else json.dumps(frame).encode())
    assert not one.refused, one.refused
    return trades


def columns_of(parse: Any, *frames: Any) -> Columns:
    columns = Columns()
    parse(json.dumps(frames).encode(), columns)
    return columns


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
    (trade,) = decoded(SPOT, SPOT_FRAME | {"symbol": "sFEWUSDT"}, listed)
    assert (trade["price"], trade["quantity"]) == (731.2, 450_000.0)


def test_a_perpetuals_digits_are_taken_as_they_are():
    (trade,) = decoded(FUTURES, FRAME)
    assert (trade["symbol"], trade["side"], trade["price"], trade["quantity"], trade["timestamp"]) == (
        "BTCUSDT", "sell", 71044.3, 0.052, AT)
    assert trade["trade_id"] == "S71044.3x0.052"


@pytest.mark.parametrize(("spelt", "other"), [("100.0", "100.00"), ("100", "100.0"), ("0.052", "0.0520"), ("1e2", "100"),
                                              ("10.05", "10.050")])
def test_a_number_is_the_same_identity_however_it_is_spelt(spelt, other):
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
    columns = columns_of(parse_spot, SPOT_FRAME, SPOT_FRAME | {"type": "snapshot", "trades": SPOT_FRAME["trades"] * 3})
    assert (columns.past, columns.counts, len(columns.symbol)) == ([1, 2, 3], [1, 3], 4)
    untyped = {key: value for key, value in FRAME.items() if key != "type"}
    assert columns_of(parse_futures, untyped).past == []


def test_a_snapshot_of_a_symbol_that_has_not_traded_is_no_trade_and_no_fault():
    for venue, frame in ((SPOT, SPOT_FRAME | {"trades": []}), (FUTURES, FRAME | {"trades_p": []})):
        assert decoded(venue, frame | {"type": "snapshot"}) == []


def test_case_and_prefix_are_kept():
    assert decoded(SPOT, SPOT_FRAME | {"symbol": "sOLUSDT"})[0]["symbol"] == "sOLUSDT"
    assert decoded(FUTURES, FRAME | {"symbol": "SOLUSDT"})[0]["symbol"] == "SOLUSDT"


def test_integers_are_read_where_they_are_known_to_be_scaled_and_nowhere_else():
    (trade,) = decoded(FUTURES, COIN_MARGINED)
    assert (trade["price"], trade["quantity"]) == (73.125, 12)
    for venue, frame in ((FUTURES, COIN_MARGINED | {"symbol": "LTCUSDT"}), (SPOT, COIN_MARGINED), (SPOT, FRAME)):
        one = Decoder(venue)
        assert one.frame(json.dumps(frame).encode()) == [] and len(one.refused) == 1


def test_only_what_trades_against_usdt_is_listed_by_its_products_coin():
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
def test_what_is_no_product_list_is_one_clear_refusal(body):
    with pytest.raises(ServiceUnavailable, match="not an instrument list"):
        fetch_instruments(SPOT, lambda request: body)


def test_one_symbol_a_request_and_no_symbol_is_ever_dropped_by_dropping_all():
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
def test_what_is_no_trade_is_understood(frame, kind, request_id):
    for venue in VENUES:
        control = venue.read_control(json.dumps(frame).encode())
        assert control is not None and (control.kind, control.request_id) == (kind, request_id)
        assert decoded(venue, frame) == []


@pytest.mark.parametrize("text", ["[]", "null", "5", '"pong"', "{}", '{"id":1}', '{"result":5,"id":1}', '{"book":5}'])
def test_garbage_is_no_control(text):
    assert SPOT.read_control(text.encode()) is None


BAD_ROWS = [[], [AT], [AT, "Buy", 1], [AT, "buy", 1, 1], [AT, "Hold", 1, 1], [AT, None, 1, 1], [None, "Buy", 1, 1],
            [AT, "Buy", None, 1], [AT, "Buy", [], 1], [AT, "Buy", {}, 1], {"at": AT}, None, 5,
            [AT // 10**9, "Buy", 1, 1], [AT // 10**6, "Buy", 1, 1],
            [AT // 1000, "Buy", 1, 1], [AT * 10, "Buy", 1, 1], [2**63, "Buy", 1, 1], [-AT, "Buy", 1, 1], [AT, "Buy", -1, 1],
            [AT, "Buy", 1, 0], [AT, "Buy", 10**400, 1], [AT + 0.5, "Buy", 1, 1]]
BAD_TEXTS = ["nan", "1e400", "-1", "0", "inf", "", "x", "1_0", "\u0661", "1,5", "0x1"]


@pytest.mark.parametrize("row", BAD_ROWS, ids=repr)
def test_a_row_with_an_impossible_value_is_refused_with_a_reason(row):
    texts = [*row[:2], *map(str, row[2:])] if isinstance(row, list) and len(row) == 4 and None not in row else row
    for venue, frame in ((SPOT, SPOT_FRAME | {"trades": [row]}), (FUTURES, FRAME | {"trades_p": [texts]})):
        one = Decoder(venue)
        assert one.frame(json.dumps(frame).encode()) == []
        assert len(one.refused) == 1 and one.refused[0][1]


@pytest.mark.parametrize("text", BAD_TEXTS)
@pytest.mark.parametrize("place", [2, 3])
def test_digits_that_are_none_are_refused(text, place):
    row = [AT, "Buy", "5", "5"]
    row[place] = text
    one = Decoder(FUTURES)
    assert one.frame(json.dumps(FRAME | {"trades_p": [row]}).encode()) == [] and len(one.refused) == 1


@pytest.mark.parametrize("change", [
    {"symbol": None}, {"symbol": 5}, {"sequence": 2**63}, {"sequence": None}, {"type": "delta"},
    {"trades_p": None, "trades": None}, {"trades_p": {}, "trades": {}},
])
def test_a_frame_with_an_impossible_field_is_refused(change):
    for venue, frame in ((SPOT, SPOT_FRAME), (FUTURES, FRAME)):
        one = Decoder(venue)
        assert one.frame(json.dumps(frame | change).encode()) == [] and len(one.refused) == 1


@pytest.mark.parametrize("symbol", ["sA/B", "s币安人生USDT", "s" * 200, "s\u0000"])
def test_symbols_of_any_spelling_pass(symbol):
    for venue, frame in ((SPOT, SPOT_FRAME), (FUTURES, FRAME)):
        assert decoded(venue, frame | {"symbol": symbol, "more": 1})[0]["symbol"] == symbol


def test_a_good_row_beside_a_bad_one_is_kept_and_the_frame_put_away():
    one = Decoder(FUTURES)
    (trade,) = one.frame(json.dumps(FRAME | {"trades_p": [[AT, "Buy", "5", "0"], [AT, "Buy", "5", "1"]]}).encode())
    assert trade["quantity"] == 1 and len(one.refused) == 1


def test_history_is_the_newest_rows_of_the_symbol_asked_for():
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
    columns = columns_of(parse_futures, FRAME | {"trades_p": [[AT, "Buy", text, text]]})
    assert columns.price == columns.quantity == [float(text)]


def test_mutated_frames_never_crash_and_each_is_trades_control_or_refused():
    chance = random.Random(11)
    decoders = [Decoder(venue) for venue in VENUES]
    frames = (SPOT_FRAME, FRAME, COIN_MARGINED, FRAME | {"trades_p": FRAME["trades_p"] * 3})
    seeds = [*(json.dumps(one).encode() for one in frames), b'{"error":null,"id":1,"result":{"status":"success"}}',
             b'{"error":{"code":6001,"message":"no"},"id":2,"result":null}']
    for number in range(30_000):
        frame = bytearray(chance.choice(seeds))
        for _ in range(chance.randint(1, 4)):
            at, kind = chance.randrange(len(frame)), chance.random()
            if kind < 0.5:
                frame[at] = chance.randrange(256)
            elif kind < 0.75:
                del frame[at]
            else:
                frame.insert(at, chance.choice(b'{}[]",:0129eE.-\\ntrue'))
        one = decoders[number % 2]
        before = len(one.refused) + one.controls
        trades = one.frame(bytes(frame), number)
        assert trades or len(one.refused) + one.controls - before <= 1


def comparable(trade):
    return (trade["symbol"], Decimal(repr(trade["price"])), Decimal(repr(trade["quantity"])), trade["side"], trade["timestamp"])


def expected(one):
    return (one["symbol"], Decimal(one["price"]), Decimal(one["quantity"]), one["side"], one["timestamp_ns"])


@needs_corpus
@pytest.mark.parametrize("listed", [None, "phemex_products_20210703.json", "phemex_products_roq.json"])
def test_every_recorded_frame_gives_exactly_what_is_expected(listed):
    body = (CORPUS / "rest_symbols" / listed).read_bytes() if listed else None
    checked = 0
    for row in (*rows("trades.jsonl"), *rows("trades_cryptofeed.jsonl.gz")):
        if row["exchange"] == "phemex" and not row.get("obsolete"):
            venue = SPOT if row["market"] == "spot" else FUTURES
            got = decoded(venue, row["raw"].encode(), body)
            assert list(map(comparable, got)) == list(map(expected, row["expected"])), row["raw"][:200]
            checked += 1
    assert checked == 26


@needs_corpus
def test_recorded_control_frames_give_no_trade():
    checked = [row for row in rows("control.jsonl") if row["exchange"] == "phemex"]
    for row in checked:
        for venue in VENUES:
            assert decoded(venue, row["raw"].encode()) == []
    assert len(checked) == 9


@needs_corpus
def test_recorded_products_and_history_are_read():
    listed = SPOT.parse_instruments([(CORPUS / "rest_symbols" / "phemex_products_20210703.json").read_bytes()])
    assert len(listed) == 30 and all(one.symbol == f"s{one.base}USDT" for one in listed)
    columns = Columns()
    body = CORPUS / "rest_trades" / "phemex_md_trade_spot_doc.json"
    SPOT.parse_history(body.read_bytes(), "sBTCUSDT", columns)
    wanted = json.loads(body.with_suffix(".expected.json").read_text())
    got = [(price, quantity, sell, at) for price, quantity, sell, at in
           zip(columns.price, columns.quantity, columns.sell, columns.timestamp, strict=True)]
    assert got == [(Decimal(one["price"]).scaleb(8), Decimal(one["quantity"]).scaleb(8), one["side"] == "sell",
                    one["timestamp_ns"]) for one in wanted]
