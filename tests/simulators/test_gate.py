"""Gate's simulated markets: requests that succeed or fail whole, sizes with and without the header, history."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from decimal import Decimal
from typing import Any

import numpy as np
import pytest
import websocket
from pumpwatch_plugins.exchanges.gate import VENUES
from pumpwatch_plugins.simulators.gate import simulator_dialects

from pumpwatch.backfill.pager import HistoryPart, Pager
from pumpwatch.clock import NS_PER_S
from pumpwatch.model import Columns
from pumpwatch.sim.process import SimProcess
from tests.sim.clients import connect, drained, get, receive
from tests.simulators.direct import Client

SPOT, FUTURES = "gate.spot", "gate.futures"
DECIMAL = {"X-Gate-Size-Decimal": "1"}


@pytest.fixture(scope="module")
def sim() -> Iterator[SimProcess]:
    with SimProcess(venues=[SPOT, FUTURES], symbols=12, rate=1500, flag_shares={FUTURES: {"16": 0.1}}) as running:
        yield running


def opened(sim: SimProcess, venue: str, headers: dict[str, str] | None = None) -> websocket.WebSocket:
    return connect(sim, venue, headers=headers)


def ask(connection: websocket.WebSocket, venue: str, event: str, *symbols: str, number: int = 1) -> dict[str, Any]:
    """Send a request and return its answer."""
    channel = f"{venue.removeprefix('gate.')}.trades"
    connection.send(json.dumps({"time": int(time.time()), "id": number, "channel": channel, "event": event,
                                "payload": list(symbols)}))
    while True:
        frame: dict[str, Any] = json.loads(connection.recv())
        if frame.get("event") != "update":
            return frame


def test_a_granted_request_is_answered_with_its_payload_and_spot_ids_go_up_by_one(sim: SimProcess) -> None:
    connection = opened(sim, SPOT)
    answer = ask(connection, SPOT, "subscribe", "BTC_USDT", "ETH_USDT", number=7)
    assert (answer["id"], answer["payload"], answer["result"]) == (7, ["BTC_USDT", "ETH_USDT"], {"status": "success"})
    assert "error" not in answer
    rows = [frame["result"] for frame in receive(connection, 200)]
    for symbol in ("BTC_USDT", "ETH_USDT"):
        ids = [row["id_market"] for row in rows if row["currency_pair"] == symbol]
        assert ids == list(range(ids[0], ids[0] + len(ids)))
    assert all(row["range"] == f"{row['id_market']}-{row['id_market']}" for row in rows)
    whole, _, part = rows[0]["create_time_ms"].partition(".")
    assert (len(whole), len(part), whole[:10]) == (13, 6, str(rows[0]["create_time"]))
    assert any(row["create_time_ms"].partition(".")[2] != "000000" for row in rows)


@pytest.mark.parametrize(("venue", "words"), [(SPOT, "unknown currency pair GONE_USDT"), (FUTURES, "unknown contract GONE_USDT")])
def test_one_unknown_symbol_rejects_its_whole_request_and_is_named(sim: SimProcess, venue: str, words: str) -> None:
    connection = opened(sim, venue)
    answer = ask(connection, venue, "subscribe", "BTC_USDT", "GONE_USDT", "ETH_USDT")
    assert (answer["error"], answer["result"]) == ({"code": 2, "message": words}, {"status": "fail"})
    assert {opcode for opcode, _ in drained(connection, 0.3)} <= {websocket.ABNF.OPCODE_CLOSE}


@pytest.mark.parametrize(("more", "code"), [
    ({"channel": "spot.dances"}, 2), ({"event": "dance"}, 2), ({"payload": "BTC_USDT"}, 1), ({"payload": []}, 1),
    ({"time": 1790000000000}, 2),
])
def test_an_invalid_request_is_rejected_with_a_code(sim: SimProcess, more: dict[str, Any], code: int) -> None:
    connection = opened(sim, SPOT)
    connection.send(json.dumps({"time": 1790000000, "id": 1, "channel": "spot.trades", "event": "subscribe",
                                "payload": ["BTC_USDT"], **more}))
    assert json.loads(connection.recv())["error"]["code"] == code


def test_a_message_that_is_not_json_is_rejected(sim: SimProcess) -> None:
    connection = opened(sim, SPOT)
    connection.send("{")
    assert json.loads(connection.recv())["error"]["code"] == 1


def test_sizes_are_text_with_the_header_and_cut_to_whole_contracts_without(sim: SimProcess) -> None:
    with_header, without = opened(sim, FUTURES, DECIMAL), opened(sim, FUTURES)
    for connection in (with_header, without):
        ask(connection, FUTURES, "subscribe", "ETH_USDT", "BTC_USDT")
    exact = {(row["contract"], row["id"]): row for frame in receive(with_header, 400) for row in frame["result"]}
    cut = {(row["contract"], row["id"]): row for frame in receive(without, 400) for row in frame["result"]}
    both = exact.keys() & cut.keys()
    assert len(both) > 100
    for key in both:
        assert isinstance(exact[key]["size"], str)
        assert cut[key]["size"] == int(Decimal(exact[key]["size"]))
    assert any("." in row["size"] for row in exact.values())
    assert any(row["size"] == 0 for row in cut.values())  # it has lost both amount and side
    assert any(row.get("is_internal") for row in exact.values())


def test_a_ping_has_its_own_channel_and_a_subscription_ends(sim: SimProcess) -> None:
    connection = opened(sim, FUTURES)
    connection.send('{"time":1790000000,"channel":"futures.ping"}')
    pong = json.loads(connection.recv())
    assert (pong["channel"], pong["event"]) == ("futures.pong", "")
    ask(connection, FUTURES, "subscribe", "BTC_USDT")
    receive(connection, 3)
    assert ask(connection, FUTURES, "unsubscribe", "BTC_USDT", number=2)["result"] == {"status": "success"}
    assert drained(connection, 0.3) == []


def test_a_silent_client_is_closed_and_a_ping_breaks_the_silence() -> None:
    with SimProcess(venues=[SPOT], symbols=2, rate=10, rules={SPOT: {"client_silence_s": 1.0}}) as sim:
        polite, mute = opened(sim, SPOT), opened(sim, SPOT)
        for _ in range(6):
            polite.send('{"time":1790000000,"channel":"spot.ping"}')
            assert json.loads(polite.recv())["channel"] == "spot.pong"
            time.sleep(0.3)
        drained(mute)
        assert [event["reason"] for event in sim.truth().events if event["kind"] == "down"] == ["client silent"]
        polite.send('{"time":1790000000,"channel":"spot.ping"}')
        assert json.loads(polite.recv())["channel"] == "spot.pong"


def test_lists_hold_symbols_that_trade_and_symbols_to_leave_out(sim: SimProcess) -> None:
    pairs = get(sim, sim.addresses["venues"][SPOT]["rest_url"] + "/spot/currency_pairs").json
    assert {(row["quote"], row["trade_status"]) for row in pairs} == {("USDT", "tradable"), ("BTC", "tradable"),
                                                                      ("USDT", "untradable")}
    contracts = {row["name"]: row for row in
                 get(sim, sim.addresses["venues"][FUTURES]["rest_url"] + "/futures/usdt/contracts").json}
    assert (contracts["BTC_USDT"]["quanto_multiplier"], contracts["ETH_USDT"]["enable_decimal"]) == ("0.0001", True)
    assert contracts["RAY_USDT"]["in_delisting"] and contracts["NEW_USDT"]["status"] == "prelaunch"


@pytest.mark.parametrize(("venue", "path", "symbol"), [
    (SPOT, "/spot/trades?currency_pair=", "BTC_USDT"), (FUTURES, "/futures/usdt/trades?contract=", "ETH_USDT"),
])
def test_history_is_the_newest_rows_of_a_time_range_and_agrees_with_the_stream(sim: SimProcess, venue: str, path: str,
                                                                               symbol: str) -> None:
    connection = opened(sim, venue, DECIMAL)
    ask(connection, venue, "subscribe", symbol)
    results = [frame["result"] for frame in receive(connection, 120)]
    live = {row["id"]: row for result in results for row in (result if isinstance(result, list) else [result])}
    url = sim.addresses["venues"][venue]["rest_url"] + path + symbol
    now = int(time.time())
    rows = get(sim, f"{url}&limit=1000&from={now - 60}&to={now + 1}", DECIMAL).json
    ids = [int(row.get("sequence_id", row["id"])) for row in rows]
    assert ids == list(range(ids[0], ids[0] - len(ids), -1)) and set(live) <= set(ids)
    for number, row in zip(ids, rows, strict=True):
        if number in live:
            trade = live[number]
            assert row["price"] == trade["price"]
            assert row.get("size") == trade.get("size") and row.get("amount") == trade.get("amount")
            if venue == SPOT:
                assert row["create_time_ms"] == trade["create_time_ms"]
            else:
                assert round(row["create_time_ms"] * 1000) == trade["create_time_ms"]
    assert [row["id"] for row in get(sim, f"{url}&limit=5", DECIMAL).json] != []
    assert len(get(sim, f"{url}&limit=5", DECIMAL).json) == 5
    assert get(sim, f"{url}&from=1&to=2", DECIMAL).json == []
    assert get(sim, url.replace(symbol, "NOPE_USDT")).status == 400
    assert get(sim, f"{url}&limit=5000").status == 400


@pytest.mark.parametrize("market", [0, 1])
def test_pages_of_a_symbol_with_more_than_half_a_page_of_trades_a_second_go_on_to_its_first_one(market: int) -> None:
    client, venue = Client(simulator_dialects()[market], listed=1, trades=3200, seconds=4), VENUES[market]
    symbol, rows = client.table.symbols[0], client.history.recent(0, 3200)
    pager = Pager(venue.history, venue.timestamp_unit_ns, HistoryPart(symbol, client.now_ns - 10 * NS_PER_S, client.now_ns))
    found: set[int] = set()
    while pager.query is not None:
        request = venue.history_request(pager.query)
        columns = Columns()
        venue.parse_history(client.get(request.path, **{key: str(value) for key, value in request.params.items()}).body, symbol,
                            columns)
        found |= set(columns.trade_id)
        pager.add_answer(np.array(columns.trade_id), np.array(columns.timestamp) * venue.timestamp_unit_ns)
    assert found == set(rows.trade_id.tolist())


def test_an_announced_restart_is_an_upgrade_on_the_system_channel(sim: SimProcess) -> None:
    connection = opened(sim, SPOT)
    ask(connection, SPOT, "subscribe", "BTC_USDT")
    sim.fault("maintenance", venue=SPOT, seconds=5.0)
    while (frame := json.loads(connection.recv()))["channel"] != "spot.system":
        pass
    assert (frame["event"], frame["result"]["type"]) == ("update", "upgrade")


def test_too_many_requests_are_answered_429() -> None:
    dialect = simulator_dialects()[0]
    client = Client(dialect)
    assert client.get("/spot/currency_pairs", used=dialect.rules.requests - 1).status == 200
    assert client.get("/spot/currency_pairs", used=dialect.rules.requests).status == 429


@pytest.mark.parametrize(("market", "path", "key"), [(0, "/spot/candlesticks", "currency_pair"),
                                                     (1, "/futures/usdt/candlesticks", "contract")])
def test_candles_are_minutes_of_a_range_not_too_broad_and_not_too_long_ago(market: int, path: str, key: str) -> None:
    client, most = Client(simulator_dialects()[market], trades=2000, seconds=300), (1000, 2000)[market]
    now, symbol = client.now_ns // 1_000_000_000, client.table.symbols[0]
    ask = {key: symbol, "interval": "1m", "from": str(now - 299), "to": str(now)}
    rows = json.loads(client.get(path, **ask).body)
    starts = [int(row[0]) if market == 0 else row["t"] for row in rows]
    assert starts == sorted(starts) and starts[-1] == now // 60 * 60 and len(rows) in (5, 6)
    if market == 0:
        assert [row[7] for row in rows] == ["true"] * (len(rows) - 1) + ["false"]
    broad = json.loads(client.get(path, **ask | {"from": str(now - 60 * most)}).body)
    assert (broad["label"], "too broad" in broad["message"]) == ("INVALID_PARAM_VALUE", True)
    old = {"from": str(now - 10_001 * 60), "to": str(now - 10_000 * 60)}
    assert "too long ago" in json.loads(client.get(path, **ask | old).body)["message"]
    for wrong in ({"interval": "2m"}, {"limit": "5"}, {"from": "x"}, {key: "NOPE_USDT"}):
        assert client.get(path, **ask | wrong).status == 400
    assert len(json.loads(client.get(path, **{key: symbol, "interval": "1m", "limit": "2"}).body)) == 2


def test_pages_and_offsets_go_back_from_the_newest_row() -> None:
    spot, futures = (Client(dialect, trades=900) for dialect in simulator_dialects())
    first, second = (json.loads(spot.get("/spot/trades", currency_pair="BTC_USDT", limit="20", page=page).body)
                     for page in ("1", "2"))
    assert [int(row["id"]) for row in first + second] == list(range(int(first[0]["id"]), int(first[0]["id"]) - 40, -1))
    rows = json.loads(futures.get("/futures/usdt/trades", contract="BTC_USDT", limit="30", offset="10").body)
    newest = json.loads(futures.get("/futures/usdt/trades", contract="BTC_USDT", limit="11").body)
    assert (len(rows), rows[0]["id"]) == (30, newest[-1]["id"])
    assert json.loads(spot.get("/spot/trades", currency_pair="BTC_USDT", limit="500", page="9").body) == []
    assert spot.get("/spot/trades", currency_pair="BTC_USDT", limit="1000", page="200").status == 400


def test_a_history_that_lags_lacks_its_newest_seconds_and_one_with_a_hole_rows_in_the_middle() -> None:
    with SimProcess(venues=[SPOT], symbols=2, rate=400, lag_s=2.0) as sim:
        connection = opened(sim, SPOT)
        ask(connection, SPOT, "subscribe", "BTC_USDT")
        receive(connection, 300)
        sim.pause()
        url = sim.addresses["venues"][SPOT]["rest_url"] + "/spot/trades?limit=1000&currency_pair=BTC_USDT"
        records = sim.truth().records
        newest = int(records["trade_id"][records["symbol"] == 0].max())
        while (ids := [int(row["id"]) for row in get(sim, url).json])[:1] != [newest]:
            time.sleep(0.1)
        sim.fault("history", form="hole", seconds=0, count=1)
        hole = [int(row["id"]) for row in get(sim, url).json]
        connection.close()
        assert ids == list(range(ids[0], ids[0] - len(ids), -1)) and set(hole) < set(ids)
        assert (hole[0], hole[-1]) == (ids[0], ids[-1])
        [event] = [event for event in sim.truth().events if event["kind"] == "history"]
        assert event["missing"] == [min(set(ids) - set(hole)), max(set(ids) - set(hole))]
        assert [int(row["id"]) for row in get(sim, url).json] == ids
