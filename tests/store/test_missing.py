"""A file that vanished from a journal is found from another process."""

from __future__ import annotations

from pathlib import Path

from pumpwatch.store.missing import missing_files
from tests.store.small_journal import files, segments_of, small_journal


def test_nothing_is_missing_in_a_whole_journal(tmp_path: Path):
    small_journal(tmp_path)
    assert missing_files(tmp_path, segments_of(tmp_path)) == []


def test_a_removed_file_is_named_with_its_trades_and_batches(tmp_path: Path):
    _, second, _ = small_journal(tmp_path, segments=3, rows=50)
    second.unlink()
    (gone,) = [missing for missing in missing_files(tmp_path, segments_of(tmp_path)) if missing.trades]
    assert (gone.name, gone.trades) == (second.name, 50)
    assert gone.why.startswith("the file is gone, with batches 2 to 2, 50 trades, 20")
    assert gone.why.endswith("; the next start records a gap")


def test_without_the_list_of_segments_the_batch_ids_show_the_hole(tmp_path: Path):
    small_journal(tmp_path, segments=3)
    files(tmp_path)[1].unlink()
    (tmp_path / "segments.json").unlink()
    (hole,) = missing_files(tmp_path, segments_of(tmp_path))
    assert hole.name == files(tmp_path)[1].name and hole.trades == 0
    assert hole.why.startswith("batches 2 to 2 before it are in no file")
