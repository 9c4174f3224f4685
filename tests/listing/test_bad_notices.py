"""Odd lists, titles and coins on their whole way: one clear line, no crash, no wrong window, nothing lost."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from pumpwatch.catalogue import Catalogue
from pumpwatch.clock import NS_PER_S
from pumpwatch.listing.archive_check import check_archive
from pumpwatch.model import SPOT, Instrument, Listing
from tests.listing.board_server import row
from tests.listing.machine import HTML, KITE, OLD, Machine
from tests.listing.market import ANNOUNCED_NS, listing_of
from tests.listing.window_desk import Desk
from tests.small_disk import fill, small_disk

HOUR_NS = 3600 * NS_PER_S


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    made = Machine(tmp_path)
    made.publish(50, OLD, age_s=7200)
    made.publish(60, "모나드(MON) KRW 마켓 디지털 자산 추가", age_s=3600)
    made.poll()
    assert made.seen == []
    yield made
    made.ledger.close()


def body(*rows: Any) -> bytes:
    return json.dumps({"success": True, "data": {"notices": rows, "fixed_notices": []}}, ensure_ascii=False).encode()


def half(machine: Machine) -> bytes:
    whole = body(*machine.board.rows)
    return whole[:len(whole) // 2]


@pytest.mark.parametrize("answer", [
    pytest.param(lambda machine: body(), id="empty"),
    pytest.param(lambda machine: HTML, id="HTML"),
    pytest.param(half, id="half JSON"),
    pytest.param(lambda machine: body(*machine.board.rows[::-1]), id="reordered"),
    pytest.param(lambda machine: body(*machine.board.rows, *machine.board.rows), id="repeated"),
    pytest.param(lambda machine: body(*(one | {"listed_at": "2023-11-15T09:00:00+09:00"} for one in machine.board.rows)),
                 id="edited"),
    pytest.param(lambda machine: body(machine.board.rows[0]), id="shorter")])
def test_an_odd_list_announces_nothing_and_the_next_one_all_that_is_new(
        machine: Machine, caplog: pytest.LogCaptureFixture, answer: Any) -> None:
    machine.board.script = [(200, {}, answer(machine))] * 2
    assert machine.poll(2) == []
    machine.publish(61, KITE)
    assert machine.poll(40) == ["KITE"]
    assert machine.watch.up is True
    assert sum("listing source down" in record.message for record in caplog.records) <= 1


def test_a_notice_whose_id_is_lower_than_known_ones_is_new_all_the_same(machine: Machine) -> None:
    machine.publish(7, KITE)
    assert machine.poll(3) == ["KITE"]


@pytest.mark.parametrize(("off_ns", "late"), [(-HOUR_NS, True), (HOUR_NS - 60 * NS_PER_S, False)])
def test_a_notice_whose_time_is_an_hour_off_opens_one_window_from_when_it_was_seen(
        machine: Machine, off_ns: int, late: bool) -> None:
    machine.board.rows.insert(0, row(61, KITE, machine.clock.now_ns() + off_ns))
    assert machine.poll(5) == ["KITE"]
    (listing,) = machine.seen
    assert (listing.detected_at_ns - listing.announced_at_ns > 600 * NS_PER_S) is late
    assert listing.announced_at_ns <= listing.detected_at_ns


def test_a_notice_of_years_ahead_opens_no_window_and_is_put_away(machine: Machine) -> None:
    machine.board.rows.insert(0, row(61, KITE, machine.clock.now_ns() + 10_000 * HOUR_NS))
    assert machine.poll(5) == []
    assert [row.reason for row in machine.quarantined] == ["published_at_ns is more than an hour ahead"]


@pytest.mark.parametrize("decoration", [
    "\u202eדג סקרן שט", "🚀🚀 \U0001f468\u200d\U0001f469\u200d\U0001f467", "<script>alert(1)</script>", "</title><b onclick=x>",
    "'; DROP TABLE listings; --", "%s %d {0} $coin", "\x1b[2J\r\nERROR forged", "a\u0301" * 300])
def test_a_decorated_title_is_judged_by_its_statement_and_forges_no_line(
        machine: Machine, caplog: pytest.LogCaptureFixture, decoration: str) -> None:
    caplog.set_level(logging.INFO)
    machine.publish(61, decoration)
    machine.publish(62, f"{decoration} 카이트(KITE) 신규 거래지원 안내 (KRW 마켓) ({decoration})")
    assert machine.poll(3) == ["KITE"]
    assert all(record.getMessage().isprintable() for record in caplog.records)


def test_a_title_of_ten_kilobytes_opens_no_window_and_is_put_away(machine: Machine, caplog: pytest.LogCaptureFixture) -> None:
    machine.publish(61, "카" * 10_000)
    machine.publish(62, KITE)
    assert machine.poll(3) == ["KITE"]
    assert len(machine.quarantined) == 1
    assert sum("quarantined" in record.message for record in caplog.records) == 1


@pytest.mark.parametrize("coin", ["..", "/", "../../x", "X" * 300, "\u202eKITE)", "."])
def test_a_coin_that_is_not_a_ticker_opens_no_window(machine: Machine, coin: str) -> None:
    machine.publish(61, f"카이트({coin}) 신규 거래지원 안내 (KRW, BTC 마켓)")
    machine.publish(62, KITE)
    assert set(machine.poll(3)) == {"KITE"}


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    made = Desk(tmp_path)
    yield made
    made.keeper.stop()
    made.ledger.close()


def of_coin(coin: str, at_ns: int) -> Listing:
    return listing_of(coin, announced_ns=at_ns, notice_id=coin)


@pytest.mark.parametrize("coin", ["CON", "NUL", "PRN", "COM1"])
def test_a_coin_with_the_name_of_a_device_has_an_archive_in_the_folder(desk: Desk, coin: str) -> None:
    catalogue = Catalogue()
    catalogue.add(("alpha", SPOT), Instrument(symbol=f"{coin}USDT", base=coin, quote="USDT"))
    desk.shelf.catalogue = catalogue
    desk.start(catalogue=catalogue)
    desk.detect(of_coin(coin, ANNOUNCED_NS))
    assert desk.wait(30) == [f"{coin}_20261103T060000Z"]
    assert check_archive(desk.folder / "archives" / f"{coin}_20261103T060000Z").faults == ()


def test_a_notice_of_forty_coins_has_an_archive_for_each(machine: Machine, desk: Desk) -> None:
    coins = [f"C{number}" for number in range(40)]
    machine.publish(61, f"KRW 마켓 디지털 자산 추가 ({', '.join(coins)})")
    assert machine.poll(3) == coins
    catalogue = Catalogue()
    for coin in coins:
        catalogue.add(("alpha", SPOT), Instrument(symbol=f"{coin}USDT", base=coin, quote="USDT"))
    desk.shelf.catalogue = catalogue
    desk.start(catalogue=catalogue)
    for coin in coins:
        desk.detect(of_coin(coin, ANNOUNCED_NS))
    assert sorted(desk.wait(30)) == sorted(f"{coin}_20261103T060000Z" for coin in coins)
    assert {record.problem for record in desk.ledger.listings()} == {""}


def test_an_archive_that_a_full_disk_held_up_is_written_by_itself_once_there_is_room(
        desk: Desk, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    disk = tmp_path / "disk"
    with small_disk(disk, 4) as problem:
        if problem:
            pytest.skip(problem)
        (desk.folder / "archives").symlink_to(disk)
        ballast = fill(disk)
        desk.detect(listing_of())
        assert [desk.wait(30), desk.wait(11), desk.wait(11)] == [[], [], []]
        assert [path.name for path in disk.iterdir()] == [ballast.name]
        assert sum("archive waits" in record.message and "No space left" in record.message for record in caplog.records) == 1
        ballast.unlink()
        assert desk.wait(11) == ["KITE_20261103T060000Z"]
        assert check_archive(disk / "KITE_20261103T060000Z").faults == ()
