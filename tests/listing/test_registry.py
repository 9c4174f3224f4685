"""Registering listings: each once, few windows at a time, and all of them recorded."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from pumpwatch.clock import NS_PER_S
from pumpwatch.errors import StorageError
from pumpwatch.listing.registry import OPENED_A_MINUTE, OPENED_OF_A_NOTICE, TOO_MANY, ListingRegistry
from pumpwatch.model import Listing
from pumpwatch.store.ledger import Ledger
from tests.listing.board_server import row
from tests.listing.machine import KITE, OLD, Machine


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    made = Machine(tmp_path)
    yield made
    made.ledger.close()


def coins(count: int) -> list[str]:
    return [f"C{number:05d}" for number in range(count)]


def listings_of(machine: Machine, names: list[str], notice_id: str = "1", age_s: float = 1) -> list[Listing]:
    now_ns = machine.clock.now_ns()
    return [Listing(source="upbit", notice_id=notice_id, symbol=name, title="t", announced_at_ns=now_ns - int(age_s * NS_PER_S),
                    detected_at_ns=now_ns, triggered_at_ns=now_ns) for name in names]


def test_the_coins_of_one_notice_open_forty_windows_and_all_are_recorded(machine: Machine) -> None:
    registry = ListingRegistry("upbit", machine.context())
    assert registry.add(listings_of(machine, coins(70))) == OPENED_OF_A_NOTICE == 40
    registry.store()
    assert [listing.symbol for listing in machine.seen] == coins(OPENED_OF_A_NOTICE)
    assert [record.problem for record in machine.ledger.listings()] == [""] * OPENED_OF_A_NOTICE + [TOO_MANY] * 30


def test_a_notice_that_is_added_again_opens_no_further_windows(machine: Machine) -> None:
    registry = ListingRegistry("upbit", machine.context())
    registry.add(listings_of(machine, coins(70)))
    machine.clock.advance(61)  # as after a failed write: the look is repeated when the minute is over
    assert registry.add(listings_of(machine, coins(70))) == OPENED_OF_A_NOTICE
    assert [listing.symbol for listing in machine.seen] == coins(OPENED_OF_A_NOTICE)


class FailingLedger(Ledger):
    """A ledger that cannot write while `failing`."""

    failing = True

    def remember_listing(self, listing: Listing) -> bool:
        if self.failing:
            raise StorageError("disk full")
        return super().remember_listing(listing)


def test_while_the_ledger_fails_a_fresh_listing_opens_once_and_a_late_one_waits(machine: Machine, tmp_path: Path) -> None:
    ledger = FailingLedger(tmp_path)
    registry = ListingRegistry("upbit", machine.context(ledger))
    fresh, late = listings_of(machine, ["KITE"]), listings_of(machine, ["ORDER"], notice_id="2", age_s=3600)
    for _ in range(2):
        registry.add(fresh)
        registry.add(late)
        with pytest.raises(StorageError):
            registry.store()
    assert machine.seen == fresh
    ledger.failing = False
    registry.add(late)
    registry.store()
    assert machine.seen == [*fresh, *late]
    assert {record.listing.symbol for record in ledger.listings()} == {"KITE", "ORDER"}
    ledger.close()


def test_a_listing_older_than_trades_are_kept_is_logged_and_ignored(
        machine: Machine, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    registry = ListingRegistry("upbit", machine.context())
    registry.add(listings_of(machine, coins(3), age_s=49 * 3600))
    registry.store()
    registry.log_not_opened()
    registry.log_not_opened()
    assert (machine.seen, machine.ledger.listings()) == ([], [])
    assert [record.message for record in caplog.records] == [
        "listings ignored source=upbit coins=3 first=1 C00000 reason=older than trades are kept"]


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
    assert len(caplog.records) < OPENED_A_MINUTE + 10
    machine.clock.advance(60)
    machine.publish(9000, KITE)
    assert machine.poll() == ["KITE"]


def test_a_board_may_open_so_many_windows_each_minute(machine: Machine) -> None:
    machine.poll()
    seen = []
    for number in range(30):
        names = ", ".join(f"코인{coin}({coin})" for coin in coins(7 * number + 7)[-7:])
        machine.publish(10 + number, f"{names} 신규 거래지원 안내 (KRW 마켓)")
        seen += machine.poll()  # each 5 s: 84 a minute
    assert OPENED_A_MINUTE * 2 <= len(seen) < 30 * 7
