"""KuCoin's simulated markets: tokens, welcome, silent acknowledgements, two protocols."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

import pytest
import websocket
from pumpwatch_plugins.exchanges.kucoin import VENUES
from pumpwatch_plugins.simulators.kucoin import simulator_dialects

from pumpwatch.model import Columns, ControlKind
from pumpwatch.sim.ground_truth import PAST
from pumpwatch.sim.process import SimProcess
from tests.sim.clients import closed_with, connect, drained, get
from tests.simulators.direct import Client

SPOT, FUTURES = "kucoin.spot", "kucoin.futures"
TOPICS = {SPOT: "/market/match:", FUTURES: "/contractMarket/execution:"}


@pytest.fixture(scope="module")
def sim() -> Iterator[SimProcess]:
    with SimProcess(venues=[SPOT, FUTURES], symbols=["BTC", "ETH", "BONK"], rate=2000) as running:
        yield running


def token_of(sim: SimProcess, venue: str) -> dict[str, Any]:
    data: dict[str, Any] = get(sim, sim.addresses["venues"][venue]["rest_url"] + "/api/v1/bullet-public", body=b"").json["data"]
    return data


def opened(sim: SimProcess, venue: str = SPOT) -> websocket.WebSocket:
    """Open a connection as the documents say, up to the welcome."""
    token = quote(token_of(sim, venue)["token"], safe="")
    connection = connect(sim, venue, f"/?token={token}&connectId=17")
    assert json.loads(connection.recv()) == {"id": "17", "type": "welcome"}
    return connection


def ask(connection: websocket.WebSocket, **request: Any) -> dict[str, Any]:
    """Send a request and return its answer; trades before it are left out."""
    connection.send(json.dumps({"id": "5", **request}))
    while True:
        frame: dict[str, Any] = json.loads(connection.recv())
        if frame.get("id") == "5":
            return frame


def subscribe(connection: websocket.WebSocket, topic: str) -> dict[str, Any]:
    return ask(connection, type="subscribe", topic=topic, privateChannel=False, response=True)


def test_a_token_opens_one_connection_and_any_other_is_answered_401_and_closed(sim: SimProcess) -> None:
    token = quote(token_of(sim, SPOT)["token"], safe="")
    assert json.loads(connect(sim, SPOT, f"/?token={token}&connectId=1").recv())["type"] == "welcome"
    for path in (f"/?token={token}&connectId=2", "/?token=none&connectId=2", "/"):
        connection = connect(sim, SPOT, path)
        refusal = json.loads(connection.recv())
        assert (refusal["type"], refusal["code"], refusal["data"]) == ("error", 401, "token is expired")
        assert closed_with(connection)[1] == "token is expired"


def test_the_token_comes_with_the_address_to_connect_to_and_only_by_post(sim: SimProcess) -> None:
    data = token_of(sim, SPOT)
    assert data["instanceServers"][0]["endpoint"] == sim.addresses["venues"][SPOT]["ws_url"]
    assert get(sim, sim.addresses["venues"][SPOT]["rest_url"] + "/api/v1/bullet-public").status == 405


def test_an_unknown_symbol_is_acknowledged_and_silent(sim: SimProcess) -> None:
    connection = opened(sim)
    assert subscribe(connection, "/market/match:NOPE-USDT") == {"id": "5", "type": "ack"}
    assert drained(connection, 0.3) == []


@pytest.mark.parametrize("venue", [SPOT, FUTURES])
def test_frames_have_the_real_shape_and_the_plugin_reads_them(sim: SimProcess, venue: str) -> None:
    connection = opened(sim, venue)
    symbol = {SPOT: "BTC-USDT", FUTURES: "XBTUSDTM"}[venue]
    assert subscribe(connection, f"{TOPICS[venue]}{symbol},NOPE")["type"] == "ack"
    frames = [connection.recv() for _ in range(30)]
    columns = Columns()
    VENUES[0].parse(b"[" + ",".join(frames).encode() + b"]", columns)
    assert set(columns.symbol) == {symbol} and columns.trade_id == columns.sequence_number
    assert columns.trade_id == list(range(columns.trade_id[0], columns.trade_id[0] + 30))
    size = json.loads(frames[0])["data"]["size"]
    assert isinstance(size, str) if venue == SPOT else isinstance(size, int)
    assert ask(connection, type="unsubscribe", topic=f"{TOPICS[venue]}{symbol}", response=True)["type"] == "ack"
    assert drained(connection, 0.3) == []


@pytest.mark.parametrize(("topic", "code"), [
    ("/market/mtch:BTC-USDT", 404), ("/market/match:" + ",".join(f"A{number}-USDT" for number in range(101)), 509)])
def test_wrong_topics_and_too_many_symbols_are_rejected(sim: SimProcess, topic: str, code: int) -> None:
    assert subscribe(opened(sim), topic)["code"] == code


def test_a_spot_session_holds_400_symbols(sim: SimProcess) -> None:
    connection = opened(sim)
    for start in range(0, 400, 100):
        topic = "/market/match:" + ",".join(f"A{number}-USDT" for number in range(start, start + 100))
        assert subscribe(connection, topic)["type"] == "ack"
    refusal = subscribe(connection, "/market/match:B-USDT")
    assert refusal["code"] == 509
    assert VENUES[0].read_control(json.dumps(refusal).encode()).kind == ControlKind.FULL


def test_pings_are_answered_with_their_id_and_too_many_messages_close(sim: SimProcess) -> None:
    connection = opened(sim)
    assert ask(connection, type="ping")["type"] == "pong"
    for _ in range(100):  # in ten seconds, however they come
        connection.send('{"id":"6","type":"ping"}')
    assert closed_with(connection)[0] == 1008


def test_30_connects_a_minute_are_counted_for_both_markets_together() -> None:
    with SimProcess(venues=[SPOT, FUTURES], symbols=1, rate=10, paused=True) as sim:
        for number in range(30):
            connect(sim, (SPOT, FUTURES)[number % 2], "/tokenless").close()
        with pytest.raises(websocket.WebSocketBadStatusException) as caught:
            connect(sim, FUTURES, "/tokenless")
    assert caught.value.status_code == 429


def test_the_tokenless_protocol_takes_300_messages_in_10_s_and_600_symbols(sim: SimProcess) -> None:
    connection = connect(sim, SPOT, "/tokenless")
    for number in range(299):
        connection.send(json.dumps({"id": str(number), "action": "SUBSCRIBE", "channel": "trade", "tradeType": "SPOT",
                                    "symbol": f"A{number}-USDT"}))
    answers = [json.loads(connection.recv()) for _ in range(300)]
    assert answers[0]["message"] == "welcome" and all(answer["result"] is True for answer in answers[1:])


def test_without_a_ping_the_connection_ends() -> None:
    with SimProcess(venues=[SPOT], symbols=1, rate=10, rules={SPOT: {"client_silence_s": 1.0}}) as sim:
        assert {opcode for opcode, _ in drained(opened(sim))} <= {websocket.ABNF.OPCODE_CLOSE}


def test_subscribing_again_sends_the_last_futures_trades_once_more(sim: SimProcess) -> None:
    first = opened(sim, FUTURES)
    subscribe(first, "/contractMarket/execution:ETHUSDTM")
    for _ in range(5):
        first.recv()
    sim.pause()
    first.close()
    second = opened(sim, FUTURES)
    subscribe(second, "/contractMarket/execution:ETHUSDTM")
    again = [json.loads(second.recv())["data"]["sequence"] for _ in range(3)]
    sim.pause()
    truth = sim.truth()
    assert set(again) <= set(truth.records[truth.records["state"] == PAST]["trade_id"].tolist())
    sim.resume()


def test_the_tokenless_protocol_uses_binary_frames_and_one_symbol_per_request(sim: SimProcess) -> None:
    connection = connect(sim, SPOT, "/tokenless")
    opcode, data = connection.recv_data()
    assert opcode == websocket.ABNF.OPCODE_BINARY and json.loads(data)["message"] == "welcome"
    request = {"action": "SUBSCRIBE", "channel": "trade", "tradeType": "SPOT", "symbol": "BTC-USDT"}
    assert ask(connection, **request) == {"id": "5", "result": True}
    opcode, data = connection.recv_data()
    assert opcode == websocket.ABNF.OPCODE_BINARY and json.loads(data)["d"]["s"] == "BTC-USDT"
    assert ask(connection, type="ping")["type"] == "pong"
    assert ask(connection, **request | {"tradeType": "FUTURES"})["result"] is False
    assert ask(connection, **request | {"action": "UNSUBSCRIBE"})["result"] is True


def test_the_plugin_finds_the_symbols_that_trade_in_lists_that_hold_others_too(sim: SimProcess) -> None:
    truth = sim.truth()
    for venue in VENUES[:2]:
        url = sim.addresses["venues"][venue.name]["rest_url"] + venue.instruments_requests[0].path
        found = venue.parse_instruments([get(sim, url).body])
        assert sorted(listed.symbol for listed in found) == sorted(truth.symbols[truth.venues.index(venue.name)])
    assert {(listed.symbol, listed.base, listed.multiplier) for listed in found} >= {
        ("XBTUSDTM", "BTC", 1), ("1000BONKUSDTM", "1000BONK", 1000)}


def test_history_is_the_last_100_trades(sim: SimProcess) -> None:
    for venue, symbol in zip(VENUES, ("BTC-USDT", "XBTUSDTM"), strict=False):
        path = {SPOT: "/api/v1/market/histories", FUTURES: "/api/v1/trade/history"}[venue.name]
        url = f"{sim.addresses['venues'][venue.name]['rest_url']}{path}?symbol="
        while sim.status()["venues"][venue.name]["made"] < 1000:
            time.sleep(0.05)
        columns = Columns()
        venue.parse_history(get(sim, url + symbol).body, symbol, columns)
        assert len(columns.trade_id) == 100 and len(set(columns.trade_id)) == 100
        assert get(sim, url + "NOPE").json["code"] != "200000"


def test_too_many_requests_are_answered_429() -> None:
    dialect = simulator_dialects()[0]
    client = Client(dialect)
    assert client.get("/api/v2/symbols", used=dialect.rules.requests - 4).status == 200  # its weight
    answer = client.get("/api/v2/symbols", used=dialect.rules.requests - 3)
    assert answer.status == 429 and json.loads(answer.body)["code"] == "429000"


def test_frames_made_ahead_have_their_own_ids_and_times() -> None:
    with SimProcess(venues=[SPOT, FUTURES], symbols=["BTC"], rate=4000, mode="burst", lap_trades=2000, paused=True) as sim:
        for venue, symbol in ((SPOT, "BTC-USDT"), (FUTURES, "XBTUSDTM")):
            connection = opened(sim, venue)
            subscribe(connection, TOPICS[venue] + symbol)
            sim.resume()
            rows = [json.loads(connection.recv())["data"] for _ in range(200)]
            ids = [int(row["sequence"]) for row in rows]
            assert ids == list(range(ids[0], ids[0] + 200)) == [int(row["tradeId"]) for row in rows]
            sim.pause()


@pytest.mark.parametrize(("market", "path", "ask", "unit", "most"), [
    (0, "/api/v1/market/candles", {"symbol": "BTC-USDT", "type": "1min"}, 10**9, 1500),
    (1, "/api/v1/kline/query", {"symbol": "XBTUSDTM", "granularity": "1"}, 10**6, 500)])
def test_candles_are_the_newest_minutes_of_a_range(market: int, path: str, ask: dict[str, str], unit: int, most: int) -> None:
    client = Client(simulator_dialects()[market], listed=1, trades=20_000, seconds=60 * (most + 20))
    start, end = ("startAt", "endAt") if market == 0 else ("from", "to")
    rows = json.loads(client.get(path, **ask).body)["data"]
    starts = [int(row[0]) * unit for row in rows]
    assert starts == sorted(starts, reverse=market == 0) and len(rows) == most
    newest = max(starts)
    assert client.now_ns // 60_000_000_000 - newest // 60_000_000_000 in (0, 1)  # a minute that has just begun may lack trades
    given = {start: str((newest - 179 * 10**9) // unit), end: str(newest // unit)}
    part = json.loads(client.get(path, **ask, **given).body)["data"]
    assert sorted(int(row[0]) * unit for row in part) == [newest - 120 * 10**9, newest - 60 * 10**9, newest]
    for wrong in ({"symbol": "NOPE"}, {"type": "2min", "granularity": "2"}, {start: "x"}):
        assert json.loads(client.get(path, **ask | wrong).body)["code"] != "200000"


def test_the_tokenless_protocol_takes_actions_in_either_case() -> None:
    client = Client(next(dialect for dialect in simulator_dialects() if dialect.market_type == "spot"))
    client.session.path = "/tokenless"
    client.open()
    for action in ("subscribe", "UNSUBSCRIBE", "Subscribe"):
        request = {"id": "1", "action": action, "channel": "trade", "tradeType": "SPOT", "symbol": "BTC-USDT"}
        assert client.say(request) == [{"id": "1", "result": True}]
        assert ("BTC-USDT" in client.session.topics) == (action != "UNSUBSCRIBE")
