"""Files of an archive: exact, with their checksums, and encoded in steps."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import pytest

from pumpwatch.listing.archive_files import CHUNK, COLUMNS, ArchiveFiles, trades_object
from pumpwatch.listing.manifest import FileRow
from pumpwatch.model import SIDES, TradeBatch
from tests.listing.market import catalogue_of_venues, trades

CATALOGUE = catalogue_of_venues()


@pytest.mark.parametrize("count", [0, 1, CHUNK, CHUNK + 1, 3 * CHUNK - 1])
def test_columns_are_whole_however_many_steps_they_take(tmp_path: Path, count: int) -> None:
    batch = trades(0, jump_ms=400, rate=200).take(slice(0, count))
    assert len(batch) == count
    files = ArchiveFiles(tmp_path)
    files.write_object("raw/alpha/spot.json", {"count": count, "title": "a\nb"}, trades_object(batch, CATALOGUE))
    found = json.loads((tmp_path / "raw/alpha/spot.json").read_bytes())
    assert (found["count"], found["title"], list(found["trades"])) == (count, "a\nb", list(COLUMNS))
    assert found["trades"]["timestamp"] == batch.timestamp.tolist()
    assert found["trades"]["price"] == batch.price.tolist()
    assert found["trades"]["side"] == [SIDES[side] for side in batch.side]
    assert found["trades"]["trade_id"] == batch.id_texts()


def test_a_file_has_a_key_a_line(tmp_path: Path) -> None:
    files = ArchiveFiles(tmp_path)
    files.write_object("a.json", {"coin": "KITE", "count": 0}, trades_object(TradeBatch.empty(), CATALOGUE))
    lines = (tmp_path / "a.json").read_text().splitlines()
    assert lines[:4] == ["{", '"coin": "KITE",', '"count": 0,', '"trades": {']
    assert lines[-2:] == ["}", "}"]


def test_size_and_checksum_are_of_what_is_on_the_disk(tmp_path: Path) -> None:
    files = ArchiveFiles(tmp_path)
    files.write("deep/down/file", iter([b"one", b"", b"two"]))
    assert (tmp_path / "deep/down/file").read_bytes() == b"onetwo"
    assert files.rows == {"deep/down/file": FileRow(6, hashlib.sha256(b"onetwo").hexdigest())}
