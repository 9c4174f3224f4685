"""The instruments that a journal's files name are known, and damage to their names is reported."""

from __future__ import annotations

import sqlite3
from pathlib import Path

from pumpwatch.catalogue import Catalogue
from pumpwatch.store.names import load_names, read_instruments, venues_in
from tests.store.small_journal import NAMES, files, segments_of, small_journal
from tests.trades import VENUES


def test_every_name_of_every_file_is_known(tmp_path: Path) -> None:
    small_journal(tmp_path)
    catalogue, damage = Catalogue(), []
    segments = segments_of(tmp_path)
    load_names(segments, catalogue, lambda path, why: damage.append(why))
    assert set(catalogue.names(range(len(catalogue)))) == set(NAMES) and damage == []
    assert venues_in(segments[0].path) == set(VENUES)


def test_a_name_whose_checksum_is_wrong_is_left_out_and_reported(tmp_path: Path) -> None:
    path, = small_journal(tmp_path, segments=1)
    connection = sqlite3.connect(path)
    connection.execute("UPDATE instruments SET base = 'X' WHERE id = 0")
    connection.commit()
    assert len(read_instruments(connection)) == len(NAMES) - 1
    connection.close()
    catalogue, damage = Catalogue(), []
    load_names(segments_of(tmp_path), catalogue, lambda path, why: damage.append(why))
    assert len(catalogue) == len(NAMES) - 1 and damage == ["names: 1 cannot be read"]


def test_a_file_that_cannot_be_read_names_nothing(tmp_path: Path) -> None:
    small_journal(tmp_path, segments=1)
    files(tmp_path)[0].write_bytes(b"no database")
    assert venues_in(files(tmp_path)[0]) == set()
