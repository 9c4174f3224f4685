"""The ledger remembers the rows of boards: many at once, each once, and not without bound."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from pumpwatch.model import Listing, Notice
from pumpwatch.store.ledger import Ledger

LISTING = Listing(source="board", notice_id="7", symbol="KITE", title='카이트 "KITE"\n\\ \'', announced_at_ns=2**62,
                  detected_at_ns=2**62 + 1, triggered_at_ns=2**62 + 3, needs_body=True)
NOTICE = Notice(source="board", notice_id="7", title=LISTING.title, category="c", published_at_ns=2**62, updated_at_ns=2**62 + 1)


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    made = Ledger(tmp_path)
    yield made
    made.close()


def test_a_listing_comes_back_to_the_digit_and_the_letter(ledger: Ledger) -> None:
    assert ledger.remember_listing(LISTING)
    (record,) = ledger.listings(unfinished_only=True)
    assert (record.listing, record.archive, record.trades, record.problem) == (LISTING, "", None, "")
    drill = replace(LISTING, notice_id="8", drill=True)
    assert ledger.remember_listing(drill) and ledger.listings()[1].listing == drill


def test_listings_that_open_no_window_are_known_with_the_reason_and_leave_the_others_as_they_are(ledger: Ledger) -> None:
    assert ledger.remember_listing(LISTING)
    ledger.remember_unopened([LISTING, *(replace(LISTING, symbol=f"C{number}") for number in range(3000))], "too many")
    assert len(ledger.listings()) == 3001
    assert [record.listing for record in ledger.listings(unfinished_only=True)] == [LISTING]
    assert not ledger.remember_listing(replace(LISTING, symbol="C5"))
    assert [record.problem for record in ledger.listings() if record.listing.symbol == "C5"] == ["too many"]


def test_a_problem_is_stored_and_can_be_cleared(ledger: Ledger) -> None:
    ledger.remember_listing(LISTING)
    ledger.finish_listing("board", "7", "KITE", "data/KITE", 0, "no instrument")
    ledger.finish_listing("board", "7", "KITE", "data/KITE", 12)
    (record,) = ledger.listings()
    assert (record.trades, record.problem) == (12, "")


def test_thousands_of_notices_are_remembered_at_once_and_the_newest_kept(ledger: Ledger) -> None:
    rows = [(replace(NOTICE, notice_id=str(number)), "other", f"r{number}") for number in range(2000)]
    ledger.remember_notices(rows)
    ledger.remember_notices([(replace(NOTICE, source="other"), "other", "r")])
    ledger.remember_listing(LISTING)
    ledger.remember_unopened([replace(LISTING, symbol=f"C{number}") for number in range(20)], "too many")
    ledger.forget_notices("board", 5)
    assert ledger.seen_notices("board", [str(number) for number in range(3000)]) == {
        str(number): f"r{number}" for number in range(1995, 2000)}
    assert ledger.notice_count("other") == 1
    assert {record.listing.symbol for record in ledger.listings()} == {"KITE", *(f"C{number}" for number in range(15, 20))}


def test_listings_of_an_older_ledger_can_be_read(ledger: Ledger) -> None:
    ledger.remember_listing(LISTING)
    for column in ("drill", "problem"):
        ledger._change(f"ALTER TABLE listings DROP COLUMN {column}", ())
        assert [(record.listing, record.problem) for record in ledger.listings()] == [(LISTING, "")]
