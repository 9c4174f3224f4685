"""Several sights of one listing are joined: the earliest is the listing, the later ones are kept with it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pumpwatch.clock import NS_PER_S
from pumpwatch.model import Listing, Notice
from pumpwatch.store.ledger import Ledger
from pumpwatch.store.sights import MARKET_OPENED, MARKET_REACH_S, NOTICE_REACH_S, Sight

NOW_NS = 1_790_000_000 * NS_PER_S
HOUR_S = 3600


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    made = Ledger(tmp_path)
    yield made
    made.close()


def sight(source: str = "web", after_s: float = 0, **changes: Any) -> Listing:
    at_ns = NOW_NS + int(after_s * NS_PER_S)
    return Listing(**{"source": source, "notice_id": "7", "symbol": "KITE", "title": "t", "announced_at_ns": NOW_NS,
                      "detected_at_ns": at_ns, "triggered_at_ns": at_ns, "exchange": "upbit", **changes})


def market(after_s: float, **changes: Any) -> Listing:
    return sight("markets", after_s, notice_id="KRW-KITE", kind=MARKET_OPENED, **changes)


def test_the_earliest_sight_is_the_listing_and_a_market_confirms_it(ledger: Ledger) -> None:
    assert ledger.remember_listing(sight())
    assert not ledger.remember_listing(sight("push", 1.5, notice_id="other-id"))
    assert not ledger.remember_listing(market(5 * HOUR_S))
    assert [record.listing for record in ledger.listings()] == [sight()]
    assert [(found.source, found.seen_at_ns - NOW_NS, found.of_source, found.of_notice_id) for found in ledger.sights()] == [
        ("web", 0, "web", "7"), ("push", 15 * 10**8, "web", "7"), ("markets", 5 * HOUR_S * NS_PER_S, "web", "7")]
    first = ledger.first_sight(market(0))
    assert isinstance(first, Sight) and first.source == "web" and ledger.first_sight(sight("nobody")) is None


def test_a_list_that_is_read_hours_later_shows_the_same_notice_under_another_id(ledger: Ledger) -> None:
    ledger.remember_listing(sight("push", notice_id="other-id"))
    assert not ledger.remember_listing(sight(after_s=5 * HOUR_S, announced_at_ns=NOW_NS - 40 * NS_PER_S))
    assert len(ledger.listings()) == 1


def test_a_sight_is_stored_once(ledger: Ledger) -> None:
    for _ in range(2):
        ledger.remember_listing(sight())
        ledger.remember_listing(market(9))
    assert len(ledger.sights()) == 2 and len(ledger.listings()) == 1


@pytest.mark.parametrize("later", [
    market(MARKET_REACH_S + 1), market(9, exchange="bithumb"), market(9, symbol="OTHER"), sight(after_s=9, notice_id="8"),
    sight("push", NOTICE_REACH_S + 1, notice_id="8", announced_at_ns=NOW_NS + 3601 * NS_PER_S),
    sight("push", 1, exchange="")])
def test_a_late_sight_or_one_of_another_board_coin_or_notice_is_a_separate_listing(ledger: Ledger, later: Listing) -> None:
    ledger.remember_listing(sight())
    assert ledger.remember_listing(later)
    assert len(ledger.listings()) == 2


def test_the_same_notice_joins_at_any_time(ledger: Ledger) -> None:
    ledger.remember_listing(sight())
    assert not ledger.remember_listing(sight("push", 90 * 86_400))


def test_a_market_that_was_seen_first_stands_alone_and_its_notice_joins_it(ledger: Ledger) -> None:
    assert ledger.remember_listing(market(0))
    assert not ledger.remember_listing(sight(after_s=60))
    (record,) = ledger.listings()
    assert (record.listing.kind, record.listing.exchange, record.listing.board) == (MARKET_OPENED, "upbit", "upbit")


def test_a_missed_listing_is_kept_with_its_reason_and_an_unopened_one_is_a_sight_too(ledger: Ledger) -> None:
    assert ledger.remember_missed(market(0), "seen too late")
    ledger.remember_unopened([sight(symbol="A"), sight(symbol="B")], "too many")
    assert [(record.listing.symbol, record.trades, record.problem) for record in ledger.listings()] == [
        ("A", 0, "too many"), ("B", 0, "too many"), ("KITE", 0, "seen too late")]
    assert not ledger.remember_listing(market(9, symbol="A"))
    assert len(ledger.sights()) == 4


def test_an_edit_is_counted_and_changes_the_title_of_its_own_sight(ledger: Ledger) -> None:
    ledger.remember_listing(sight())
    ledger.remember_listing(market(9))
    for after in (1, 2):
        ledger.edit_sights(Notice(source="web", notice_id="7", title=f"edit {after}", category="", published_at_ns=NOW_NS,
                                  updated_at_ns=NOW_NS + after), NOW_NS + after)
    web, opened = ledger.sights()
    assert (web.title, web.edits, web.edited_at_ns) == ("edit 2", 2, NOW_NS + 2)
    assert (opened.title, opened.edits, opened.edited_at_ns) == ("t", 0, 0)


def test_listings_of_a_ledger_without_sights_become_sights(ledger: Ledger, tmp_path: Path) -> None:
    ledger.remember_listing(sight(exchange=""))
    for statement in ("DROP TABLE sights", "ALTER TABLE listings DROP COLUMN exchange", "ALTER TABLE listings DROP COLUMN kind",
                      "DELETE FROM _sqlite_migrations WHERE name IN ('sights', 'sight_members')"):
        ledger._change(statement, ())
    assert ledger.sights() == [] and len(ledger.listings()) == 1
    ledger.close()
    again = Ledger(tmp_path)
    assert [(found.source, found.exchange, found.kind, found.of_notice_id) for found in again.sights()] == [
        ("web", "web", "notice", "7")]
    assert not again.remember_listing(sight())
    again.close()


def test_sights_of_forgotten_listings_are_forgotten(ledger: Ledger) -> None:
    ledger.remember_listing(sight())
    ledger.remember_unopened([sight(symbol=f"C{number}") for number in range(20)], "too many")
    ledger.forget_notices("web", 5)
    assert {found.symbol for found in ledger.sights()} == {"KITE", *(f"C{number}" for number in range(15, 20))}


def test_a_drill_joins_nothing_and_nothing_joins_a_drill(ledger: Ledger) -> None:
    drill = sight(notice_id="drill-1", drill=True)
    assert ledger.remember_listing(drill)
    assert ledger.remember_listing(sight("push", 1)) and not ledger.remember_listing(market(2))
    assert ledger.remember_listing(sight("other", 3, notice_id="drill-2", drill=True))
    assert [(found.source, found.of_source) for found in ledger.sights()] == [
        ("web", "web"), ("push", "push"), ("markets", "push"), ("other", "other")]
    assert [record.listing.drill for record in ledger.listings()] == [True, False, True]


def test_of_one_notice_that_two_collectors_saw_the_earlier_time_counts(ledger: Ledger) -> None:
    late = sight()
    assert ledger.remember_listing(late, "a")
    earlier = replace(late, detected_at_ns=late.detected_at_ns - 7, triggered_at_ns=late.triggered_at_ns - 5)
    assert not ledger.remember_listing(earlier, "b")
    assert not ledger.remember_listing(replace(late, detected_at_ns=late.detected_at_ns + 9), "c")
    (record,), (seen,) = ledger.listings(), ledger.sights()
    assert (record.listing.detected_at_ns, record.listing.triggered_at_ns) == (earlier.detected_at_ns, earlier.triggered_at_ns)
    assert (seen.seen_at_ns, seen.member) == (earlier.detected_at_ns, "b")


def test_a_ledger_of_an_older_version_has_sights_without_members(ledger: Ledger, tmp_path: Path) -> None:
    ledger.remember_listing(sight())
    ledger._change("ALTER TABLE sights DROP COLUMN member", ())
    ledger.close()
    older = Ledger(tmp_path, read_only=True)
    assert [found.member for found in older.sights()] == [""] == [found.member for found in older.sights_of(sight())]
    older.close()
