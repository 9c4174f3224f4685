"""Finding listings on a board: each once, over restarts, edits and crashes; and manners while asking."""

from __future__ import annotations

import logging
import ssl
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import gevent
import pytest
from apscheduler.schedulers.gevent import GeventScheduler
from pumpwatch_plugins.sources.upbit import UPBIT

from pumpwatch.clock import NS_PER_S, Clock, FakeClock
from pumpwatch.errors import StorageError
from pumpwatch.listing.register import OPENED_A_MINUTE, OPENED_OF_A_NOTICE
from pumpwatch.listing.watch import Watch
from pumpwatch.model import Listing, Notice
from pumpwatch.net.http import Http
from pumpwatch.records import Quarantined, Records
from pumpwatch.stats import Stats
from pumpwatch.store.ledger import Ledger
from tests.listing.board_server import BoardServer, row

KITE = "카이트(KITE) 신규 거래지원 안내 (KRW, BTC, USDT 마켓)"
ORDER = "오덜리(ORDER) KRW 마켓 디지털 자산 추가"
TWO = "헤미(HEMI), 유즈리스(USELESS) 신규 거래지원 안내 (KRW, BTC 마켓)"
OLD = "랠리(RLY) 거래지원 종료 안내 (12/22 15:00)"
HTML = b"<!DOCTYPE html><html><title>Just a moment...</title></html>"
S = NS_PER_S


class Machine:
    """A collector's listing part that can be started again on the same data folder."""

    def __init__(self, folder: Path, board: BoardServer) -> None:
        self.folder, self.board = folder, board
        self.clock, self.stats = FakeClock(), Stats()
        self.seen: list[Listing] = []
        self.quarantined: list[Quarantined] = []
        self.fetch = Http(ssl.create_default_context(), timeout_s=5).fetch
        self.ledger = Ledger(folder)
        self.start()

    def start(self, url: str | None = None) -> None:
        self.watch = Watch(UPBIT, self.fetch, self.ledger, self.clock, self.stats, self.seen.append,
                           url=self.board.url if url is None else url, record=self.record)

    def record(self, records: Records) -> None:
        self.quarantined += records.quarantine

    def restart(self) -> None:
        self.ledger.close()
        self.ledger = Ledger(self.folder)
        self.start()

    def poll(self, times: int = 1) -> list[str]:
        """Poll every 5 s and return the coins that were announced meanwhile."""
        before = len(self.seen)
        for _ in range(times):
            self.clock.advance(5)
            self.watch.poll()
        return [one.symbol for one in self.seen[before:]]

    def publish(self, number: int, title: str, age_s: float = 1) -> None:
        self.board.rows.insert(0, row(number, title, self.clock.now_ns() - int(age_s * S)))


@pytest.fixture
def board() -> Iterator[BoardServer]:
    with BoardServer() as server:
        yield server


@pytest.fixture
def machine(tmp_path: Path, board: BoardServer) -> Iterator[Machine]:
    made = Machine(tmp_path, board)
    yield made
    made.ledger.close()


def test_what_the_first_look_shows_is_remembered_and_not_announced(machine: Machine) -> None:
    machine.publish(1, OLD)
    machine.publish(2, KITE)
    assert machine.poll(3) == []
    machine.publish(3, ORDER)
    assert machine.poll(2) == ["ORDER"]
    assert machine.ledger.notice_count("upbit") == 3


def test_a_first_look_at_an_empty_board_is_a_first_look_too(machine: Machine) -> None:
    assert machine.poll() == []
    machine.publish(1, KITE)
    assert machine.poll() == ["KITE"]


def test_a_listing_says_when_it_was_announced_and_when_it_was_seen(machine: Machine) -> None:
    machine.poll()
    machine.publish(7, TWO, age_s=0)
    published = machine.clock.now_ns()
    assert machine.poll() == ["HEMI", "USELESS"]
    for one in machine.seen:
        assert (one.source, one.notice_id, one.title, one.needs_body) == ("upbit", "7", TWO, True)
        assert one.announced_at_ns == published // S * S
        assert one.detected_at_ns == one.triggered_at_ns == published + 5 * S
    assert [record.listing for record in machine.ledger.listings()] == machine.seen


def test_after_a_restart_what_is_new_is_announced_as_long_as_its_trades_are_kept(machine: Machine) -> None:
    machine.publish(1, OLD)
    machine.poll()
    machine.publish(2, KITE)
    assert machine.poll() == ["KITE"]
    machine.clock.advance(3600)
    machine.publish(3, "비토르(VTHO) 신규 거래지원 안내 (KRW 마켓)", age_s=1200)
    machine.publish(4, ORDER, age_s=300)
    machine.publish(5, "네오(NEO) 신규 거래지원 안내 (KRW 마켓)", age_s=49 * 3600)
    machine.restart()
    assert machine.poll(3) == ["ORDER", "VTHO"]
    machine.restart()
    assert machine.poll(2) == []


def test_an_edit_is_an_update_and_never_a_listing(machine: Machine, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    machine.poll()
    machine.publish(1, KITE)
    machine.publish(2, "넥소(NEXO) 신규 거래지원 안내 (USDT 마켓)")
    assert machine.poll() == ["KITE"]
    published = machine.clock.now_ns() - 6 * S
    machine.board.rows = [
        row(1, f"{KITE} (거래지원 개시 시점 연기 안내)", published, machine.clock.now_ns()),
        row(2, "넥소(NEXO) 신규 거래지원 안내 (KRW, USDT 마켓)", published, machine.clock.now_ns())]
    assert machine.poll(3) == []
    machine.restart()
    assert machine.poll() == []
    updates = [record.message for record in caplog.records if record.message.startswith("updated")]
    assert len(updates) == 2
    assert "id=1 kind=krw_listing remarks=postponed+start_time" in updates[0]


def test_an_old_notice_that_an_edit_moves_to_the_top_is_no_listing(machine: Machine) -> None:
    machine.poll()
    machine.board.rows = [row(900, KITE, machine.clock.now_ns() - 460 * 3600 * S, machine.clock.now_ns())]
    assert machine.poll(2) == []


def test_a_listing_that_was_remembered_before_a_crash_is_not_announced_twice(machine: Machine) -> None:
    machine.poll()
    machine.publish(1, KITE)
    machine.poll()
    machine.ledger._connection.execute("DELETE FROM notices")  # as if it had died between the two writes
    machine.ledger._connection.execute("INSERT INTO notices (source, notice_id) VALUES ('upbit', '0')")
    machine.restart()
    assert machine.poll() == []
    assert [record.trades for record in machine.ledger.listings(unfinished_only=True)] == [None]


class FullLedger(Ledger):
    """A ledger whose disk is full while `full` says so."""

    full = reads = True

    def seen_notices(self, source: str, notice_ids: Sequence[str]) -> dict[str, str]:
        if self.full and not self.reads:
            raise StorageError("database is locked")
        return super().seen_notices(source, notice_ids)

    def remember_listing(self, listing: Listing) -> bool:
        if self.full:
            raise StorageError("disk full")
        return super().remember_listing(listing)

    def remember_notices(self, notices: Sequence[tuple[Notice, str, str]]) -> None:
        if self.full and any(kind == "krw_listing" for _, kind, _ in notices):
            raise StorageError("disk full")
        super().remember_notices(notices)


@pytest.mark.parametrize("reads", [True, False])
def test_a_ledger_that_refuses_delays_no_fresh_listing_and_it_is_opened_once(
        machine: Machine, caplog: pytest.LogCaptureFixture, reads: bool) -> None:
    ledger = FullLedger(machine.folder)
    ledger.full, ledger.reads = False, reads
    machine.watch = Watch(UPBIT, machine.fetch, ledger, machine.clock, machine.stats, machine.seen.append,
                          url=machine.board.url)
    machine.publish(1, OLD)
    machine.poll()
    ledger.full = True
    machine.publish(2, KITE)
    machine.publish(3, ORDER, age_s=3600)
    assert machine.poll(3) == ["KITE"]
    ledger.full = False
    assert machine.poll(2) == ["ORDER"]
    assert {record.listing.symbol for record in ledger.listings()} == {"KITE", "ORDER"}
    assert sum("nothing can be remembered" in record.message for record in caplog.records) == 1
    ledger.close()
    machine.restart()
    assert machine.poll(2) == []


def test_the_same_list_is_not_sent_again(machine: Machine, board: BoardServer) -> None:
    machine.publish(1, OLD)
    machine.poll(4)
    assert board.statuses == [200, 304, 304, 304]
    machine.publish(2, KITE)
    assert machine.poll(2) == ["KITE"]
    assert board.statuses[4:] == [200, 304]
    assert machine.stats.get("listing_polls_total", source="upbit", outcome="unchanged") == 4


def test_it_asks_as_a_korean_browser_and_says_no_origin_to_another_host(machine: Machine, board: BoardServer) -> None:
    machine.poll()
    asked = board.requests[0]
    assert asked["accept-language"].startswith("ko-KR")
    assert "Mozilla" in asked["user-agent"]
    assert asked["referer"].startswith("https://upbit.com/")
    assert "origin" not in asked


def test_a_refusal_is_answered_by_resting_twice_as_long_each_time(machine: Machine, board: BoardServer) -> None:
    board.script = [(429, {}, b"slow down")] * 3
    asked_at = []
    for _ in range(60):
        machine.poll()
        if len(board.statuses) > len(asked_at):
            asked_at.append(machine.clock.monotonic())
    rests = [later - earlier for earlier, later in pairwise(asked_at)]
    assert 30 <= rests[0] <= 40
    assert 60 <= rests[1] <= 75
    assert 120 <= rests[2] <= 140
    assert rests[3] == 5  # answered: back to the usual interval


@pytest.mark.parametrize("wait", ["90", "Tue, 14 Nov 2023 22:14:55 GMT"])
def test_a_refusal_is_left_alone_for_as_long_as_it_asks(machine: Machine, board: BoardServer, wait: str) -> None:
    board.script = [(429, {"Retry-After": wait}, b"")]
    machine.poll(16)
    assert board.statuses == [429]
    machine.poll(8)
    assert board.statuses[:2] == [429, 200]


@pytest.mark.parametrize("answer", [
    (403, {}, HTML), (200, {"Content-Type": "text/html"}, HTML), (200, {}, b'{"success":false,"error_message":"Bad"}'),
    (500, {}, b""), (200, {}, b'{"data": []}')])
def test_a_board_that_does_not_answer_is_down_once_and_up_once(
        machine: Machine, board: BoardServer, caplog: pytest.LogCaptureFixture,
        answer: tuple[int, dict[str, str], bytes]) -> None:
    caplog.set_level(logging.INFO)
    machine.publish(1, OLD)
    machine.poll()
    board.script = [answer] * 4
    machine.poll(200)
    said = [record.message for record in caplog.records if record.message.startswith("listing source")]
    assert len(said) == 2
    assert said[0].startswith("listing source down source=upbit reason=")
    assert said[1].startswith("listing source up again source=upbit")
    assert machine.watch.up is True
    machine.publish(2, KITE)
    assert machine.poll(2) == ["KITE"]


def test_of_two_addresses_the_one_that_answers_is_kept(machine: Machine, board: BoardServer) -> None:
    with BoardServer() as second:
        second.rows = board.rows
        source = replace(UPBIT, url=board.url, fallback_urls=(second.url,))
        board.script = [(403, {}, HTML)] * 99
        machine.watch = Watch(source, machine.fetch, machine.ledger, machine.clock, machine.stats, machine.seen.append)
        machine.poll(6)
        assert board.statuses == [403]
        assert second.statuses == [200, 304, 304, 304, 304]
        assert machine.watch.up is True


def test_an_address_where_nobody_listens_is_down_and_tried_gently(machine: Machine) -> None:
    machine.start("http://127.0.0.1:9/list")
    machine.poll(20)
    assert machine.watch.up is False
    assert 3 <= machine.stats.get("listing_polls_total", source="upbit", outcome="failed") <= 10
    assert machine.watch.state()["reason"]


def test_a_listing_whose_coin_cannot_be_read_is_said_aloud(machine: Machine, caplog: pytest.LogCaptureFixture) -> None:
    machine.poll()
    machine.publish(1, "카이트(KITE 신규 거래지원 안내 (KRW 마켓)")
    assert machine.poll() == []
    assert sum("does not name" in record.message for record in caplog.records) == 1


def test_a_scheduler_polls_at_once_and_again(machine: Machine, board: BoardServer) -> None:
    machine.watch = Watch(UPBIT, machine.fetch, machine.ledger, Clock(), machine.stats, machine.seen.append,
                          url=board.url, interval_s=0.05)
    scheduler = GeventScheduler(timezone="UTC")
    machine.watch.schedule(scheduler)
    scheduler.start()
    with gevent.Timeout(60):
        while len(board.statuses) < 3:
            gevent.sleep(0.01)
    scheduler.shutdown()
    assert board.statuses[:3] == [200, 304, 304]


def test_rows_that_cannot_be_meant_are_quarantined_once_and_cost_no_other(
        machine: Machine, caplog: pytest.LogCaptureFixture) -> None:
    machine.poll()
    machine.publish(1, KITE)
    kite = machine.board.rows.pop()
    machine.board.rows = [
        kite | {"id": 90, "first_listed_at": "9999-12-31T23:59:59+09:00"},
        kite | {"id": 91, "listed_at": "0001-01-01T00:00:00+09:00"},
        kite | {"id": 92, "first_listed_at": "2031-01-01T00:00:00+09:00"},
        kite | {"id": "x"}, kite | {"id": 93, "title": "x" * 2001}, None, kite]  # type: ignore[list-item]
    assert machine.poll(4) == ["KITE"]
    assert machine.watch.state()["up"] is True
    assert machine.watch.state()["quarantined"] == len(machine.quarantined) == 6
    assert {(one.exchange, one.market_type) for one in machine.quarantined} == {("upbit", "listing")}
    assert sum("quarantined" in record.message for record in caplog.records) == 1


def test_a_row_ahead_of_a_clock_that_is_wrong_is_taken_when_the_clock_is_right_again(machine: Machine) -> None:
    machine.publish(1, OLD)
    machine.poll()
    machine.board.rows.insert(0, row(2, KITE, machine.clock.now_ns() + 2 * 86400 * S))
    assert machine.poll(2) == []
    machine.clock.advance(2 * 86400)
    assert machine.poll() == ["KITE"]


def coins(count: int) -> list[str]:
    return [f"C{number:05d}" for number in range(count)]


def test_a_board_that_lists_thousands_of_coins_opens_few_windows_and_all_are_recorded(
        machine: Machine, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    machine.publish(1, OLD)
    machine.poll()
    published = machine.clock.now_ns()
    machine.board.rows = [row(10 + number, f"코인({coin}) 신규 거래지원 안내 (KRW 마켓)", published)
                          for number, coin in enumerate(coins(3000))]
    assert machine.poll() == coins(OPENED_A_MINUTE)
    assert machine.poll(2) == []
    records = machine.ledger.listings()
    assert len(records) == 3000
    assert sum(record.trades is None for record in records) == OPENED_A_MINUTE
    assert {record.problem for record in records if record.trades is not None} == {"not opened: too many at once"}
    assert sum("listings not opened" in record.message for record in caplog.records) == 1
    assert len(caplog.records) < 20
    machine.clock.advance(60)
    machine.publish(9000, KITE)
    assert machine.poll() == ["KITE"]


def test_a_notice_of_many_coins_opens_few_windows(machine: Machine) -> None:
    machine.poll()
    machine.publish(1, f"KRW 마켓 디지털 자산 추가 ({', '.join(coins(40))})")
    assert machine.poll(3) == coins(OPENED_OF_A_NOTICE)
    assert len(machine.ledger.listings()) == 40


def test_a_board_may_open_a_few_windows_each_minute(machine: Machine) -> None:
    machine.poll()
    names = coins(30)
    seen = []
    for number, coin in enumerate(names):
        machine.publish(10 + number, f"코인({coin}) 신규 거래지원 안내 (KRW 마켓)")
        seen += machine.poll()  # each 5 s: 12 a minute
    assert OPENED_A_MINUTE * 2 <= len(seen) < len(names)


def test_a_notice_id_that_stands_twice_in_a_list_is_taken_once(machine: Machine, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    machine.poll()
    machine.publish(1, KITE)
    machine.publish(1, ORDER)
    assert machine.poll(4) == ["ORDER"]
    assert "updated" not in caplog.text


def test_what_a_board_says_of_itself_forges_no_line_of_the_log(
        machine: Machine, board: BoardServer, caplog: pytest.LogCaptureFixture) -> None:
    board.script = [(200, {}, b'{"success":false,"error_message":"x\\n2026 ERROR forged\\u001b[2J"}'), (500, {}, b"a\x1b[2Jb")]
    machine.poll(3)
    assert caplog.records
    assert all(record.getMessage().isprintable() for record in caplog.records)
    assert str(machine.watch.state()["reason"]).isprintable()


def test_a_source_that_breaks_is_down_and_never_ends_the_collector(machine: Machine, board: BoardServer) -> None:
    def parse(body: bytes) -> list[Notice]:
        raise SystemExit(1)

    machine.watch = Watch(replace(UPBIT, parse=parse), machine.fetch, machine.ledger, machine.clock, machine.stats,
                          machine.seen.append, url=board.url)
    machine.poll(3)
    assert machine.watch.up is False
    assert "SystemExit" in machine.watch.state()["reason"]
