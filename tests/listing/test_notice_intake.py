"""Notices of several sources: one listing with many sights, edits, and what a source pushes."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from pumpwatch_plugins.sources.bithumb import BITHUMB
from pumpwatch_plugins.sources.upbit import UPBIT

from pumpwatch.clock import NS_PER_S
from pumpwatch.listing.notice_intake import NoticeIntake, revision_of
from pumpwatch.listing.validation import NoticeRows, checked_rows
from pumpwatch.model import Notice
from tests.listing.machine import KITE, ORDER, Machine

S = NS_PER_S


@pytest.fixture
def machine(tmp_path: Path) -> Iterator[Machine]:
    made = Machine(tmp_path)
    yield made
    made.ledger.close()


def notice(machine: Machine, notice_id: str = "1", title: str = KITE, age_s: float = 1, **changes: int) -> Notice:
    at_ns = machine.clock.now_ns() - int(age_s * S)
    return Notice(**{"source": "x", "notice_id": notice_id, "title": title, "category": "", "published_at_ns": at_ns,
                     "updated_at_ns": at_ns, **changes})


def rows(*notices: Notice) -> NoticeRows:
    return NoticeRows([replace(each, source="upbit") for each in notices], [], False)


def test_a_second_source_of_the_board_sees_the_same_listing_later(machine: Machine, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    first = NoticeIntake(UPBIT, machine.context())
    second = NoticeIntake(replace(UPBIT, name="mirror"), machine.context())
    first.process(rows())
    second.process(rows())
    seen = notice(machine)
    first.process(rows(seen))
    machine.clock.advance(3)
    second.process(NoticeRows([replace(seen, source="mirror")], [], False))
    assert [listing.source for listing in machine.seen] == ["upbit"]
    assert [(sight.source, sight.of_source) for sight in machine.ledger.sights()] == [("upbit", "upbit"), ("mirror", "upbit")]
    assert "listing seen again source=mirror id=1 coin=KITE kind=notice behind_s=3.0 first=upbit first_id=1" in caplog.text


def test_the_same_coin_on_two_boards_is_two_listings(machine: Machine) -> None:
    upbit, bithumb = NoticeIntake(UPBIT, machine.context()), NoticeIntake(BITHUMB, machine.context())
    upbit.process(rows())
    bithumb.process(rows())
    upbit.process(rows(notice(machine)))
    bithumb.process(NoticeRows([replace(notice(machine, title="카이트(KITE) 원화 마켓 추가"), source="bithumb")], [], False))
    assert [(listing.exchange, listing.symbol) for listing in machine.seen] == [("upbit", "KITE"), ("bithumb", "KITE")]
    assert len(machine.ledger.listings()) == 2


def test_an_edit_is_stored_with_the_sight(machine: Machine) -> None:
    intake = NoticeIntake(UPBIT, machine.context())
    intake.process(rows())
    intake.process(rows(notice(machine)))
    for suffix in (" (거래지원 개시 시점 연기 안내)", " (거래지원 취소 안내)"):
        machine.clock.advance(60)
        intake.process(rows(notice(machine, title=KITE + suffix, age_s=0)))
    (sight,) = machine.ledger.sights()
    assert (sight.edits, sight.title, sight.edited_at_ns) == (2, f"{KITE} (거래지원 취소 안내)", machine.clock.now_ns())
    assert len(machine.seen) == 1


def test_a_notice_dated_ahead_counts_from_when_it_can_be_read(machine: Machine) -> None:
    intake = NoticeIntake(UPBIT, machine.context())
    intake.process(rows())
    intake.process(rows(notice(machine, "1", age_s=-1800), notice(machine, "2", ORDER, age_s=-20)))
    planned, soon = machine.seen
    assert planned.announced_at_ns == planned.detected_at_ns
    assert soon.announced_at_ns == soon.detected_at_ns + 20 * S


def test_what_is_pushed_needs_no_first_look_and_is_announced_once(machine: Machine) -> None:
    intake = NoticeIntake(UPBIT, machine.context())
    fresh = notice(machine)
    for _ in range(2):
        intake.deliver(rows(fresh))
    intake.deliver(rows(replace(fresh, title=f"{KITE} (거래지원 개시 시점 안내)")))
    again = NoticeIntake(UPBIT, machine.context())  # as after a restart
    again.deliver(rows(fresh))
    assert [listing.symbol for listing in machine.seen] == ["KITE"]
    assert machine.ledger.sights()[0].edits == 2


def test_notices_of_one_title_that_name_their_coins_open_each_its_own(machine: Machine) -> None:
    at_ns = machine.clock.now_ns()
    notices = [Notice(source="own", notice_id=notice_id, title=KITE, category="", published_at_ns=at_ns, updated_at_ns=at_ns,
                      coins=coins) for notice_id, coins in (("a", ("SOMI",)), ("b", ("ORDER",)), ("c", ()))]
    source = replace(UPBIT, parse=lambda body: notices)
    NoticeIntake(source, machine.context()).deliver(checked_rows(source, b"", at_ns))
    assert [listing.symbol for listing in machine.seen] == ["SOMI", "ORDER", "KITE"]


def test_an_old_notice_that_is_pushed_was_edited_and_is_not_a_listing(machine: Machine) -> None:
    intake = NoticeIntake(UPBIT, machine.context())
    for _ in range(2):
        intake.deliver(rows(notice(machine, age_s=7200), notice(machine, "2", ORDER)))
    assert [listing.symbol for listing in machine.seen] == ["ORDER"]


def test_a_revision_changes_with_title_and_time(machine: Machine) -> None:
    one = notice(machine)
    assert len({revision_of(each) for each in (one, replace(one, title="x"), replace(one, updated_at_ns=1), replace(one))}) == 3


def test_a_stopped_intake_leaves_new_rows_to_the_next_start(machine: Machine) -> None:
    intake = NoticeIntake(UPBIT, machine.context())
    intake.process(rows())
    intake.stop()
    assert not intake.process(rows(notice(machine)))
    assert machine.seen == []
