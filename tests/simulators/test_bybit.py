"""Bybit's simulated markets: answers to requests, frames, lists and history."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from typing import Any

import pytest
import websocket
from pumpwatch_plugins.simulators.bybit import simulator_dialects

from pumpwatch import Coin
from pumpwatch.sim.process import SimProcess
from tests.sim.clients import connect, get, receive
from tests.simulators.direct import Client

SPOT, LINEAR = "bybit.spot", "bybit.futures"
SPOT_DIALECT, LINEAR_DIALECT = simulator_dialects()


@pytest.fixture(scope="module")
def sim() -> Iterator[SimProcess]:
    with SimProcess(venues=[SPOT, LINEAR], symbols=16, rate=1500, flag_shares={LINEAR: {"1": 0.1, "2": 0.2}}) as running:
        yield running


def ask(connection: websocket.WebSocket, op: str, *symbols: str, number: int = 1) -> dict[str, Any]:
    """Send a request and return its answer."""
    connection.send(json.dumps({"req_id": str(number), "op": op, "args": [f"publicTrade.{one}" for one in symbols]}))
    while True:
        frame: dict[str, Any] = json.loads(connection.recv())
        if frame.get("req_id") == str(number):
            return frame


def test_a_grant_is_worded_by_market_and_frames_are_called_snapshots(sim: SimProcess) -> None:
    spot, linear = connect(sim, SPOT), connect(sim, LINEAR)
    answer = ask(spot, "subscribe", "BTCUSDT", "ETHUSDT")
    assert (answer["success"], answer["ret_msg"], answer["op"]) == (True, "subscribe", "subscribe")
    assert ask(linear, "subscribe", "BTCUSDT", "ETHUSDT")["ret_msg"] == ""
    for connection in (spot, linear):
        frames = receive(connection, 60)
        assert {frame["type"] for frame in frames} == {"snapshot"}
        assert {frame["topic"] for frame in frames} == {"publicTrade.BTCUSDT", "publicTrade.ETHUSDT"}


def test_spot_ids_are_numbers_and_linear_ones_uuids_several_a_frame(sim: SimProcess) -> None:
    spot, linear = connect(sim, SPOT), connect(sim, LINEAR)
    ask(spot, "subscribe", "BTCUSDT")
    ask(linear, "subscribe", "BTCUSDT")
    numbers = [int(trade["i"]) for frame in receive(spot, 100) for trade in frame["data"]]
    assert numbers == sorted(set(numbers))
    frames = receive(linear, 100)
    trades = [trade for frame in frames for trade in frame["data"]]
    assert max(len(frame["data"]) for frame in frames) > 1
    assert len({uuid.UUID(trade["i"]) for trade in trades}) == len(trades)
    assert {(trade["BT"], trade["RPI"]) for trade in trades} == {(False, False), (True, False), (False, True)}


def test_eleven_topics_are_too_many_for_spot_and_not_for_linear(sim: SimProcess) -> None:
    listed = get(sim, sim.addresses["venues"][SPOT]["rest_url"] + "/v5/market/instruments-info?category=spot").json
    symbols = [row["symbol"] for row in listed["result"]["list"] if row["quoteCoin"] == "USDT"]
    connection = connect(sim, SPOT)
    assert ask(connection, "subscribe", *symbols[:11])["ret_msg"] == "args size >10"
    assert ask(connection, "subscribe", *symbols[:10], number=2)["success"] is True
    assert ask(connect(sim, LINEAR), "subscribe", *(f"{name}USDT" for name in (
        "BTC", "ETH", "SOL", "XRP", "SOMI", "DOGE", "0G", "TIA", "ORDER", "NMR", "KAIA")))["success"] is True


@pytest.mark.parametrize(("topics", "says"), [
    (["BTCUSDT", "NOPEUSDT"], "error:handler not found,topic:publicTrade.NOPEUSDT"),
    (["SOLUSDT", "ETHUSDT"], "error:already subscribed,topic:publicTrade.ETHUSDT"),
])
def test_one_bad_topic_rejects_its_whole_request(sim: SimProcess, topics: list[str], says: str) -> None:
    connection = connect(sim, LINEAR)
    assert ask(connection, "subscribe", "ETHUSDT")["success"] is True
    answer = ask(connection, "subscribe", *topics, number=2)
    assert (answer["success"], answer["ret_msg"]) == (False, says)
    assert {frame["topic"] for frame in receive(connection, 30)} == {"publicTrade.ETHUSDT"}
    assert ask(connection, "unsubscribe", "ETHUSDT", number=3)["success"] is True
    connection.settimeout(0.3)
    with pytest.raises(websocket.WebSocketTimeoutException):
        connection.recv()


def test_a_ping_is_answered_as_a_ping(sim: SimProcess) -> None:
    connection = connect(sim, LINEAR)
    connection.send('{"req_id":"100001","op":"ping"}')
    answer = json.loads(connection.recv())
    assert (answer["op"], answer["ret_msg"], answer["success"], answer["req_id"]) == ("ping", "pong", True, "100001")


@pytest.mark.parametrize("text", ["{", "[]", '{"op":"dance"}', '{"op":"subscribe"}', '{"op":"subscribe","args":[5]}'])
def test_an_invalid_request_is_rejected(sim: SimProcess, text: str) -> None:
    connection = connect(sim, LINEAR)
    connection.send(text)
    assert json.loads(connection.recv())["success"] is False


def test_the_path_of_the_other_market_is_not_found(sim: SimProcess) -> None:
    with pytest.raises(websocket.WebSocketBadStatusException) as caught:
        connect(sim, SPOT, "/v5/public/linear")
    assert caught.value.status_code == 404


def test_the_linear_list_comes_in_pages_with_an_encoded_cursor(sim: SimProcess) -> None:
    url = sim.addresses["venues"][LINEAR]["rest_url"] + "/v5/market/instruments-info?category=linear&limit=7"
    rows, cursor = [], ""
    while True:
        result = get(sim, url + (f"&cursor={cursor}" if cursor else "")).json["result"]
        rows += result["list"]
        cursor = result["nextPageCursor"]
        if not cursor:
            break
        assert "%3D" in cursor
    assert len(rows) == 18
    assert {(row["contractType"], row["quoteCoin"]) for row in rows} == {
        ("LinearPerpetual", "USDT"), ("LinearPerpetual", "USDC"), ("LinearFutures", "USDT")}
    assert {"1000PEPEUSDT", "0GUSDT"} <= {row["symbol"] for row in rows}
    refused = get(sim, url + "&cursor=first%253D7").json  # encoded twice
    assert refused["retCode"] == 10001


def test_history_is_the_newest_rows_up_to_the_limit_of_the_market(sim: SimProcess) -> None:
    connection = connect(sim, LINEAR)
    ask(connection, "subscribe", "BTCUSDT")
    live = {trade["i"]: trade for frame in receive(connection, 200) for trade in frame["data"]}
    rest = sim.addresses["venues"][LINEAR]["rest_url"] + "/v5/market/recent-trade?category=linear&symbol="
    rows = get(sim, rest + "BTCUSDT&limit=1000").json["result"]["list"]
    both = [row for row in rows if row["execId"] in live]
    assert len(both) > 50
    for row in both:
        trade = live[row["execId"]]
        assert (row["price"], row["size"], row["side"], row["time"]) == (trade["p"], trade["v"], trade["S"], str(trade["T"]))
    assert [int(row["time"]) for row in rows] == sorted((int(row["time"]) for row in rows), reverse=True)
    spot = sim.addresses["venues"][SPOT]["rest_url"] + "/v5/market/recent-trade?category=spot&symbol=BTCUSDT&limit=1000"
    assert len(get(sim, spot).json["result"]["list"]) <= 60
    assert get(sim, rest + "NOPEUSDT").json["retCode"] == 10001
    assert get(sim, spot.replace("=spot", "=linear")).json["retCode"] == 10001


def test_candles_are_newest_first_within_two_times() -> None:
    client = Client(LINEAR_DIALECT, listed=1, trades=3000, seconds=300)

    def minutes(**query: str) -> list[list[str]]:
        reply = client.get("/v5/market/kline", category="linear", symbol="BTCUSDT", interval="1", **query)
        result = json.loads(reply.body)["result"]
        assert result["symbol"] == "BTCUSDT"
        return result["list"]

    found = minutes()
    starts = [int(minute[0]) for minute in found]
    assert starts == list(range(starts[0], starts[0] - 60_000 * len(starts), -60_000)) and len(starts) >= 5
    rows = client.history.recent(0, 3000)
    assert sum(float(minute[5]) for minute in found) == pytest.approx(rows.quantities().sum())
    assert minutes(start=str(starts[3]), end=str(starts[2])) == found[2:4]
    assert minutes(limit="2") == found[:2]


@pytest.mark.parametrize(("query", "says"), [
    ({"symbol": "NOPEUSDT", "interval": "1"}, "Not supported symbols"),
    ({"symbol": "BTCUSDT", "interval": "7"}, "Invalid period!"),
    ({"symbol": "BTCUSDT", "interval": "1", "start": "x"}, "params error: start or end invalid"),
])
def test_a_wrong_request_for_candles_is_answered_with_its_error(query: dict[str, str], says: str) -> None:
    answer = json.loads(Client(LINEAR_DIALECT).get("/v5/market/kline", category="linear", **query).body)
    assert (answer["retCode"], answer["retMsg"]) == (10001, says)


def test_a_connection_holds_21_000_characters_of_topics() -> None:
    coins = [Coin(f"{number:03}{'L' * 87}", 1.0) for number in range(200)]  # 109 characters each, as JSON has their topics
    client = Client(LINEAR_DIALECT, listed=coins, trades=1)
    topics = [f"publicTrade.{coin.name}USDT" for coin in coins]
    (answer,) = client.say({"op": "subscribe", "args": topics[:190]})
    assert answer["success"]
    (rejection,) = client.say({"op": "subscribe", "args": topics[190:]})
    assert not rejection["success"] and "21000" in rejection["ret_msg"]
    (answer,) = client.say({"op": "subscribe", "args": topics[190:192]})
    assert answer["success"]


def test_too_many_requests_are_forbidden() -> None:
    client = Client(SPOT_DIALECT)
    limit = SPOT_DIALECT.rules.requests
    assert client.get("/v5/market/tickers", used=limit - 1, category="spot").status == 200
    assert client.get("/v5/market/tickers", used=limit, category="spot").status == 403
