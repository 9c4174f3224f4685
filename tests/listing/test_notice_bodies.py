"""Notices whose title does not say which coin gets which market: the body decides, once, also when it comes late."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import gevent
import pytest
from gevent.event import Event
from pumpwatch_plugins.sources.upbit import UPBIT

from pumpwatch.clock import NS_PER_S
from pumpwatch.errors import BadFrame, ServiceUnavailable
from pumpwatch.listing.notice_bodies import BodyPending, NoticeBodies
from pumpwatch.listing.notice_intake import CHUNK, NoticeIntake
from pumpwatch.listing.validation import NoticeRows
from pumpwatch.model import Notice
from tests.listing.board_server import FakeBoard
from tests.listing.machine import KITE, OLD, Machine

UNION = "빅타임(BIGTIME), 아카시네트워크(AKT) 신규 거래지원 안내 (KRW, BTC, USDT 마켓)"
NO_LIST = "카이트(KITE) 신규 거래지원 안내"
AKT_ONLY = ("<table><tr><th>디지털 자산</th><th>마켓</th><th>거래지원 개시 시점</th></tr>"
            "<tr><td>빅타임(BIGTIME)</td><td>BTC, USDT</td><td>10월 6일 20시</td></tr>"
            "<tr><td>아카시네트워크(AKT)</td><td>KRW, BTC, USDT</td><td>10월 6일 20시</td></tr></table>")


def answer(body: str) -> tuple[int, dict[str, str], bytes]:
    return 200, {}, json.dumps({"success": True, "data": {"body": body}}).encode()


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    made = Machine(tmp_path)
    yield made
    made.ledger.close()


@pytest.fixture
def bodies(machine: Machine) -> FakeBoard:
    """Return the page of the body of notice 7, which is not found until its script says otherwise."""
    page = FakeBoard(f"http://board.test/api/v1/announcements/{7 * 7919}")
    machine.boards[page.url] = page
    machine.publish(1, OLD)
    machine.poll(2)
    return page


def test_the_body_decides_which_coins_are_listings(machine: Machine, bodies: FakeBoard, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    bodies.script = [answer(AKT_ONLY)]
    machine.publish(7, UNION)
    assert machine.poll() == ["AKT"]
    assert not machine.seen[0].needs_body and machine.seen[0].title == UNION
    assert "notice body decides source=upbit id=7 krw=AKT others=BIGTIME starts=BIGTIME:" in caplog.text
    machine.restart()
    assert machine.poll(3) == [] and len(bodies.requests) == 1


def test_a_body_that_fails_to_load_is_tried_again_with_back_off_and_told_once(
        machine: Machine, bodies: FakeBoard, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    bodies.script = [(429, {}, b"slow down"), (200, {}, b"<html>"), answer("soon"), answer(AKT_ONLY)]
    machine.publish(7, UNION)
    seen_ns = machine.clock.now_ns() + 5 * NS_PER_S
    assert machine.poll() == []
    coins: list[str] = []
    while not coins:
        coins = machine.poll()
    assert coins == ["AKT"]
    assert caplog.text.count("notice body not read") == 1 and "answers 429" in caplog.text
    assert "notice body read source=upbit id=7 tries=4" in caplog.text
    assert machine.seen[0].detected_at_ns == seen_ns and machine.seen[0].triggered_at_ns > seen_ns
    assert machine.stats.get("listing_body_failures_total", source="upbit") == 3
    assert machine.poll(5) == [] and machine.quarantined == []


def test_a_restart_while_the_body_is_missing_loses_nothing(machine: Machine, bodies: FakeBoard) -> None:
    bodies.script = [(500, {}, b"")] * 3
    machine.publish(7, UNION)
    assert machine.poll() == []
    machine.restart()
    bodies.script = [answer(AKT_ONLY)]
    assert machine.poll(30) == ["AKT"]


def test_a_body_that_never_comes_leaves_the_decision_to_the_title(
        machine: Machine, bodies: FakeBoard, caplog: pytest.LogCaptureFixture) -> None:
    del machine.boards[bodies.url]
    machine.publish(7, UNION)
    assert machine.poll(100) == []
    assert machine.poll(30) == ["BIGTIME", "AKT"] and machine.seen[0].needs_body
    assert caplog.text.count("notice body not read") == caplog.text.count("notice body given up") == 1
    assert machine.poll(30) == []


def test_other_notices_go_on_while_a_body_is_missing(machine: Machine, bodies: FakeBoard) -> None:
    bodies.script = [(500, {}, b"")] * 50
    machine.publish(7, UNION)
    machine.poll()
    machine.publish(8, KITE)
    assert machine.poll() == ["KITE"]


def test_a_title_without_markets_may_open_one_by_its_body_and_a_body_without_won_opens_none(
        machine: Machine, bodies: FakeBoard) -> None:
    bodies.script = [answer(AKT_ONLY.replace("아카시네트워크(AKT)", "카이트(KITE)"))]
    machine.publish(7, NO_LIST)
    assert machine.poll() == ["KITE"]
    page = FakeBoard(f"http://board.test/api/v1/announcements/{9 * 7919}")
    page.script = [answer(AKT_ONLY.replace("KRW, ", ""))]
    machine.boards[page.url] = page
    machine.publish(9, UNION)
    assert machine.poll(10) == [] and len(page.requests) == 1


def test_an_edit_is_never_a_listing_whatever_its_body_says(machine: Machine, bodies: FakeBoard) -> None:
    bodies.script = [answer(AKT_ONLY), answer(AKT_ONLY.replace("BTC, USDT", "KRW"))]
    machine.publish(7, UNION)
    machine.poll()
    row = machine.board.rows[0]
    row["title"] += " (거래지원 개시 시점 변경 안내)"
    row["listed_at"] = "2030-01-01T00:00:00+09:00"
    machine.clock.advance(5)
    row["listed_at"] = row["first_listed_at"].replace("+09:00", ".5+09:00")
    assert machine.poll(5) == [] and len(bodies.requests) == 2


def push_notice(machine: Machine, body: str = "") -> Notice:
    at_ns = machine.clock.now_ns() - NS_PER_S
    return Notice(source="pushed", notice_id="7", title=UNION, category="", published_at_ns=at_ns, updated_at_ns=at_ns,
                  url=f"https://upbit.com/service_center/notice?id={7 * 7919}", body=body)


def test_a_missing_body_is_waited_for_although_more_chunks_of_the_list_follow(machine: Machine, bodies: FakeBoard) -> None:
    bodies.script = [(500, {}, b"")]
    intake = NoticeIntake(UPBIT, machine.context(), bodies=machine.watch.bodies)
    notice = replace(push_notice(machine), source="upbit")
    others = [replace(notice, notice_id=str(100 + number), title=OLD) for number in range(CHUNK)]
    assert not intake.process(NoticeRows([notice, *others], [], False)) and intake.waits_for_bodies


def test_a_body_that_comes_along_is_not_asked_for(machine: Machine, bodies: FakeBoard) -> None:
    intake = NoticeIntake(replace(UPBIT, name="pushed"), machine.context(), bodies=machine.watch.bodies)
    intake.deliver(NoticeRows([push_notice(machine, AKT_ONLY)], [], False))
    assert [listing.symbol for listing in machine.seen] == ["AKT"] and bodies.requests == []


def test_a_pushed_notice_waits_for_its_body(machine: Machine, bodies: FakeBoard) -> None:
    bodies.script = [(500, {}, b""), answer(AKT_ONLY)]
    intake = NoticeIntake(replace(UPBIT, name="pushed"), machine.context(), bodies=machine.watch.bodies)
    intake.retry()
    intake.deliver(NoticeRows([push_notice(machine, "not yet")], [], False))
    for _ in range(100):
        machine.clock.advance(5)
        intake.retry()
    assert [(listing.symbol, listing.source) for listing in machine.seen] == [("AKT", "pushed")] and len(bodies.requests) == 2


def test_a_body_that_hangs_holds_nobody_up_for_long(machine: Machine) -> None:
    released = Event()

    def load(url: str) -> bytes:
        released.wait()
        return answer(AKT_ONLY)[2]

    waiting = NoticeBodies(UPBIT, machine.context(), load, lambda: "http://board.test/list")
    notice = push_notice(machine)
    with gevent.Timeout(60):
        for _ in range(3):
            with pytest.raises(BodyPending):
                waiting.body_of(notice, machine.clock.now_ns())
    released.set()
    gevent.sleep(0.01)
    body = waiting.body_of(notice, machine.clock.now_ns())
    assert body is not None and body.coins["AKT"] == ("KRW", "BTC", "USDT") and body.text == AKT_ONLY


def test_too_many_bodies_at_once_are_not_waited_for(machine: Machine) -> None:
    def load(url: str) -> bytes:
        raise ServiceUnavailable("no")

    waiting = NoticeBodies(UPBIT, machine.context(), load, lambda: "http://board.test/list")
    given_up = 0
    for number in range(150):
        try:
            assert waiting.body_of(replace(push_notice(machine), notice_id=str(number)), machine.clock.now_ns()) is None
            given_up += 1
        except BodyPending:
            pass
    assert given_up == 50


def test_an_address_that_is_not_text_is_a_failure(machine: Machine, caplog: pytest.LogCaptureFixture) -> None:
    def bad(text: str, at_ns: int) -> object:
        raise BadFrame("a bug")

    for source in (replace(UPBIT, body_url=lambda url, notice: 5), replace(UPBIT, read_body=bad)):  # type: ignore[arg-type, return-value]
        waiting = NoticeBodies(source, machine.context(), lambda url: answer(AKT_ONLY)[2], lambda: "http://board.test/list")
        with pytest.raises(BodyPending):
            waiting.body_of(push_notice(machine), machine.clock.now_ns())
    assert "body_url does not return an address" in caplog.text and "a bug" in caplog.text


def test_listings_that_need_no_body_go_first(machine: Machine, bodies: FakeBoard, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[list[str]] = []
    load = NoticeBodies.body_of

    def watched(self: NoticeBodies, notice: Notice, seen_ns: int) -> object:
        opened.append([listing.symbol for listing in machine.seen])
        return load(self, notice, seen_ns)

    monkeypatch.setattr(NoticeBodies, "body_of", watched)
    bodies.script = [answer(AKT_ONLY)]
    machine.publish(6, KITE)
    machine.publish(7, UNION)
    assert machine.poll() == ["KITE", "AKT"]
    assert opened == [["KITE"]]
