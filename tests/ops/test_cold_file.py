"""A day's Parquet file counts once every trade in it was read back."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest

from pumpwatch.errors import StorageError
from pumpwatch.ops.cold_file import ColdFolder, facts_of
from pumpwatch.store.minutes import CHECKSUM_MASK, checksums
from tests.small_disk import small_disk
from tests.trades import batch_of

BATCH = batch_of(5_000)
CHECKSUM = int(checksums(BATCH).sum()) & CHECKSUM_MASK
TABLE = pyarrow.table({
    "timestamp": pyarrow.array(BATCH.timestamp, pyarrow.timestamp("ns", "UTC")), "price": BATCH.price, "quantity": BATCH.quantity,
    "trade_id": BATCH.id_texts()})


def write(file: BinaryIO) -> None:
    pyarrow.parquet.write_table(TABLE, file)


def test_a_file_is_kept_with_its_facts_once_it_holds_the_same_trades(tmp_path: Path) -> None:
    folder = ColdFolder(tmp_path / "cold")
    assert folder.held("questdb/2026-10-01") is None
    made = folder.store("questdb/2026-10-01", 5_000, CHECKSUM, write)
    assert folder.held("questdb/2026-10-01") == made == facts_of(tmp_path / "cold/questdb/2026-10-01.parquet", made.name)
    assert sorted(path.name for path in (tmp_path / "cold/questdb").iterdir()) == ["2026-10-01.json", "2026-10-01.parquet"]


@pytest.mark.parametrize(("trades", "checksum"), [(5_001, CHECKSUM), (5_000, CHECKSUM ^ 1)], ids=["one more", "another sum"])
def test_a_file_that_differs_from_the_sink_is_not_kept(tmp_path: Path, trades: int, checksum: int) -> None:
    folder = ColdFolder(tmp_path)
    with pytest.raises(StorageError, match="the copy has 5,000 trades"):
        folder.store("questdb/day", trades, checksum, write)
    assert folder.held("questdb/day") is None and list((tmp_path / "questdb").iterdir()) == []


def test_a_file_that_was_cut_is_not_kept(tmp_path: Path) -> None:
    with pytest.raises(StorageError, match="cannot be checked"):
        ColdFolder(tmp_path).store("questdb/day", 5_000, CHECKSUM, lambda file: None)


def test_a_copy_whose_file_was_cut_since_does_not_count(tmp_path: Path) -> None:
    folder = ColdFolder(tmp_path)
    folder.store("questdb/day", 5_000, CHECKSUM, write)
    path = tmp_path / "questdb" / "day.parquet"
    path.write_bytes(path.read_bytes()[:-1])
    assert folder.held("questdb/day") is None


def test_a_disk_without_room_leaves_nothing_behind(tmp_path: Path) -> None:
    with small_disk(tmp_path / "cold", 1) as problem:
        if problem:
            pytest.skip(f"no right to mount a small file system here: {problem}")
        with pytest.raises(StorageError, match="No space left"):
            ColdFolder(tmp_path / "cold").store("questdb/day", 1, 1, lambda file: [file.write(bytes(1 << 20)) for _ in range(3)])
        assert not list((tmp_path / "cold" / "questdb").glob("*"))


def test_ids_that_are_no_numbers_count_as_the_sink_counts_them(tmp_path: Path) -> None:
    texts = ["a1", "", "12", str(2**63), None]
    table = pyarrow.table({"timestamp": pyarrow.array([1, 2, 3, 4, 5], pyarrow.timestamp("ns")), "price": np.zeros(5),
                           "quantity": [0.0, 0.0, 0.0, 0.0, None], "trade_id": texts})
    pyarrow.parquet.write_table(table, tmp_path / "x.parquet")
    found = facts_of(tmp_path / "x.parquet", "x")
    assert (found.trades, found.checksum) == (5, 1 + 2 + (3 ^ 12) + 4 + 5)
