"""Binance's simulated markets, seen by websocket-client and wsproto over TLS."""

from __future__ import annotations

import dataclasses
import itertools
import json
import ssl
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
import websocket
from pumpwatch_plugins.exchanges.binance import VENUES
from pumpwatch_plugins.simulators.binance import FUTURES_DIALECT, SPOT_DIALECT
from wsproto import events

from pumpwatch.model import Control, ControlKind, Flag
from pumpwatch.sim.process import SimProcess
from pumpwatch.sim.rows import VOID
from tests.sim.clients import PlainClient, closed_with, connect, drained, get, receive, subscribe
from tests.simulators.direct import Client

SPOT, FUTURES = "binance.spot", "binance.futures"


@pytest.fixture(scope="module")
def sim() -> Iterator[SimProcess]:
    with SimProcess(venues=[SPOT, FUTURES], symbols=12, rate=600,
                    flag_shares={FUTURES: {"128": 0.05, "4": 0.02, "8": 0.02}}) as running:
        yield running


def streams_of(sim: SimProcess, venue: str) -> list[str]:
    """Return the trade streams of every symbol of a venue."""
    truth = sim.truth()
    return [f"{symbol.lower()}@trade" for symbol in truth.symbols[truth.venues.index(venue)]]


def contiguous_symbols(frames: list[dict[str, Any]]) -> set[str]:
    """Return the symbols with several frames; fails where the ids of one skip."""
    ids: dict[str, list[int]] = {}
    for frame in frames:
        ids.setdefault(frame["s"], []).append(frame["t"])
    for symbol, numbers in ids.items():
        assert numbers == list(range(numbers[0], numbers[0] + len(numbers))), symbol
    return {symbol for symbol, numbers in ids.items() if len(numbers) > 20}


def test_a_subscription_is_acknowledged_listed_and_ended(sim: SimProcess) -> None:
    connection = connect(sim, SPOT)
    assert subscribe(connection, "btcusdt@trade", "nosuchusdt@trade", number=7)[-1] == {"result": None, "id": 7}
    assert {frame["s"] for frame in receive(connection, 20)} == {"BTCUSDT"}
    connection.send('{"method":"LIST_SUBSCRIPTIONS","id":"mine"}')
    while (answer := json.loads(connection.recv())).get("id") != "mine":
        pass
    assert answer["result"] == ["btcusdt@trade", "nosuchusdt@trade"]
    connection.send('{"method":"UNSUBSCRIBE","params":["btcusdt@trade"],"id":9}')
    while json.loads(connection.recv()) != {"result": None, "id": 9}:
        pass
    connection.settimeout(0.3)
    with pytest.raises(websocket.WebSocketTimeoutException):
        connection.recv()


def test_spot_frames_have_the_real_keys_and_contiguous_ids(sim: SimProcess) -> None:
    connection = connect(sim, SPOT)
    subscribe(connection, *streams_of(sim, SPOT))
    frames = receive(connection, 600)
    assert list(frames[0]) == ["e", "E", "s", "t", "p", "q", "T", "m", "M"]
    assert {"BTCUSDT", "ETHUSDT"} <= contiguous_symbols(frames)
    assert abs(frames[0]["T"] / 1000 - time.time()) < 60


def test_futures_rows_that_are_not_trades_use_up_ids(sim: SimProcess) -> None:
    connection = connect(sim, FUTURES)
    subscribe(connection, *streams_of(sim, FUTURES))
    frames = receive(connection, 600)
    assert list(frames[0])[:8] == ["e", "E", "T", "s", "t", "p", "q", "X"]
    kinds = {frame["X"] for frame in frames}
    assert kinds == {"MARKET", "NA", "INSURANCE_FUND", "ADL"}
    assert {(frame["p"], frame["q"]) for frame in frames if frame["X"] == "NA"} == {("0", "0")}
    assert contiguous_symbols(frames)


def test_combined_streams_are_wrapped_and_may_be_named_in_the_address(sim: SimProcess) -> None:
    connection = connect(sim, SPOT, "/stream?streams=btcusdt@trade/ethusdt@trade")
    frames = receive(connection, 20)
    assert {frame["stream"] for frame in frames} <= {"btcusdt@trade", "ethusdt@trade"}
    assert all(frame["data"]["s"].lower() + "@trade" == frame["stream"] for frame in frames)
    assert receive(connect(sim, SPOT, "/ws/btcusdt@trade"), 1)[0]["s"] == "BTCUSDT"


@pytest.mark.parametrize(("venue", "path", "stream"), [
    (FUTURES, "/market/ws", "btcusdt@trade"), (SPOT, "/ws", "BTCUSDT@trade"), (SPOT, "/ws", "btcusdt@bookTicker"),
])
def test_the_wrong_path_or_stream_is_acknowledged_and_silent(sim: SimProcess, venue: str, path: str,
                                                             stream: str) -> None:
    connection = connect(sim, venue, path)
    assert subscribe(connection, stream) == [{"result": None, "id": 1}]
    connection.settimeout(0.4)
    with pytest.raises(websocket.WebSocketTimeoutException):
        connection.recv()


def test_an_unknown_path_is_not_found(sim: SimProcess) -> None:
    with pytest.raises(websocket.WebSocketBadStatusException) as caught:
        connect(sim, SPOT, "/nothing")
    assert caught.value.status_code == 404


@pytest.mark.parametrize(("text", "code"), [
    ("{", 3), ("[1]", 2), ('{"method":"SUBSCRIBE","params":"btcusdt@trade","id":4}', 2),
    ('{"method":"DANCE","id":4}', 2),
])
def test_an_invalid_request_is_rejected_with_a_reason(sim: SimProcess, text: str, code: int) -> None:
    connection = connect(sim, SPOT)
    connection.send(text)
    answer = json.loads(connection.recv())
    assert answer["code"] == code
    assert answer["id"] in (4, None)


def test_a_connection_holds_1024_streams(sim: SimProcess) -> None:
    connection = connect(sim, SPOT)
    subscribe(connection, *(f"x{number}usdt@trade" for number in range(1024)))
    connection.send('{"method":"SUBSCRIBE","params":["btcusdt@trade"],"id":2}')
    refusal = connection.recv()
    assert json.loads(refusal) == {"error": {"code": 4, "msg": "Too many subscriptions"}, "id": 2}
    assert VENUES[0].read_control(refusal.encode()) == Control(ControlKind.FULL, 2, reason="4 Too many subscriptions")


@pytest.mark.parametrize(("venue", "allowed"), [(SPOT, 5), (FUTURES, 10)])
def test_more_messages_a_second_than_allowed_are_answered_1008(sim: SimProcess, venue: str, allowed: int) -> None:
    connection = connect(sim, venue)
    for number in range(allowed):
        connection.send(json.dumps({"method": "LIST_SUBSCRIPTIONS", "id": number}))
    assert len(receive(connection, allowed)) == allowed
    connection.pong("")
    assert closed_with(connection) == (1008, "Too many requests")


def test_an_unmasked_frame_is_a_protocol_error(sim: SimProcess) -> None:
    client = PlainClient(sim, SPOT)
    client.socket.sendall(b"\x81\x02{}")
    closing = client.next()
    assert isinstance(closing, events.CloseConnection)
    assert closing.code == 1002
    client.close()


def test_a_ping_of_the_client_is_answered_and_its_close_too(sim: SimProcess) -> None:
    client = PlainClient(sim, SPOT)
    client.send(events.Ping(payload=b"mine"))
    pong = client.next()
    assert isinstance(pong, events.Pong)
    assert bytes(pong.payload) == b"mine"
    client.send(events.CloseConnection(code=1000))
    answer = client.next()
    assert isinstance(answer, events.CloseConnection)
    assert answer.code == 1000
    client.close()


def test_the_certificate_is_not_trusted_without_its_authority(sim: SimProcess) -> None:
    with pytest.raises(ssl.SSLCertVerificationError):
        websocket.create_connection(sim.addresses["venues"][SPOT]["ws_url"])


def test_symbol_lists_hold_symbols_that_trade_and_symbols_to_leave_out(sim: SimProcess) -> None:
    rest = sim.addresses["venues"][SPOT]["rest_url"]
    answer = get(sim, rest + "/api/v3/exchangeInfo")
    symbols = {row["symbol"]: row for row in answer.json["symbols"]}
    assert symbols["BTCUSDT"] | {"status": "TRADING", "baseAsset": "BTC"} == symbols["BTCUSDT"]
    assert symbols["LUNAUSDT"]["status"] == "BREAK"
    assert int(answer.headers["X-MBX-USED-WEIGHT-1M"]) >= 20
    rest = sim.addresses["venues"][FUTURES]["rest_url"]
    symbols = {row["symbol"]: row for row in get(sim, rest + "/fapi/v1/exchangeInfo").json["symbols"]}
    assert symbols["1000PEPEUSDT"]["baseAsset"] == "1000PEPE"
    assert symbols["BTCUSDT_261225"]["contractType"] != "PERPETUAL"


def test_history_fills_exactly_what_a_stream_missed(sim: SimProcess) -> None:
    connection = connect(sim, SPOT)
    subscribe(connection, "btcusdt@trade")
    first = receive(connection, 1)[0]["t"]
    frames = {frame["t"]: frame for frame in receive(connection, 100)}
    rest = sim.addresses["venues"][SPOT]["rest_url"] + "/api/v3/"
    rows = get(sim, f"{rest}historicalTrades?symbol=BTCUSDT&fromId={first + 1}&limit=100").json
    assert [row["id"] for row in rows] == list(range(first + 1, first + 101))
    for row in rows:
        frame = frames[row["id"]]
        assert (row["price"], row["qty"], row["time"], row["isBuyerMaker"]) == (
            frame["p"], frame["q"], frame["T"], frame["m"])
    assert len(get(sim, f"{rest}trades?symbol=BTCUSDT&limit=10").json) == 10


def test_futures_history_needs_a_key_and_leaves_rows_out(sim: SimProcess) -> None:
    rest = sim.addresses["venues"][FUTURES]["rest_url"] + "/fapi/v1/"
    answer = get(sim, rest + "historicalTrades?symbol=BTCUSDT")
    assert (answer.status, answer.json["code"]) == (401, -2014)
    ids = [row["id"] for row in get(sim, rest + "trades?symbol=BTCUSDT&limit=1000").json]
    assert len(set(np.diff(ids).tolist()) - {1}) > 0


def test_aggregates_are_whole_and_page_by_time_and_by_their_own_ids() -> None:
    client = Client(FUTURES_DIALECT, listed=1, trades=6000, seconds=1)  # several trades a millisecond, so that some are joined
    start = client.now_ns // 1_000_000 - 2000

    def asked(**query: object) -> list[dict[str, Any]]:
        return json.loads(client.get("/fapi/v1/aggTrades", symbol="BTCUSDT", **{k: str(v) for k, v in query.items()}).body)

    whole = asked(startTime=start, endTime=start + 3_000, limit=1000)
    assert len(whole) == 1000 and any(row["f"] < row["l"] for row in whole)
    assert [before["l"] < after["f"] for before, after in itertools.pairwise(whole)] == [True] * 999
    assert asked(startTime=whole[500]["T"], limit=10)[0]["T"] == whole[500]["T"]
    assert asked(fromId=whole[700]["a"], limit=300) == whole[700:]
    assert asked(fromId=whole[700]["f"]) == []  # a trade's own id leads to none
    assert asked(limit=5)[-1]["l"] >= 6000 * 0.99 + FUTURES_DIALECT.first_id
    too_long = client.get("/fapi/v1/aggTrades", symbol="BTCUSDT", startTime=str(start), endTime=str(start + 3_600_000))
    assert (too_long.status, json.loads(too_long.body)["code"]) == (400, -1127)


def test_klines_count_the_trades_of_their_minutes_and_not_those_outside_the_market() -> None:
    dialect = dataclasses.replace(FUTURES_DIALECT, flag_shares={VOID: 0.1, Flag.ADL.value: 0.1})
    client = Client(dialect, listed=1, trades=3000, seconds=300)
    minutes = json.loads(client.get("/fapi/v1/klines", symbol="BTCUSDT", interval="1m", startTime="0").body)
    rows = client.history.recent(0, 3000)
    rows = rows.take(rows.flags == 0)
    assert sum(minute[8] for minute in minutes) == len(rows) < 2700
    assert sum(float(minute[5]) for minute in minutes) == pytest.approx(rows.quantities().sum())
    assert [minute[0] % 60_000 for minute in minutes] == [0] * len(minutes) and 5 <= len(minutes) <= 6
    newest = json.loads(client.get("/fapi/v1/klines", symbol="BTCUSDT", interval="1m", limit="2").body)
    assert newest == minutes[-2:]
    part = client.get("/fapi/v1/klines", symbol="BTCUSDT", interval="1m", startTime=str(minutes[1][0]),
                      endTime=str(minutes[2][6]))
    assert json.loads(part.body) == minutes[1:3]


@pytest.mark.parametrize(("limit", "weight"), [("99", 1), ("100", 2), ("500", 5), ("1000", 5), ("1500", 10)])
def test_futures_klines_weigh_by_their_number(limit: str, weight: int) -> None:
    reply = Client(FUTURES_DIALECT).get("/fapi/v1/klines", symbol="BTCUSDT", interval="1m", limit=limit)
    assert (reply.status, reply.headers["X-MBX-USED-WEIGHT-1M"]) == (200, str(weight))


@pytest.mark.parametrize(("path", "query", "code"), [
    ("/api/v3/klines", {"symbol": "BTCUSDT"}, -1120), ("/api/v3/klines", {"symbol": "BTCUSDT", "interval": "7m"}, -1120),
    ("/api/v3/klines", {"interval": "1m"}, -1102), ("/api/v3/klines", {"symbol": "NO", "interval": "1m"}, -1121),
    ("/api/v3/historicalTrades", {"symbol": "BTCUSDT", "fromId": "x"}, -1100),
])
def test_a_wrong_request_for_the_past_is_answered_with_its_error(path: str, query: dict[str, str], code: int) -> None:
    reply = Client(SPOT_DIALECT).get(path, **query)
    assert (reply.status, json.loads(reply.body)["code"]) == (400, code)


@pytest.mark.parametrize(("query", "code"), [
    ("trades", -1102), ("trades?symbol=NOPE", -1121), ("trades?symbol=BTCUSDT&limit=x", -1100),
    ("trades?symbol=BTCUSDT&limit=0", -1130),
])
def test_a_wrong_rest_request_is_answered_with_its_error(sim: SimProcess, query: str, code: int) -> None:
    answer = get(sim, sim.addresses["venues"][SPOT]["rest_url"] + "/api/v3/" + query)
    assert (answer.status, answer.json["code"]) == (400, code)


def test_the_ground_truth_is_what_the_clients_received(sim: SimProcess) -> None:
    spot, futures = connect(sim, SPOT), connect(sim, FUTURES)
    subscribe(spot, "btcusdt@trade", "ethusdt@trade")
    subscribe(futures, "solusdt@trade")
    time.sleep(0.3)
    before = len(sim.truth().records)
    sim.pause()
    got: set[tuple[str, str, int]] = set()
    for venue, connection in ((SPOT, spot), (FUTURES, futures)):
        connection.settimeout(0.3)
        try:
            while True:
                frame = json.loads(connection.recv())
                got.add((venue, frame["s"], frame["t"]))
        except websocket.WebSocketTimeoutException:
            pass
    truth = sim.truth()
    assert len(truth.records) > before
    mine = [event["connection"] for event in truth.events if event["kind"] == "up"][-2:]
    sent = truth.records[np.isin(truth.records["connection"], mine)]
    assert set(sent["state"].tolist()) == {0}
    assert truth.keys(sent) == got
    assert len(sent) == len(got)
    sim.resume()


def test_weight_beyond_the_minute_is_answered_429_and_more_is_a_ban() -> None:
    rules = {SPOT: {"requests_per_minute": 60}}
    with SimProcess(symbols=2, rate=10, venues=[SPOT], rules=rules, truth=False) as sim:
        if time.time() % 60 > 50:
            time.sleep(60 - time.time() % 60)
        url = sim.addresses["venues"][SPOT]["rest_url"] + "/api/v3/trades?symbol=BTCUSDT"
        answers = [get(sim, url) for _ in range(4)]
        assert [answer.status for answer in answers] == [200, 200, 429, 418]
        assert 0 < int(answers[2].headers["Retry-After"]) <= 60


def test_handshakes_pongs_and_age_have_limits() -> None:
    rules = {SPOT: {"connects_per_5_minutes": 3, "ping_every_s": 0.2, "pong_within_s": 0.5, "connection_age_s": 1.5}}
    with SimProcess(symbols=2, rate=10, venues=[SPOT], rules=rules) as sim:
        mute = PlainClient(sim, SPOT)
        assert isinstance(mute.next(), events.Ping)
        while mute.next() is not None:  # no pong: the venue ends it
            pass
        polite = connect(sim, SPOT)
        drained(polite)  # which answers pings: only its age ends it
        connect(sim, SPOT).close()
        with pytest.raises(websocket.WebSocketBadStatusException) as caught:
            connect(sim, SPOT)
        assert caught.value.status_code == 429
        reasons = [event["reason"] for event in sim.truth().events if event["kind"] == "down"]
        assert reasons[:2] == ["no pong", "too old"]


@pytest.mark.parametrize(("dialect", "path"), [(SPOT_DIALECT, "/api/v3"), (FUTURES_DIALECT, "/fapi/v1")])
def test_deep_books_and_steps_are_answered_for_clients_that_place_orders(dialect: Any, path: str) -> None:
    client = Client(dialect)
    assert len(json.loads(client.get(f"{path}/depth", symbol="BTCUSDT", limit="1000").body)["asks"]) == 400
    too_deep = "5001" if dialect is SPOT_DIALECT else "30"
    assert client.get(f"{path}/depth", symbol="BTCUSDT", limit=too_deep).status == 400
    weights = [float(client.get(f"{path}/depth", symbol="BTCUSDT", limit=limit).headers["X-MBX-USED-WEIGHT-1M"])
               for limit in ("50", "100", "500", "1000")]
    assert weights == ([5, 5, 25, 50] if dialect is SPOT_DIALECT else [2, 5, 10, 20])
    for row in json.loads(client.get(f"{path}/exchangeInfo").body)["symbols"]:
        steps = {entry["filterType"]: entry for entry in row["filters"]}
        assert float(steps["PRICE_FILTER"]["tickSize"]) > 0 and float(steps["LOT_SIZE"]["stepSize"]) > 0
