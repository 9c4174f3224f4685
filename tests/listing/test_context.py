"""The contexts' defaults: a command or a test gives only what it has."""

from __future__ import annotations

from pathlib import Path

import pytest

from pumpwatch.clock import NS_PER_S, FakeClock
from pumpwatch.listing.context import TradeAccess, WindowContext
from pumpwatch.listing.listing_ledger import ListingLedger
from pumpwatch.listing.manifest import read_manifest
from pumpwatch.listing.window import WindowKeeper
from pumpwatch.stats import Stats
from pumpwatch.store.ledger import Ledger
from tests.listing.market import ANNOUNCED_NS, Shelf, listing_of
from tests.listing.window_desk import CATALOGUE, MARKET


def test_a_query_and_a_folder_are_enough_for_a_final_archive(tmp_path: Path) -> None:
    ledger, clock = Ledger(tmp_path), FakeClock(ANNOUNCED_NS + 3 * NS_PER_S)
    context = WindowContext(ledger=ListingLedger(ledger), clock=clock, stats=Stats(), catalogue=CATALOGUE,
                            archive_dir=tmp_path / "archives")
    keeper = WindowKeeper(context, TradeAccess(query=Shelf(MARKET, CATALOGUE).query))
    keeper.open(listing_of())
    clock.advance(700)
    (archive,) = keeper.tick()
    found = read_manifest(archive.path)
    assert found is not None and (found.final, found.problems, found.unpublished) == (True, (), ())
    ledger.close()


def test_a_context_does_not_change() -> None:
    access = TradeAccess(query=Shelf(MARKET, CATALOGUE).query)
    with pytest.raises(AttributeError):
        access.query = None  # type: ignore[misc, assignment]
    assert (access.gaps(0, 1), access.behind("KITE"), access.unlisted()) == ((), (0.0, 0.0), ())
