"""A journal is read in parts whose candles are those of the whole; a position is a mark."""

from __future__ import annotations

from pathlib import Path

import pytest

from pumpwatch.catalogue import Catalogue
from pumpwatch.errors import StorageError
from pumpwatch.market import journal_candles
from pumpwatch.market.intervals import MINUTE_NS
from pumpwatch.market.journal_candles import JournalCandles, JournalPosition
from pumpwatch.store.sqlite import connect
from tests.market.live_journal import START_NS, LiveJournal, assert_same


@pytest.mark.parametrize("text", ["", "1", "a b", "1 2 3", "-1 2"])
def test_what_is_not_a_position_is_none(text: str) -> None:
    assert JournalPosition.of(text) is None


def test_a_position_is_read_as_it_was_written() -> None:
    assert JournalPosition.of(JournalPosition(7, 28_000_000).text()) == JournalPosition(7, 28_000_000)


def test_small_parts_give_the_candles_of_the_whole_minute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    live = LiveJournal(tmp_path)
    for number in range(4):
        live.commit(live.trades(500, number * 500 + 1, START_NS + number * 10**9, 10**8, seed=number))
    monkeypatch.setattr(journal_candles, "PART_ROWS", 100)
    catalogue = Catalogue()
    journal = JournalCandles(tmp_path, catalogue)
    rows = journal.minute(START_NS // MINUTE_NS)
    some = journal.some(range(len(catalogue)), START_NS // MINUTE_NS)
    journal.close()
    assert some.volume.sum() == pytest.approx(rows.volume.sum())
    figures = zip(rows.open, rows.high, rows.low, rows.close, rows.volume, rows.trades, strict=True)
    names = catalogue.names(rows.series)
    assert_same({(name, at): row for name, at, row in zip(names, rows.timestamp.tolist(), figures, strict=True)},
                live.candles(START_NS + MINUTE_NS))


def test_a_locked_file_is_an_error_and_a_damaged_one_is_left_out(tmp_path: Path) -> None:
    live = LiveJournal(tmp_path)
    live.commit(live.trades(10, 1, START_NS, 10**9))
    live.journal.close()
    (path,) = (tmp_path / "journal").glob("*.sqlite")
    other = connect(path)
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(StorageError):
        JournalCandles(tmp_path, Catalogue())
    other.execute("ROLLBACK")
    other.close()
    (tmp_path / "journal" / "0.sqlite").write_bytes(b"not a segment")
    journal = JournalCandles(tmp_path, Catalogue())
    assert [segment.path for segment in journal.segments] == [path]
    journal.close()
