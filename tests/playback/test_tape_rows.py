"""Numbers become exact decimals again, and base units contracts."""

from __future__ import annotations

from array import array
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pumpwatch.listing.books import Snapshot
from pumpwatch.model import Flag
from pumpwatch.playback.archived import ArchivedVenue, read_archived
from pumpwatch.playback.tape_rows import decimals_of, table_of, tape_of
from tests.playback import made_archive


@given(st.lists(st.tuples(st.integers(1, 10**9), st.integers(0, 9)), min_size=1, max_size=20))
def test_as_many_decimals_as_give_each_number_back(digits: list[tuple[int, int]]) -> None:
    values = np.array([float(f"{number}e-{places}") for number, places in digits])
    decimals = decimals_of(values, 0)
    assert decimals <= max(places for _, places in digits)
    assert [float(f"{round(value * 10**decimals)}e-{decimals}") for value in values.tolist()] == values.tolist()


def test_no_more_decimals_than_64_bits_hold() -> None:
    assert decimals_of(np.array([1234567890123.0]), 8) == 6
    assert decimals_of(np.array([0.1]), 8) == 8
    assert decimals_of(np.array([974.8488984200001]), 0) <= 15


@pytest.fixture
def archive(tmp_path: Path) -> dict[str, ArchivedVenue]:
    return {venue.name: venue for venue in read_archived(made_archive.write(tmp_path).path).venues}


def test_rows_have_the_numbers_of_the_archive_in_base_units_and_the_ids_as_they_were(archive: dict[str, ArchivedVenue]) -> None:
    for dialect in made_archive.dialects():
        venue = archive[dialect.name]
        table = table_of(venue, "SOMI", dialect)
        rows = tape_of(venue, table).rows
        assert rows.prices().tolist() == venue.price.tolist()
        assert rows.base_quantities().tolist() == pytest.approx(venue.quantity.tolist(), rel=1e-15)
        assert (rows.ids() == venue.trade_id) and rows.timestamp.tolist() == venue.timestamp.tolist()
        assert not (rows.flags & Flag.BACKFILLED).any()
    assert archive["okx.futures"].symbols[0].contract_size == 1000.0


def test_a_book_is_the_newest_one_by_then_and_moves_with_the_tape(archive: dict[str, ArchivedVenue]) -> None:
    dialect = next(dialect for dialect in made_archive.dialects() if dialect.name == "okx.futures")
    venue = archive["okx.futures"]
    later = Snapshot("SOMI-USDT-SWAP", 0, 0, made_archive.ANNOUNCED_NS + 5, 78, (array("d", [0.9]), array("d", [5000.0]),
                                                                               array("d"), array("d")))
    venue = replace(venue, books=(later, *venue.books))
    tape = tape_of(venue, table_of(venue, "SOMI", dialect)).shifted(1000)
    assert tape.rows.timestamp[0] == venue.timestamp[0] + 1000 and tape.arrived_at[0] == venue.arrived_at[0] + 1000
    assert tape.book_at(0, made_archive.ANNOUNCED_NS + 984) is None
    found = [tape.book_at(0, made_archive.ANNOUNCED_NS + at) for at in (985, 1004, 1005)]
    assert [book.number for book in found if book] == [77, 77, 78]
    assert found[2] is not None and found[2].texts("bids", 5) == [["0.9000000000", "5.00"]] and found[2].texts("asks", 5) == []
