"""A tape from an archive, and the archives that make none."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest

from pumpwatch.errors import PumpWatchError, StorageError, UsageError
from pumpwatch.paper.archive_tape import read_tape
from tests.paper.made_archives import RISE, rewrite, write
from tests.paper.tapes import LISTING, T0, ms

RAW = "raw/binance/spot.json"


def test_an_archive_is_read_with_its_books(tmp_path: Path) -> None:
    archive = write(tmp_path)
    found = read_tape(archive)
    assert (found.coin, found.listing, found.archive, found.end_ns) == ("KITE", LISTING, str(archive), T0 + 20_000_000_000)
    assert [market.name for market in found.markets] == ["binance.spot:KITEUSDT"]
    assert found.price.tolist() == [row[1] for row in RISE]
    assert found.received_at.tolist() == [ms(row[0] + 5) for row in RISE]
    assert [(book.at, book.bids, book.asks) for book in found.books[0]] == [(ms(-9000), ((0.5, 10.0),), ((2.0, 10.0),))]
    assert len(read_tape(archive, ["okx.spot"]).markets) == 0
    assert read_tape(archive).identity == found.identity


def doubled(archive: Path) -> None:
    trades: dict[str, list[Any]] = msgspec.json.decode((archive / RAW).read_bytes())["trades"]
    rewrite(archive, RAW, trades={name: column * 2 for name, column in trades.items()}, count=2 * len(RISE))


def test_equal_ids_of_a_venue_without_ids_are_trades_of_other_times(tmp_path: Path) -> None:
    archive = write(tmp_path)
    trades: dict[str, list[Any]] = msgspec.json.decode((archive / RAW).read_bytes())["trades"]
    rewrite(archive, RAW, trades=trades | {"trade_id": ["buy 1.0 5"] * len(RISE)})
    assert len(read_tape(archive)) == len(RISE)


def cut(archive: Path) -> None:
    path = archive / RAW
    path.write_bytes(path.read_bytes()[:-200])


def newer(archive: Path) -> None:
    path = archive / "manifest.json"
    path.write_bytes(path.read_bytes().replace(b"pumpwatch.manifest/1", b"pumpwatch.manifest/2"))


@pytest.mark.parametrize(("change", "words"), [
    (doubled, "it repeats 5 trades and 0 symbols"),
    (cut, r"differs from its manifest: raw/binance/spot\.json: has [0-9,]+ bytes, not [0-9,]+"),
    (newer, "unknown format `pumpwatch.manifest/2`; this version reads pumpwatch.manifest/1; a newer PumpWatch"),
    (lambda archive: rewrite(archive, RAW, format="pumpwatch.raw/3"), "`pumpwatch.raw/3`.*; a newer PumpWatch wrote it"),
    (lambda archive: rewrite(archive, RAW, format="pumpwatch.raw/1"), "`pumpwatch.raw/1`.*; make it again"),
    (lambda archive: rewrite(archive, RAW, count=3), "columns have 5 trades, not 3"),
    (lambda archive: rewrite(archive, RAW, symbols=[]), "it has trades of KITEUSDT, which it does not list"),
    (lambda archive: rewrite(archive, RAW, trades=5), "the archive cannot be read"),
    (lambda archive: rewrite(archive, "refined/pump_analysis.json", listings=[]), "the archive has no readable listing"),
    (lambda archive: (archive / "manifest.json").unlink(), "manifest.json: missing or unreadable"),
])
def test_another_archive_is_refused_with_one_clear_message(tmp_path: Path, change: Callable[[Path], object], words: str) -> None:
    archive = write(tmp_path)
    change(archive)
    with pytest.raises(StorageError, match=words):
        read_tape(archive)


def test_a_missing_folder_is_wrong_usage(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="no such folder"):
        read_tape(tmp_path / "NONE")
    assert issubclass(UsageError, PumpWatchError)
