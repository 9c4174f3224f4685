"""A tape from the store is that of the archive that `listing replay` makes of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pumpwatch.clock import NS_PER_S, Clock
from pumpwatch.config import Config, StoreConfig
from pumpwatch.config_listing import ListingConfig
from pumpwatch.errors import PumpWatchError
from pumpwatch.listing.replay import replay
from pumpwatch.model import TradeBatch
from pumpwatch.paper.archive_tape import read_tape
from pumpwatch.paper.store_tape import store_tape
from pumpwatch.stats import Stats
from pumpwatch.store.journal import Journal
from tests.listing.market import ANNOUNCED_NS, catalogue_of_venues, listing_of, trades


@pytest.fixture
def config(tmp_path: Path) -> Config:
    """A data folder that a collector left behind, with a listing."""
    journal = Journal(tmp_path / "data", catalogue_of_venues(), Clock(), Stats())
    journal.open()
    journal.commit(TradeBatch.concat([trades(0, jump_ms=400), trades(1, jump_ms=250)]))
    journal.ledger.remember_listing(listing_of())
    journal.close()
    return Config(store=StoreConfig(dir=str(tmp_path / "data")), listing=ListingConfig(archive_dir=str(tmp_path / "archives")))


def test_the_store_gives_what_its_archive_gives(config: Config) -> None:
    stored = store_tape(config, "kite", ANNOUNCED_NS)
    assert stored.archive == ""
    assert not Path(config.listing.archive_dir).exists()
    archived = read_tape(Path(replay(config, "KITE", ANNOUNCED_NS)["archive"]))
    for name in ("timestamp", "received_at", "price", "quantity", "side"):
        assert np.array_equal(getattr(stored, name), getattr(archived, name)), name
    assert (stored.listing, stored.markets, stored.end_ns) == (archived.listing, archived.markets, archived.end_ns)
    assert store_tape(config, "KITE", ANNOUNCED_NS).archive == archived.archive
    assert {market.venue for market in store_tape(config, "KITE", ANNOUNCED_NS, ["alpha.spot"]).markets} == {"alpha.spot"}


def test_a_time_without_a_listing_is_the_trigger_itself_and_a_coin_that_is_not_stored_is_an_error(config: Config) -> None:
    at_ns = ANNOUNCED_NS - 300 * NS_PER_S
    first, second = (store_tape(config, "KITE", at_ns) for _ in range(2))
    assert first.triggered_at_ns == at_ns
    assert first.identity == second.identity
    with pytest.raises(PumpWatchError, match="nothing of NONE is stored"):
        store_tape(config, "NONE", at_ns)
