"""Notices dropped by hand reach a running collector once, or are set aside."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from pumpwatch.clock import FakeClock
from pumpwatch.config import Config, StoreConfig
from pumpwatch.errors import UsageError
from pumpwatch.listing.inbox import Inbox, drop, folder_of
from pumpwatch.model import Listing
from pumpwatch.stats import Stats
from pumpwatch.store.ledger import Ledger


class Desk:
    def __init__(self, folder: Path) -> None:
        self.config = Config(store=StoreConfig(dir=str(folder)))
        self.clock, self.seen = FakeClock(), list[Listing]()
        self.ledger = Ledger(folder)
        self.inbox = Inbox(folder_of(self.config), self.ledger, self.clock, Stats(), self.seen.append)


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    made = Desk(tmp_path)
    yield made
    made.ledger.close()


def test_a_dropped_notice_becomes_a_listing_once(desk: Desk) -> None:
    desk.inbox.poll()
    dropped = drop(desk.config, "pepe", clock=desk.clock)
    assert dropped["symbol"] == "PEPE"
    desk.clock.advance(0.5)
    desk.inbox.poll()
    desk.inbox.poll()
    (listing,) = desk.seen
    assert (listing.source, listing.symbol, listing.notice_id) == ("fake", "PEPE", dropped["notice_id"])
    assert listing.announced_at_ns == dropped["announced_at_ns"] == listing.detected_at_ns - 500_000_000
    assert [record.listing for record in desk.ledger.listings()] == [listing]
    assert list(folder_of(desk.config).iterdir()) == []


def test_what_was_dropped_long_ago_is_cleared_and_not_announced(desk: Desk) -> None:
    drop(desk.config, "PEPE", clock=desk.clock)
    desk.clock.advance(601)
    desk.inbox.poll()
    assert desk.seen == []
    assert list(folder_of(desk.config).iterdir()) == []


def test_a_file_that_is_no_notice_is_set_aside(desk: Desk) -> None:
    folder = folder_of(desk.config)
    folder.mkdir()
    (folder / "a.json").write_text("{")
    (folder / "b.json").write_text('{"notice_id": "1", "symbol": "../../etc", "announced_at_ns": 1}')
    (folder / "c.json.partial").write_text("{")
    desk.inbox.poll()
    assert desk.seen == []
    assert sorted(path.name for path in folder.iterdir()) == ["a.rejected", "b.rejected", "c.json.partial"]


@pytest.mark.parametrize("coin", ["", "a b", "../x", "ＰＥＰＥ", "X" * 21])
def test_only_a_ticker_can_be_dropped(desk: Desk, coin: str) -> None:
    with pytest.raises(UsageError):
        drop(desk.config, coin)
