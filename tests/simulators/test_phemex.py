"""Phemex's simulated markets: rejections, past trades on subscribing, pings that are due."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
import websocket
from pumpwatch_plugins.simulators.phemex import simulator_dialects

from pumpwatch.sim.process import SimProcess
from tests.sim.clients import closed_with, connect, drained, get
from tests.simulators.direct import Client

SPOT, FUTURES = "phemex.spot", "phemex.futures"
INVALID = {"code": 6001, "message": "invalid argument"}


@pytest.fixture(scope="module")
def sim() -> Iterator[SimProcess]:
    with SimProcess(venues=[SPOT, FUTURES], symbols=["BTC", "ETH", "PEPE", "OL", "SOL"], rate=2000,
                    rules={SPOT: {"client_silence_s": 3.0}}) as running:
        while any(len(snapshot(running, venue)) <= 100 for venue in (SPOT, FUTURES)):
            time.sleep(0.1)
        yield running


def snapshot(sim: SimProcess, venue: str) -> list[Any]:
    """Return the trades of BTC that the REST side has."""
    path, key = {SPOT: ("/md/trade?symbol=sBTCUSDT", "trades"), FUTURES: ("/md/v2/trade?symbol=BTCUSDT", "trades_p")}[venue]
    rows: list[Any] = get(sim, sim.addresses["venues"][venue]["rest_url"] + path).json["result"][key]
    return rows


def ask(connection: websocket.WebSocket, method: str, *params: str, number: int = 1) -> tuple[dict[str, Any], list[Any]]:
    """Send a request; return its answer and the frames before it."""
    connection.send(json.dumps({"id": number, "method": method, "params": params}))
    before: list[Any] = []
    while (frame := json.loads(connection.recv())).get("id", -1) != number:
        before.append(frame)
    return frame, before


def snapshot_of(connection: websocket.WebSocket, before: list[Any], symbol: str) -> dict[str, Any]:
    for frame in before:
        if frame.get("type") == "snapshot" and frame["symbol"] == symbol:
            return frame
    while True:
        frame = json.loads(connection.recv())
        if frame.get("type") == "snapshot" and frame["symbol"] == symbol:
            return frame


def test_every_subscription_is_acknowledged_and_gives_past_trades_newest_first_in_either_order(sim: SimProcess) -> None:
    connection = connect(sim, FUTURES)
    orders = []
    for number in range(1, 5):
        answer, before = ask(connection, "trade_p.subscribe", "BTCUSDT", number=number)
        assert answer == {"error": None, "id": number, "result": {"status": "success"}}
        orders.append(any(frame.get("type") == "snapshot" for frame in before))
        frame = snapshot_of(connection, before, "BTCUSDT")
        times = [row[0] for row in frame["trades_p"]]
        assert times == sorted(times, reverse=True) and 100 < len(times) <= 1000
    assert orders == [False, True, False, True]
    live = json.loads(connection.recv())
    assert (list(live)[:5], live["type"]) == (["dts", "mts", "sequence", "symbol", "trades_p"], "incremental")
    at, side, price, quantity = live["trades_p"][0]
    assert abs(at / 1e9 - time.time()) < 60 and side in ("Buy", "Sell") and float(price) > 0 and float(quantity) > 0


def test_spot_frames_hold_scaled_integers(sim: SimProcess) -> None:
    connection = connect(sim, SPOT)
    _, before = ask(connection, "trade.subscribe", "sBTCUSDT")
    row = snapshot_of(connection, before, "sBTCUSDT")["trades"][0]
    assert all(isinstance(number, int) for number in (row[0], row[2], row[3]))
    assert 1e12 < row[2] < 1e14


@pytest.mark.parametrize(("venue", "method", "params"), [
    (SPOT, "trade_p.subscribe", ["sBTCUSDT"]), (FUTURES, "trade.subscribe", ["BTCUSDT"]),
    (FUTURES, "trade_p.subscribe", ["NOPE"]), (SPOT, "trade.subscribe", ["SBTCUSDT"]),
    (SPOT, "trade.subscribe", ["sBTCUSDT", "sETHUSDT"]), (SPOT, "trade.subscribe", []),
    (SPOT, "dance", ["sBTCUSDT"]),
])
def test_a_wrong_request_is_an_invalid_argument(sim: SimProcess, venue: str, method: str, params: list[str]) -> None:
    answer, _ = ask(connect(sim, venue), method, *params, number=9)
    assert answer == {"error": INVALID, "id": 9, "result": None}


def test_a_message_that_is_not_a_request_is_an_invalid_argument(sim: SimProcess) -> None:
    connection = connect(sim, SPOT)
    for text in ("{", "[1]", '{"id":1}'):
        connection.send(text)
        assert json.loads(connection.recv())["error"] == INVALID


def test_unsubscribing_drops_every_symbol(sim: SimProcess) -> None:
    connection = connect(sim, FUTURES)
    for number, symbol in enumerate(("BTCUSDT", "ETHUSDT"), 1):
        ask(connection, "trade_p.subscribe", symbol, number=number)
    ask(connection, "trade_p.unsubscribe", "BTCUSDT", number=3)
    assert drained(connection, 0.5) == []


def test_a_connection_holds_101_symbols() -> None:
    client = Client(simulator_dialects()[0], listed=103)

    def error_of(symbol: str) -> Any:
        answers = client.say({"id": 1, "method": "trade.subscribe", "params": [symbol]})
        return next(answer["error"] for answer in answers if "error" in answer)

    assert [error_of(symbol) for symbol in client.table.symbols[:101]] == [None] * 101
    assert error_of(client.table.symbols[101]) == {"code": 6015, "message": "subscription limit exceeded"}
    assert error_of(client.table.symbols[0]) is None


def test_a_client_that_does_not_ping_is_cut_off_without_a_word_though_data_flow(sim: SimProcess) -> None:
    mute, polite = connect(sim, SPOT), connect(sim, SPOT)
    ask(mute, "trade.subscribe", "sBTCUSDT")
    deadline = time.monotonic() + 30
    while not any(event["kind"] == "down" and event["reason"] == "client silent" for event in sim.truth().events):
        assert ask(polite, "server.ping")[0] == {"error": None, "id": 1, "result": "pong"}
        assert time.monotonic() < deadline
        time.sleep(0.3)
    assert {opcode for opcode, _ in drained(mute, 1)} == {websocket.ABNF.OPCODE_TEXT}
    assert ask(polite, "server.ping")[0]["result"] == "pong"


def test_more_than_20_requests_a_second_are_too_many(sim: SimProcess) -> None:
    connection = connect(sim, FUTURES)
    for number in range(22):
        connection.send(json.dumps({"id": number, "method": "server.ping", "params": []}))
    assert closed_with(connection)[0] == 1008


def test_products_hold_symbols_that_trade_and_symbols_to_leave_out(sim: SimProcess) -> None:
    data = get(sim, sim.addresses["venues"][FUTURES]["rest_url"] + "/public/products").json["data"]
    rows = {row["symbol"]: row for row in (*data["products"], *data["perpProductsV2"])}
    assert rows["u1000PEPEUSDT"]["baseCurrency"] == "1000 PEPE"
    assert rows["BTCUSDC"]["quoteCurrency"] == "USDC" and rows["BTCUSD"]["type"] == "Perpetual"
    assert rows["LUNAUSDT"]["status"] == "Delisted"
    data = get(sim, sim.addresses["venues"][SPOT]["rest_url"] + "/public/products").json["data"]
    assert {row["symbol"] for row in data["products"]} >= {"sOLUSDT", "sSOLUSDT", "sPEPEUSDT"}
    assert {row["currency"]: row["valueScale"] for row in data["currencies"]}["OL"] == 8


def test_rest_gives_the_newest_trades_of_a_symbol(sim: SimProcess) -> None:
    for venue, path, symbol, key in ((SPOT, "/md/trade", "sBTCUSDT", "trades"), (FUTURES, "/md/v2/trade", "BTCUSDT", "trades_p")):
        rest = sim.addresses["venues"][venue]["rest_url"]
        result = get(sim, f"{rest}{path}?symbol={symbol}").json["result"]
        assert (result["symbol"], result["type"]) == (symbol, "snapshot") and len(result[key]) > 100
        answer = get(sim, f"{rest}{path}?symbol=NOPE")
        assert (answer.status, answer.json["error"]) == (500, INVALID)
        assert get(sim, f"{rest}/nothing").status == 404


def test_recorded_frames_are_read_with_their_own_digits() -> None:
    spot, futures = simulator_dialects()
    frame = b'{"sequence":3,"symbol":"sETHUSDT","trades":[[9,"Buy",24025000001,50],[8,"Sell",7,1234567890]],"type":"incremental"}'
    assert [(trade.price, trade.quantity, trade.sell, trade.timestamp_ns) for trade in spot.read_tape(frame)] == [
        ("0.00000007", "12.34567890", True, 8), ("240.25000001", "0.00000050", False, 9)]
    frame = b'{"sequence":3,"symbol":"BTCUSDT","trades_p":[[9,"Buy","76426.7","0.091"]],"type":"incremental"}'
    (trade,) = futures.read_tape(frame)
    assert (trade.symbol, trade.price, trade.quantity) == ("BTCUSDT", "76426.7", "0.091")
    assert futures.read_tape(frame.replace(b"incremental", b"snapshot")) == futures.read_tape(b'{"id":1,"result":"pong"}') == []


@pytest.mark.parametrize("market", [0, 1])
def test_candles_are_whole_minutes_that_are_over_newest_first(market: int) -> None:
    client = Client(simulator_dialects()[market], trades=3000, seconds=300)
    now = client.now_ns // 60_000_000_000 * 60
    path, ask = "/exchange/public/md/v2/kline/list", {"symbol": client.table.symbols[0], "resolution": "60"}
    rows = json.loads(client.get(path, **ask, **{"from": str(now - 240), "to": str(now + 60)}).body)["data"]["rows"]
    assert [row[0] for row in rows] == [now - 60, now - 120, now - 180, now - 240]
    assert {type(figure) for row in rows for figure in row[2:9]} == {int if market == 0 else str}
    for wrong in ({"from": str(now - 239)}, {"from": str(now - 60_000)}, {"resolution": "61"}, {"to": "x"}):
        answer = json.loads(client.get(path, **ask | {"from": str(now - 240), "to": str(now)} | wrong).body)
        assert (answer["code"], answer["data"]) == (30000, None)
    assert client.get(path, used=client.dialect.rules.requests - 9, **ask).status == 429


def test_a_cache_gives_the_same_history_again_for_a_second() -> None:
    client = Client(simulator_dialects()[0])
    symbol = client.table.symbols[0]
    before = client.get("/md/trade", symbol=symbol).body
    client.history.add(client.history.recent(0, 3))
    client.now_ns += 900_000_000
    assert client.get("/md/trade", symbol=symbol).body == before
    client.now_ns += 100_000_000
    assert client.get("/md/trade", symbol=symbol).body != before
