"""OKX's simulated markets: an answer per argument, the rejections of the real venue, the last trade on subscribing."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
import websocket
from pumpwatch_plugins.exchanges.okx import VENUES
from pumpwatch_plugins.simulators.okx import simulator_dialects

from pumpwatch.sim.ground_truth import PAST
from pumpwatch.sim.process import SimProcess
from tests.sim.clients import GONE, closed_with, connect, drained, get
from tests.simulators.direct import Client

SPOT, FUTURES = "okx.spot", "okx.futures"


@pytest.fixture(scope="module")
def sim() -> Iterator[SimProcess]:
    lenient = {"connects_per_second": 0}
    with SimProcess(venues=[SPOT, FUTURES], symbols=8, rate=2000, rules={SPOT: lenient, FUTURES: lenient}) as running:
        yield running


def ask(connection: websocket.WebSocket, *symbols: str, op: str = "subscribe",
        channel: str = "trades-all") -> list[dict[str, Any]]:
    """Send a request and return its answers, one for each argument; trades in between are left out."""
    arguments = [{"channel": channel, "instId": symbol} for symbol in symbols]
    connection.send(json.dumps({"id": "7", "op": op, "args": arguments}))
    answers: list[dict[str, Any]] = []
    while len(answers) < len(symbols):
        frame = json.loads(connection.recv())
        answers += [frame] if "event" in frame else []
    return answers


def trades(connection: websocket.WebSocket, count: int) -> list[dict[str, Any]]:
    return [json.loads(connection.recv())["data"][0] for _ in range(count)]


def test_each_argument_is_answered_and_a_bad_one_does_not_affect_the_others(sim: SimProcess) -> None:
    connection = connect(sim, SPOT)
    answers = ask(connection, "BTC-USDT", "NOPE-USDT", "ETH-USDT")
    assert [answer["event"] for answer in answers] == ["subscribe", "error", "subscribe"]
    assert answers[1]["code"] == "60018" and "instId:NOPE-USDT " in answers[1]["msg"]
    assert {answer["id"] for answer in answers} == {"7"}
    assert {trade["instId"] for trade in trades(connection, 50)} == {"BTC-USDT", "ETH-USDT"}
    assert ask(connection, "BTC-USDT", "ETH-USDT", op="unsubscribe")[0]["event"] == "unsubscribe"


def test_the_last_trade_comes_first_and_is_past(sim: SimProcess) -> None:
    sim.pause()
    connection = connect(sim, SPOT)
    ask(connection, "BTC-USDT")
    (last,) = trades(connection, 1)
    sim.resume()
    ids = [int(last["tradeId"]), *(int(trade["tradeId"]) for trade in trades(connection, 20))]
    assert ids == list(range(ids[0], ids[0] + 21))
    sim.pause()
    truth = sim.truth()
    past = truth.records[truth.records["state"] == PAST]
    assert int(last["tradeId"]) in past["trade_id"].tolist()
    sim.resume()


@pytest.mark.parametrize(("path", "channel"), [("/ws/v5/public", "trades-all"), ("/ws/v5/business", "trades")])
def test_a_channel_of_the_other_path_is_rejected(sim: SimProcess, path: str, channel: str) -> None:
    (answer,) = ask(connect(sim, SPOT, path), "BTC-USDT", channel=channel)
    assert (answer["event"], answer["code"]) == ("error", "60018")


@pytest.mark.parametrize("text", ["{", "[1]", '{"op":"dance","args":[]}', '{"op":"subscribe","args":7}',
                                  json.dumps({"op": "subscribe", "args": [{"channel": "trades-all",
                                                                           "instId": "BTC-USDT"}] * 100})])
def test_an_invalid_or_too_long_request_is_rejected_whole(sim: SimProcess, text: str) -> None:
    connection = connect(sim, SPOT)
    connection.send(text)
    answer = json.loads(connection.recv())
    assert (answer["event"], answer["code"]) == ("error", "60012")


def test_the_481st_subscription_of_a_connection_is_rejected(sim: SimProcess) -> None:
    connection = connect(sim, SPOT)
    for _ in range(12):
        assert all(answer["code"] == "60018" for answer in ask(connection, *["NO-USDT"] * 40))
    assert ask(connection, "BTC-USDT")[0]["code"] == "60014"


def test_ping_and_pong_are_bare_words(sim: SimProcess) -> None:
    connection = connect(sim, FUTURES)
    connection.send("ping")
    assert connection.recv() == "pong"


def test_maintenance_is_a_notice_that_the_plugin_understands(sim: SimProcess) -> None:
    connection = connect(sim, SPOT)
    sim.fault("maintenance", venue=SPOT, seconds=0.2)
    notice = connection.recv()
    assert json.loads(notice)["code"] == "64008" and VENUES[0].read_control(notice.encode()).kind == "reconnect"
    assert closed_with(connection)[0] == 1001


def test_the_plugin_finds_the_symbols_that_trade_in_lists_that_hold_others_too(sim: SimProcess) -> None:
    for venue in VENUES:
        request = venue.instruments_requests[0]
        url = sim.addresses["venues"][venue.name]["rest_url"] + f"{request.path}?instType={request.params['instType']}"
        found = venue.parse_instruments([get(sim, url).body])
        assert sorted(listed.symbol for listed in found) == sorted(sim.truth().symbols[sim.truth().venues.index(venue.name)])
    bitcoin = next(listed for listed in found if listed.base == "BTC")
    assert bitcoin.contract_size == 0.01


def test_history_pages_from_new_to_old_by_id_and_by_time(sim: SimProcess) -> None:
    connection = connect(sim, SPOT)
    ask(connection, "BTC-USDT")
    trades(connection, 20)  # so that there are pages
    url = sim.addresses["venues"][SPOT]["rest_url"] + "/api/v5/market/history-trades?instId=BTC-USDT"
    newest = get(sim, url + "&limit=10").json["data"]
    ids = [int(row["tradeId"]) for row in newest]
    assert ids == list(range(ids[0], ids[0] - 10, -1))
    older = get(sim, f"{url}&type=1&after={ids[-1]}&limit=5").json["data"]
    assert [int(row["tradeId"]) for row in older] == list(range(ids[-1] - 1, ids[-1] - 6, -1))
    by_time = get(sim, f"{url}&type=2&after={newest[5]['ts']}").json["data"]
    assert all(int(row["ts"]) < int(newest[5]["ts"]) for row in by_time) and len(by_time) <= 100
    assert get(sim, url.replace("BTC-USDT", "NO-USDT")).json["code"] == "51001"


def test_history_pages_between_ids_and_reaches_three_months_back() -> None:
    client = Client(simulator_dialects()[0], listed=1, trades=400)

    def ids(**query: str) -> list[int]:
        reply = client.get("/api/v5/market/history-trades", instId="BTC-USDT", **query)
        return [int(row["tradeId"]) for row in json.loads(reply.body)["data"]]

    newest = ids(limit="500")
    assert len(newest) == 100 and newest == sorted(newest, reverse=True)
    first = newest[0] - 399
    assert ids(after=str(first + 3)) == [first + 2, first + 1, first]
    assert ids(after=str(first + 300), before=str(first + 297)) == [first + 299, first + 298]
    assert ids(before=str(first + 397)) == [first + 399, first + 398]
    client.now_ns += 91 * 86_400 * 10**9
    assert ids(after=str(first + 3)) == ids(type="2", after=str(2 * 10**12)) == []


def test_candles_are_newest_first_between_two_times_and_count_contracts() -> None:
    client = Client(simulator_dialects()[1], listed=1, trades=3000, seconds=300)
    table = client.history.table

    def minutes(**query: str) -> list[list[str]]:
        return json.loads(client.get("/api/v5/market/history-candles", instId="BTC-USDT-SWAP", bar="1m", **query).body)["data"]

    found = minutes()
    starts = [int(minute[0]) for minute in found]
    assert starts == list(range(starts[0], starts[0] - 60_000 * len(starts), -60_000))
    assert [minute[8] for minute in found] == ["0"] + ["1"] * (len(found) - 1)  # the one that runs is not confirmed
    rows = client.history.recent(0, 3000)
    assert sum(float(minute[5]) for minute in found) == pytest.approx(rows.quantities().sum())
    assert sum(float(minute[6]) for minute in found) == pytest.approx(rows.quantities().sum() * table.specs[0].contract_size)
    assert minutes(after=str(starts[1]), before=str(starts[4])) == found[2:4]
    assert minutes(limit="2") == found[:2]


@pytest.mark.parametrize(("path", "query", "code"), [
    ("candles", {"instId": "NO-USDT"}, "51001"), ("candles", {"instId": "BTC-USDT", "bar": "7m"}, "51000"),
    ("candles", {"instId": "BTC-USDT", "after": "x"}, "51000"), ("trades", {"instId": "BTC-USDT", "type": "3"}, "51000"),
])
def test_a_wrong_request_for_the_past_is_answered_with_its_error(path: str, query: dict[str, str], code: str) -> None:
    reply = Client(simulator_dialects()[0]).get(f"/api/v5/market/history-{path}", **query)
    assert (reply.status, json.loads(reply.body)["code"]) == (200, code)


def test_too_many_connects_a_second_are_rejected_and_a_silent_client_is_dropped() -> None:
    with SimProcess(venues=[SPOT], symbols=1, rate=10, paused=True, rules={SPOT: {"client_silence_s": 1.0}}) as sim:
        first = connect(sim, SPOT)
        with pytest.raises(websocket.WebSocketBadStatusException) as caught:
            [connect(sim, SPOT) for _ in range(50)]
        assert caught.value.status_code == 429
        assert drained(first) == []
        with pytest.raises(GONE):
            first.recv()


def test_too_many_requests_are_answered_429() -> None:
    dialect = simulator_dialects()[0]
    client = Client(dialect)
    assert client.get("/api/v5/market/trades", used=dialect.rules.requests - 1, instId="BTC-USDT").status == 200
    answer = client.get("/api/v5/market/trades", used=dialect.rules.requests, instId="BTC-USDT")
    assert answer.status == 429 and json.loads(answer.body)["code"] == "50011"


def test_frames_made_ahead_have_their_own_ids_and_times() -> None:
    with SimProcess(venues=[SPOT, FUTURES], symbols=2, rate=4000, mode="burst", lap_trades=2000, paused=True) as sim:
        for venue in (SPOT, FUTURES):
            connection = connect(sim, venue)
            symbol = "BTC-USDT" if venue == SPOT else "BTC-USDT-SWAP"
            ask(connection, symbol)
            sim.resume()
            ids = [int(trade["tradeId"]) for trade in trades(connection, 200)]
            assert ids == list(range(ids[0], ids[0] + 200))
            sim.pause()
