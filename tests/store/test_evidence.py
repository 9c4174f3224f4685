"""The notices that sources showed of a listing are kept as they came, for sights of listings only."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pumpwatch.clock import NS_PER_S
from pumpwatch.model import Listing
from pumpwatch.store.evidence import BODY, MOST, SEEN, Evidence
from pumpwatch.store.ledger import Ledger

NOW_NS = 1_790_000_000 * NS_PER_S


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    made = Ledger(tmp_path)
    yield made
    made.close()


def listing(source: str = "web", notice_id: str = "7") -> Listing:
    return Listing(source=source, notice_id=notice_id, symbol="KITE", title="t", announced_at_ns=NOW_NS, detected_at_ns=NOW_NS,
                   triggered_at_ns=NOW_NS, exchange="upbit")


def shown(source: str = "web", after_s: int = 0, event: str = SEEN, notice_id: str = "7") -> Evidence:
    return Evidence(source, notice_id, NOW_NS + after_s * NS_PER_S, event, {"raw": f"{source} {after_s}", "answer": None})


def test_the_evidence_of_a_listing_is_that_of_all_its_sights_in_order(ledger: Ledger) -> None:
    ledger.remember_listing(listing())
    ledger.remember_listing(listing("push", "other-id"))
    rows = [shown(), shown(after_s=9, event=BODY), shown("push", 2, notice_id="other-id")]
    ledger.keep_evidence(rows)
    ledger.keep_evidence(rows)
    assert ledger.evidence_of(listing()) == [rows[0], rows[2], rows[1]]
    assert [sight.source for sight in ledger.sights_of(listing())] == ["push", "web"]
    assert ledger.sights_of(listing("push", "other-id")) == ledger.evidence_of(listing("nobody")) == []


def test_a_notice_that_is_no_sight_leaves_no_evidence_and_one_that_is_edited_for_ever_a_bounded_one(ledger: Ledger) -> None:
    ledger.keep_evidence([shown()])
    ledger.remember_listing(listing())
    assert ledger.evidence_of(listing()) == []
    ledger.keep_evidence([shown(after_s=number) for number in range(MOST + 50)])
    assert len(ledger.evidence_of(listing())) == MOST


def test_evidence_of_forgotten_sights_is_forgotten(ledger: Ledger) -> None:
    ledger.remember_missed(listing(), "no window")
    ledger.remember_listing(listing(notice_id="8"))
    ledger.keep_evidence([shown(), shown(notice_id="8")])
    ledger.forget_notices("web", 0)
    assert ledger.evidence_of(listing()) == [] and len(ledger.evidence_of(listing(notice_id="8"))) == 1


def test_a_ledger_of_an_older_version_has_none(ledger: Ledger, tmp_path: Path) -> None:
    ledger.remember_listing(listing())
    ledger._change("DROP TABLE evidence", ())
    older = Ledger(tmp_path, read_only=True)
    assert older.evidence_of(listing()) == []
    older.close()
