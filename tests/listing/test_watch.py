"""Finding listings on a board: each once, over restarts, edits and crashes."""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import gevent
import pytest
from apscheduler.schedulers.gevent import GeventScheduler
from pumpwatch_plugins.simulators.bithumb import BOARDS as BITHUMB_BOARDS
from pumpwatch_plugins.simulators.upbit import DIALECT as UPBIT_BOARD
from pumpwatch_plugins.simulators.upbit import MARKET_DIALECT as UPBIT_LIST
from pumpwatch_plugins.sources.bithumb import BITHUMB, BITHUMB_MARKETS
from pumpwatch_plugins.sources.upbit import UPBIT, UPBIT_MARKETS

from pumpwatch.clock import NS_PER_S, Clock
from pumpwatch.errors import StorageError
from pumpwatch.hookspecs import ListingSource, MarketSource, Pace
from pumpwatch.listing.watch import Watch
from pumpwatch.model import Listing, Notice
from pumpwatch.net.http import Response
from pumpwatch.sim.board_dialect import BoardDialect
from pumpwatch.sim.board_faults import FAULTS, NO_FAULT
from pumpwatch.sim.dialect import Coin
from pumpwatch.sim.ground_truth import TruthWriter
from pumpwatch.sim.notice_board import NoticeBoard
from pumpwatch.sim.wire import ClientRequest
from pumpwatch.store.ledger import Ledger
from tests.listing.board_server import row
from tests.listing.machine import HTML, KITE, OLD, ORDER, Machine

TWO = "헤미(HEMI), 유즈리스(USELESS) 신규 거래지원 안내 (KRW, BTC 마켓)"
S = NS_PER_S


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    made = Machine(tmp_path)
    yield made
    made.ledger.close()


def test_a_listing_says_when_it_was_announced_and_when_it_was_seen(machine: Machine) -> None:
    machine.start(replace(UPBIT, body_url=None, body_text=None, read_body=None))
    machine.poll()
    machine.publish(7, TWO, age_s=0)
    published = machine.clock.now_ns()
    assert machine.poll() == ["HEMI", "USELESS"]
    for listing in machine.seen:
        assert (listing.source, listing.notice_id, listing.title, listing.needs_body) == ("upbit", "7", TWO, True)
        assert listing.announced_at_ns == published // S * S
        assert listing.detected_at_ns == listing.triggered_at_ns == published + 5 * S
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
    updates = [record.message for record in caplog.records if record.message.startswith("notice updated")]
    assert len(updates) == 2
    assert "id=1 kind=krw_listing remarks=postponed+start_time" in updates[0]


def test_an_old_notice_that_an_edit_moves_to_the_top_is_not_a_listing(machine: Machine) -> None:
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
def test_a_failing_ledger_delays_no_fresh_listing_and_opens_it_once(
        machine: Machine, caplog: pytest.LogCaptureFixture, reads: bool) -> None:
    ledger = FullLedger(machine.folder)
    ledger.full, ledger.reads = False, reads
    machine.start(ledger=ledger)
    machine.publish(1, OLD)
    machine.poll()
    ledger.full = True
    machine.publish(2, KITE)
    machine.publish(3, ORDER, age_s=3600)
    assert machine.poll(3) == ["KITE"]
    ledger.full = False
    assert machine.poll(2) == ["ORDER"]
    assert {record.listing.symbol for record in ledger.listings()} == {"KITE", "ORDER"}
    assert sum("the ledger cannot be read or written" in record.message for record in caplog.records) == 1
    ledger.close()
    machine.restart()
    assert machine.poll(2) == []


@pytest.mark.parametrize("answer", [
    (403, {}, HTML), (200, {"Content-Type": "text/html"}, HTML), (200, {}, b'{"success":false,"error_message":"Bad"}'),
    (500, {}, b""), (200, {}, b'{"data": []}')])
def test_a_board_that_does_not_answer_is_down_once_and_up_once(
        machine: Machine, caplog: pytest.LogCaptureFixture,
        answer: tuple[int, dict[str, str], bytes]) -> None:
    caplog.set_level(logging.INFO)
    machine.publish(1, OLD)
    machine.poll()
    machine.board.script = [answer] * 4
    machine.poll(200)
    changes = [record.message for record in caplog.records if record.message.startswith("listing source")]
    assert len(changes) == 2
    assert changes[0].startswith("listing source down source=upbit reason=")
    assert changes[1].startswith("listing source up again source=upbit")
    assert machine.watch.up is True
    machine.publish(2, KITE)
    assert machine.poll(2) == ["KITE"]


def test_a_listing_whose_coin_cannot_be_read_is_logged(machine: Machine, caplog: pytest.LogCaptureFixture) -> None:
    machine.poll()
    machine.publish(1, "카이트(KITE 신규 거래지원 안내 (KRW 마켓)")
    assert machine.poll(130) == []  # until its body is given up
    assert sum("without a coin in its title" in record.message for record in caplog.records) == 1


def test_a_scheduler_polls_at_once_and_again(machine: Machine) -> None:
    machine.clock = Clock()  # type: ignore[assignment]
    machine.start(interval_s=0.05)
    scheduler = GeventScheduler(timezone="UTC")
    machine.watch.schedule(scheduler)
    scheduler.start()
    with gevent.Timeout(60):
        while len(machine.board.statuses) < 3:
            gevent.sleep(0.001)
    scheduler.shutdown()
    assert machine.board.statuses[:3] == [200, 304, 304]


def test_invalid_rows_are_quarantined_once_and_affect_no_other(
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
    assert {(row.exchange, row.market_type) for row in machine.quarantined} == {("upbit", "listing")}
    assert sum("quarantined" in record.message for record in caplog.records) == 1


def test_a_notice_id_that_stands_twice_in_a_list_is_taken_once(machine: Machine, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    machine.poll()
    machine.publish(1, KITE)
    machine.publish(1, ORDER)
    assert machine.poll(4) == ["ORDER"]
    assert "notice updated" not in caplog.text


def test_the_words_of_a_board_forge_no_log_line(
        machine: Machine, caplog: pytest.LogCaptureFixture) -> None:
    machine.board.script = [(200, {}, b'{"success":false,"error_message":"x\\n2026 ERROR forged\\u001b[2J"}'),
                            (500, {}, b"a\x1b[2Jb")]
    machine.poll(3)
    assert caplog.records
    assert all(record.getMessage().isprintable() for record in caplog.records)
    assert str(machine.watch.state()["reason"]).isprintable()


def test_a_source_that_breaks_is_down_and_never_ends_the_collector(machine: Machine) -> None:
    def parse(body: bytes) -> list[Notice]:
        raise SystemExit(1)

    machine.start(replace(UPBIT, parse=parse))
    machine.poll(3)
    assert machine.watch.up is False
    assert "SystemExit" in machine.watch.state()["reason"]


class SimulatedBoards(Machine):
    """Watches a simulated board of each kind; `play` publishes on it while it has a fault."""

    def play(self, dialect: BoardDialect, source: ListingSource | MarketSource, fault: str) -> list[str]:
        """Return the coins that were announced: during the fault, and after it."""
        board = NoticeBoard(dialect, self.clock, TruthWriter(None, [], {}))
        board.posts = dialect.seed(self.clock.now_ns(), [])
        self.watch = Watch(source, lambda url, headers: self.ask(board, url), self.context())
        self.poll(3)
        assert self.watch.up and self.seen == []
        old = board.posts[0]
        board.fault = fault
        self.poll(3)
        board.publish(Coin("KITE", 1.0, "카이트"), ["KRW", "BTC"])
        self.poll(2)
        board.fault = NO_FAULT
        self.poll(60)
        board.edit(old.number, suffix=" (거래지원 개시 시점 변경 안내)" if dialect.category else "")
        self.poll(2)
        board.delete(old.number)
        return self.poll(5) + [listing.symbol for listing in self.seen]

    def ask(self, board: NoticeBoard, url: str) -> Response:
        reply = board.rest(ClientRequest("GET", "/" + url.split("/", 3)[3], {}, b""), "10.0.0.1")
        return Response(reply.status, reply.headers, reply.body)


BOARDS = [(UPBIT_BOARD, UPBIT), (UPBIT_LIST, UPBIT_MARKETS), (BITHUMB_BOARDS[0], BITHUMB), (BITHUMB_BOARDS[1], BITHUMB_MARKETS)]


@pytest.mark.parametrize("fault", FAULTS)
@pytest.mark.parametrize(("dialect", "source"), BOARDS, ids=[source.name for _, source in BOARDS])
def test_whatever_a_board_does_a_listing_is_announced_once_and_nothing_else_is(
        tmp_path: Path, dialect: BoardDialect, source: ListingSource | MarketSource, fault: str) -> None:
    machine = SimulatedBoards(tmp_path)
    assert machine.play(dialect, source, fault) == ["KITE"]
    assert [listing.symbol for listing in machine.seen] == ["KITE"]
    machine.ledger.close()


def test_a_source_with_a_pace_is_polled_when_it_says_so(machine: Machine) -> None:
    night_only = Pace(utc_offset_min=0, day=(0, 0), night_s=15.0, quick_s=2.0)
    machine.start(replace(UPBIT, pace=night_only))
    for _ in range(60):
        machine.watch.tick()
        machine.clock.advance(1)
    assert len(machine.board.statuses) == 4
    machine.start(replace(UPBIT, pace=night_only), interval_s=3.0)  # an interval of the config counts at any hour
    machine.watch.tick()
    machine.watch.tick()
    assert len(machine.board.statuses) == 6


def test_a_board_is_left_to_another_collector_and_polled_at_once_when_it_is_ours(machine: Machine) -> None:
    ours = [False]
    machine.start(polls=lambda: ours[0])
    machine.watch.tick()
    assert len(machine.board.requests) == 0
    ours[0] = True
    machine.watch.tick()
    assert len(machine.board.requests) == 1
