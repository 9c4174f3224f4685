"""The trades that an archive has are kept as they were written."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from pumpwatch.catalogue import Catalogue
from pumpwatch.clock import NS_PER_S
from pumpwatch.listing.archive import Pass, Span, write_archive
from pumpwatch.listing.kept_trades import first_received, kept_trades, with_archived
from pumpwatch.listing.manifest import MERGED, MemberRow, read_manifest
from pumpwatch.model import TradeBatch
from tests.listing.market import ANNOUNCED_NS, catalogue_of_venues, listing_of, trades

SPAN = Span("KITE", [listing_of()], [(ANNOUNCED_NS - 20 * NS_PER_S, ANNOUNCED_NS + 20 * NS_PER_S)])


def write(folder: Path, batch: TradeBatch, **made: object) -> Path:
    return write_archive(folder, SPAN, batch, catalogue_of_venues(), [], [], Pass(ANNOUNCED_NS, **made)).path  # type: ignore[arg-type]


def texts(batch: TradeBatch, catalogue: Catalogue) -> set[tuple[object, ...]]:
    return set(zip(catalogue.names(batch.instrument), batch.id_texts(), batch.timestamp.tolist(), batch.price.tolist(),
                   batch.quantity.tolist(), batch.side.tolist(), batch.sequence_number.tolist(), batch.received_at.tolist(),
                   strict=True))


def test_every_column_comes_back(tmp_path: Path) -> None:
    batch = TradeBatch.concat([trades(0, jump_ms=400), trades(2, jump_ms=None)])
    inside = batch.take((batch.timestamp >= SPAN.intervals[0][0]) & (batch.timestamp < SPAN.intervals[0][1]))
    names = np.array([b"007" if row == 1 else b"id-%d" % row if row % 2 else b"" for row in range(len(inside))])
    inside = replace(inside, text_id=names)
    catalogue = Catalogue()
    found = kept_trades(write(tmp_path, inside), catalogue)
    assert texts(found, catalogue) == texts(inside, catalogue_of_venues())


def test_a_file_that_is_damaged_or_missing_costs_its_own_trades_alone(tmp_path: Path) -> None:
    path = write(tmp_path, TradeBatch.concat([trades(0, jump_ms=400), trades(2, jump_ms=None)]))
    (path / "raw" / "beta" / "spot.json").write_text("{", "utf-8")
    catalogue = Catalogue()
    found = kept_trades(path, catalogue)
    assert {catalogue.venues[number] for number in found.instrument.tolist()} == {("alpha", "spot")}
    assert len(kept_trades(tmp_path / "nothing", Catalogue())) == 0


def test_of_equal_trades_the_one_that_was_received_first_stays(tmp_path: Path) -> None:
    batch = trades(0, jump_ms=400)
    late = replace(batch, received_at=batch.received_at + 7)
    assert first_received([late, batch]).received_at.tolist() == batch.received_at.tolist()
    kept = with_archived(write(tmp_path, batch), late, catalogue_of_venues())
    assert len(kept) == len(batch)


def test_a_pass_of_a_member_keeps_the_trades_that_only_the_archive_has(tmp_path: Path) -> None:
    members = (MemberRow("a", MERGED),)
    first = read_manifest(write(tmp_path, TradeBatch.concat([trades(0, jump_ms=400), trades(2, jump_ms=None)]), members=members))
    second = read_manifest(write(tmp_path, trades(1, jump_ms=400), members=members, made_by="a"))
    assert first is not None and second is not None
    assert second.trades > first.trades and second.made_by == "a"
    assert {row.trades > 0 for row in second.venues if row.symbols} == {True}
