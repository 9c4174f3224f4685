"""The prices of an archive, read back."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pumpwatch.errors import StorageError
from pumpwatch.listing.archive import Pass, Span, write_archive
from pumpwatch.listing.archived_prices import read_prices
from pumpwatch.listing.context import Reach
from pumpwatch.listing.open_window import intervals_of
from pumpwatch.model import BUY, TradeBatch
from tests.listing.market import catalogue_of_venues, listing_of
from tests.listing.tape import tape

LISTING = listing_of()


def written(folder: Path, *batches: TradeBatch) -> Path:
    span = Span("KITE", [LISTING], intervals_of([LISTING], Reach()))
    return write_archive(folder, span, TradeBatch.concat(list(batches)), catalogue_of_venues(), [], [], Pass(5)).path


def test_prices_of_all_venues_are_of_one_coin_in_seconds_from_the_publication(tmp_path: Path) -> None:
    odd = tape(0, [(-500, float("nan"), 1, BUY), (-500, 0.0, 1, BUY)])
    found = read_prices(written(tmp_path, odd, tape(0, [(250, 1.5, 1, BUY)]), tape(1, [(-1000, 1400.0, 1, BUY)])))
    assert sorted(zip(found.seconds.tolist(), found.price.tolist(), strict=True)) == [(-1.0, 1.4), (0.25, 1.5)]


def test_an_archive_without_a_trade_has_no_price(tmp_path: Path) -> None:
    assert np.array_equal(read_prices(written(tmp_path, TradeBatch.empty())).price, np.empty(0))


def test_a_file_that_is_damaged_is_an_error_that_names_it(tmp_path: Path) -> None:
    archive = written(tmp_path, tape(0, [(250, 1.5, 1, BUY)]))
    (archive / "raw/alpha/spot.json").write_text("{")
    with pytest.raises(StorageError, match=r"alpha/spot\.json"):
        read_prices(archive)
