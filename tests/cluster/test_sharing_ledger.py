"""Records that the sources of a member store are told to the others: in order, once they are durable, and a sight once."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pumpwatch.cluster.news import EditedNews, FirstLookNews, News, NoticesNews, ShownNews, SightNews
from pumpwatch.cluster.sharing_ledger import ROWS, SharingLedger
from pumpwatch.errors import StorageError
from pumpwatch.model import Notice
from pumpwatch.store.evidence import Evidence
from pumpwatch.store.ledger import Ledger
from tests.listing.market import listing_of


def notice(number: int, source: str = "upbit") -> Notice:
    return Notice(source=source, notice_id=str(number), title="t", category="", published_at_ns=1, updated_at_ns=1, raw="long")


@pytest.fixture
def ledger(tmp_path: Path) -> Iterator[Ledger]:
    opened = Ledger(tmp_path)
    yield opened
    opened.close()


def test_everything_stored_is_published_in_order(ledger: Ledger) -> None:
    told: list[News] = []
    sharing = SharingLedger(ledger, "a", told.append)
    listing, shown = listing_of(), Evidence("upbit", "6642", 5, "seen", {"raw": "r"})
    assert sharing.remember_listing(listing) and not sharing.remember_listing(listing)
    sharing.publish_listing(listing)
    sharing.keep_evidence([shown])
    sharing.keep_evidence([])
    sharing.edit_sights(notice(6642), 9)
    sharing.remember_notices([(notice(number), "other", "r") for number in range(ROWS + 1)])
    sharing.first_look_done("upbit")
    sharing.remember_missed(listing_of("OTHER"), "too late")
    kinds = [type(news) for news in told]
    assert kinds == [SightNews, ShownNews, EditedNews, NoticesNews, NoticesNews, FirstLookNews, SightNews]
    assert isinstance(told[-1], SightNews) and told[-1].problem == "too late"
    assert isinstance(told[3], NoticesNews) and told[3].rows[0][0].raw == ""
    assert [sight.member for sight in ledger.sights()] == ["a", "a"]


def test_changes_that_could_not_be_stored_are_not_published(ledger: Ledger, tmp_path: Path) -> None:
    told: list[News] = []

    def fails(function: object, /, *args: object) -> object:
        raise StorageError("the disk is full")

    sharing = SharingLedger(ledger, "a", told.append, fails)  # type: ignore[arg-type]
    for attempt in (lambda: sharing.remember_listing(listing_of()), lambda: sharing.remember_notices([(notice(1), "other", "r")]),
                    lambda: sharing.first_look_done("upbit")):
        with pytest.raises(StorageError):
            attempt()
    assert told == []
    sharing.publish_listing(listing_of())  # the window is opened all the same, and so it is told
    assert len(told) == 1
