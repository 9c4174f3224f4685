"""Upbit's notice list as simulated, and the coin that jumps when it is listed."""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from datetime import datetime

import pytest
from pumpwatch_plugins.simulators.upbit import DIALECT

from pumpwatch.clock import FakeClock
from pumpwatch.errors import UsageError
from pumpwatch.sim.dialect import Coin
from pumpwatch.sim.ground_truth import TruthWriter
from pumpwatch.sim.notice_board import NO_FAULT, NoticeBoard
from pumpwatch.sim.process import SimProcess
from pumpwatch.sim.wire import ClientRequest
from tests.sim.clients import Answer, connect, get, receive, subscribe

SPOT = "binance.spot"
REQUEST = ClientRequest("GET", DIALECT.url_path, {}, b"")
TIME = re.compile(r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+09:00$")


@pytest.fixture(scope="module")
def sim() -> Iterator[SimProcess]:
    with SimProcess(venues=[SPOT, "binance.futures"], symbols=8, rate=1000) as running:
        yield running


def ask(sim: SimProcess, path: str = "", **headers: str) -> Answer:
    """Get the list or a path below it, politely."""
    if sim.status()["boards"]["upbit"]["requests"] >= DIALECT.burst:
        time.sleep(1.05)  # the board answers one request a second
    url: str = sim.addresses["boards"]["upbit"]["url"]
    return get(sim, url.partition("?")[0] + path if path else url, headers)


def test_the_list_has_the_real_shape(sim: SimProcess) -> None:
    body = ask(sim).json
    assert body["success"] is True
    assert set(body["data"]) == {"total_pages", "total_count", "notices", "fixed_notices"}
    rows = body["data"]["notices"]
    assert set(rows[0]) == {"listed_at", "first_listed_at", "id", "uuid", "title", "category", "need_new_badge",
                            "need_update_badge"}
    assert all(TIME.match(row["listed_at"]) and TIME.match(row["first_listed_at"]) for row in rows)
    assert {row["category"] for row in rows} == {"거래"}
    assert [row["listed_at"] for row in rows] == sorted((row["listed_at"] for row in rows), reverse=True)
    assert any(row["listed_at"] != row["first_listed_at"] for row in rows)
    assert body["data"]["fixed_notices"][0]["uuid"] == "2895"


def test_an_unchanged_list_is_answered_304(sim: SimProcess) -> None:
    first = ask(sim)
    again = ask(sim, **{"If-None-Match": first.headers["ETag"]})
    assert (again.status, again.body) == (304, b"")
    sim.publish("BTC", title="시스템 점검 안내")
    assert ask(sim, **{"If-None-Match": first.headers["ETag"]}).status == 200


def test_a_published_listing_is_on_top_and_its_coin_jumps_and_trades_more(sim: SimProcess) -> None:
    connection = connect(sim, SPOT)
    subscribe(connection, "somiusdt@trade")
    before = receive(connection, 20)
    published = sim.publish("SOMI", height=0.3)
    assert published["title"] == "솜니아(SOMI) 신규 거래지원 안내 (KRW, BTC, USDT 마켓)"
    assert published["pumped"] == {SPOT: ["SOMIUSDT"], "binance.futures": ["SOMIUSDT"]}
    top = ask(sim).json["data"]["notices"][0]
    assert (top["id"], top["title"], top["need_new_badge"]) == (published["number"], published["title"], True)
    assert datetime.fromisoformat(top["first_listed_at"]).timestamp() == published["at_ns"] // 1_000_000_000
    after = [frame for frame in receive(connection, 300) if frame["T"] > published["at_ns"] / 1e6 + 100]
    assert len(after) > 50
    assert min(float(frame["p"]) for frame in after) > 1.1 * max(float(frame["p"]) for frame in before)
    body = ask(sim, "/" + top["uuid"]).json["data"]["body"]
    assert "<td>솜니아(SOMI)</td><td>KRW, BTC, USDT</td>" in body
    assert ask(sim, f"/{top['id']}").status == 404  # only the uuid leads there


def test_a_coin_that_is_already_listed_has_the_other_wording(sim: SimProcess) -> None:
    assert sim.publish("PEPE", listed=True, markets=["KRW"])["title"] == "페페(PEPE) KRW 마켓 디지털 자산 추가"


def test_an_edit_moves_an_old_notice_to_the_top(sim: SimProcess) -> None:
    old = ask(sim).json["data"]["notices"][-1]
    sim.ask("edit", number=old["id"], suffix=" (거래지원 개시 시점 변경 안내)")
    top = ask(sim).json["data"]["notices"][0]
    assert (top["id"], top["first_listed_at"], top["need_update_badge"]) == (old["id"], old["first_listed_at"], True)
    assert top["title"].endswith("변경 안내)")
    assert top["listed_at"] > old["listed_at"]
    with pytest.raises(UsageError, match="no notice 1"):
        sim.ask("edit", number=1)


@pytest.mark.parametrize(("fault", "status"), [
    ("429", 429), ("403", 403), ("500", 500), ("garbage", 200), ("empty", 200)])
def test_a_fault_is_the_answer_to_every_request_until_it_ends(fault: str, status: int) -> None:
    board = NoticeBoard(DIALECT, FakeClock(), TruthWriter(None, [], {}))
    board.fault = fault
    answer = board.rest(REQUEST, "10.0.0.1")
    assert answer.status == status and b'"title"' not in answer.body
    assert (board.status()["fault"], board.status()["mood"], board.status()["refused"]) == (fault, fault, 1)
    assert board.mood == fault
    board.fault = NO_FAULT
    assert board.mood == "fine"
    assert board.rest(REQUEST, "10.0.0.1").status == 200 and board.status()["mood"] == "fine"


def test_an_address_that_asks_too_often_is_rejected_for_a_while() -> None:
    clock = FakeClock()
    board = NoticeBoard(DIALECT, clock, TruthWriter(None, [], {}))
    assert [board.rest(REQUEST, "10.0.0.1").status for _ in range(5)] == [200, 200, 200, 429, 429]
    assert board.rest(REQUEST, "10.0.0.2").status == 200
    clock.advance(1.1)
    assert board.rest(REQUEST, "10.0.0.1").status == 200


def test_posts_are_in_order_of_their_last_edit_without_pinned_ones() -> None:
    clock = FakeClock()
    board = NoticeBoard(DIALECT, clock, TruthWriter(None, [], {}))
    first = board.publish(Coin("AAA", 1.0), ["KRW"])
    clock.advance(1)
    second = board.publish(Coin("BBB", 1.0), ["KRW"], title="other", category="event")
    assert board.ordered() == [second, first] and board.ordered("event") == [second]
    clock.advance(1)
    board.edit(first.number, suffix=" (changed)")
    assert board.ordered() == [first, second] and first.title.endswith(" (changed)")
    second.fixed = True
    assert board.ordered() == [first]
    with pytest.raises(UsageError, match="no notice 1"):
        board.edit(1)


@pytest.mark.parametrize("query", ["per_page=100", "per_page=x", "page=0"])
def test_a_bad_query_is_a_bad_request(sim: SimProcess, query: str) -> None:
    answer = ask(sim, f"?os=web&category=trade&{query}")
    assert (answer.status, answer.json) == (400, {"success": False, "error_message": "Bad request"})
