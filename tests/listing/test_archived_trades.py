"""The trades of an archive, read back whole or not at all."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from pumpwatch.errors import StorageError, UsageError
from pumpwatch.listing.archive import Pass, Span, write_archive
from pumpwatch.listing.archived_trades import read_trades, require_whole, trade_files
from pumpwatch.listing.context import Reach
from pumpwatch.listing.open_window import intervals_of
from pumpwatch.model import BUY, SELL, TradeBatch
from tests.listing.market import catalogue_of_venues, listing_of
from tests.listing.tape import tape

LISTING = listing_of()
RAW = "raw/alpha/spot.json"


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    span = Span("KITE", [LISTING], intervals_of([LISTING], Reach()))
    trades = TradeBatch.concat([tape(0, [(250, 1.5, 1, BUY), (260, 1.6, 2, SELL)]), tape(1, [(-1000, 1400.0, 1, BUY)])])
    return write_archive(tmp_path, span, trades, catalogue_of_venues(), [], [], Pass(5)).path


def change(archive: Path, how: Callable[[dict[str, Any]], object]) -> Path:
    content = json.loads((archive / RAW).read_bytes())
    how(content)
    (archive / RAW).write_text(json.dumps(content))
    return archive / RAW


def double(raw: dict[str, Any]) -> None:
    raw["count"] *= 2
    for name, column in raw["trades"].items():
        raw["trades"][name] = column * 2


def test_each_venue_is_a_file_with_its_trades(archive: Path) -> None:
    require_whole(archive)
    found = [read_trades(path) for path in trade_files(archive)]
    assert sum(raw.count for raw in found) == 3
    spot = next(raw for raw in found if raw.venue == "alpha.spot")
    assert (spot.trades.price, spot.trades.side) == ([1.5, 1.6], ["buy", "sell"])


def test_equal_ids_at_other_times_are_other_trades(archive: Path) -> None:
    path = change(archive, lambda raw: raw["trades"].update(trade_id=["buy 1.0 5"] * 2))
    assert read_trades(path).count == 2


@pytest.mark.parametrize(("how", "words"), [
    (double, "it repeats 2 trades and 0 symbols"),
    (lambda raw: raw["symbols"].append(raw["symbols"][0]), "it repeats 0 trades and 1 symbols"),
    (lambda raw: raw["trades"]["side"].pop(), "columns have 1, 2 trades, not 2"),
    (lambda raw: raw.update(symbols=[]), "which it does not list; make it again"),
    (lambda raw: raw.update(format="pumpwatch.raw/3"), "unknown format `pumpwatch.raw/3`.*; a newer PumpWatch wrote it"),
    (lambda raw: raw.update(format="pumpwatch.raw/1"), "unknown format `pumpwatch.raw/1`.*; make it again"),
    (lambda raw: raw.pop("trades"), "cannot be read: Object missing required field `trades`"),
])
def test_a_file_whose_content_is_wrong_is_an_error_that_names_it(
        archive: Path, how: Callable[[dict[str, Any]], object], words: str) -> None:
    with pytest.raises(StorageError, match=words) as raised:
        read_trades(change(archive, how))
    assert RAW in raised.value.message


def test_an_archive_that_differs_from_its_manifest_is_an_error_with_its_faults(archive: Path) -> None:
    (archive / RAW).write_text("{}")
    with pytest.raises(StorageError, match=rf"differs from its manifest: {RAW}: has 2 bytes"):
        require_whole(archive)
    (archive / "manifest.json").write_text('{"format": "pumpwatch.manifest/9"}')
    with pytest.raises(StorageError, match=r"unknown format `pumpwatch\.manifest/9`.*; a newer PumpWatch"):
        require_whole(archive)
    with pytest.raises(UsageError, match="no such folder"):
        require_whole(archive / "none")
