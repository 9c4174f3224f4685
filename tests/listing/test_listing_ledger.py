"""Every call to the ledger is made where it may block, and its result comes back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from pumpwatch.clock import FakeClock
from pumpwatch.listing.listing_ledger import ListingLedger
from pumpwatch.model import Notice
from pumpwatch.store.evidence import SEEN, Evidence
from pumpwatch.store.ledger import Ledger
from tests.listing.market import listing_of

NOW_NS = FakeClock().now_ns()
NOTICE = Notice(source="upbit", notice_id="1", title="t", category="c", published_at_ns=NOW_NS, updated_at_ns=NOW_NS)


def test_every_method_goes_through_call_and_reaches_the_ledger(tmp_path: Path) -> None:
    called: list[str] = []

    def call(function: Callable[..., Any], /, *args: Any) -> Any:
        called.append(function.__name__)
        return function(*args)

    ledger = Ledger(tmp_path)
    through = ListingLedger(ledger, call)
    assert through.notice_count("upbit") == 0
    through.remember_notices([(NOTICE, "other", "revision")])
    through.first_look_done("upbit")
    assert through.seen_notices("upbit", ["1", "2"]) == {"1": "revision"}
    through.forget_notices("upbit", 0)
    assert through.notice_count("upbit") == 0
    assert [through.remember_listing(listing_of()), through.remember_listing(listing_of())] == [True, False]
    through.remember_unopened([listing_of("OTHER")], "not opened")
    assert through.remember_missed(listing_of("OTHER"), "not opened") is False
    through.edit_sights(NOTICE, NOW_NS)
    first = through.first_sight(listing_of())
    assert first is not None and first.seen_at_ns == listing_of().detected_at_ns
    assert through.sights_of(listing_of()) == [first]
    shown = Evidence(first.source, first.notice_id, NOW_NS, SEEN, {"raw": "row", "answer": None})
    through.keep_evidence([shown])
    assert through.evidence_of(listing_of()) == [shown]
    through.finish_listing(listing_of(), "archive", 5)
    assert {record.listing.symbol: (record.archive, record.trades, record.problem) for record in through.listings()} == {
        "KITE": ("archive", 5, ""), "OTHER": ("", 0, "not opened")}
    assert set(called) == {name for name in vars(ListingLedger) if not name.startswith("_")}
    ledger.close()
