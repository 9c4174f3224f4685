"""Upkeep runs when it is due and only then, says why, and gives pages back."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from pumpwatch.market.intervals import MINUTE_NS
from pumpwatch.market.market_file import FILE_NAME, SLOW_MS
from pumpwatch.market.market_migrations import market_migrations
from pumpwatch.market.sqlite_store import READS, SqliteCandleStore
from pumpwatch.market.upkeep import QUERIES_S, VACUUM_PAGES, CandleUpkeep, IndexUse, InsertPattern
from pumpwatch.store.sqlite_library import Database
from tests.market.store_contract import ALL, START, A, B, candles

NIGHT = time.mktime((2026, 11, 20, 2, 30, 0, 0, 0, -1))


class Hands:
    """A clock that a test sets."""

    def __init__(self, now_s: float) -> None:
        self.now_s = now_s

    def __call__(self) -> float:
        return self.now_s


@pytest.fixture
def clock() -> Hands:
    return Hands(NIGHT)


@pytest.fixture
def store(tmp_path: Path) -> Iterator[SqliteCandleStore]:
    store = SqliteCandleStore(tmp_path / FILE_NAME)
    yield store
    store.close()


@pytest.fixture
def upkeep(store: SqliteCandleStore, clock: Hands) -> CandleUpkeep:
    return CandleUpkeep(store, clock)


def leave_pages(store: SqliteCandleStore, pages: int) -> None:
    """Store candles as rows and remove them again."""
    rows = candles([minute * 480 for minute in range(pages * 60)])  # each in a block's time of its own
    store.write("1m", [A], rows)
    store.remove_before("1m", 2**62)


def test_free_pages_are_counted(store: SqliteCandleStore, upkeep: CandleUpkeep) -> None:
    assert upkeep.fragmentation().free_pages == 0
    leave_pages(store, 100)
    state = upkeep.fragmentation()
    assert state.free_pages >= 100
    assert state.share == state.free_pages / state.pages > 0.5


def test_vacuum_needs_all_its_conditions(store: SqliteCandleStore, upkeep: CandleUpkeep, clock: Hands) -> None:
    store.write("1h", [B], candles([5], step=60 * MINUTE_NS))
    assert "of the pages are free" in upkeep.vacuum().reason
    leave_pages(store, 100)
    assert upkeep.vacuum().reason.endswith(" pages are free")
    leave_pages(store, VACUUM_PAGES + 100)
    for hour in (1, 4, 14):
        clock.now_s = NIGHT + (hour - 2) * 3600
        assert upkeep.vacuum().reason == "not between 02:00 and 04:00"
    clock.now_s = NIGHT
    done = upkeep.vacuum()
    assert done.done
    assert done.pages > VACUUM_PAGES
    assert upkeep.fragmentation().free_pages == 0
    leave_pages(store, VACUUM_PAGES + 100)
    clock.now_s = NIGHT + 6 * 86_400
    assert upkeep.vacuum().reason == "the last one was within a week"
    clock.now_s = NIGHT + 7 * 86_400
    assert upkeep.give_back().task == "vacuum"
    assert len(store.read(B, "1h", *ALL)) == 1


def test_pages_are_given_back_in_steps_by_day(store: SqliteCandleStore, upkeep: CandleUpkeep, clock: Hands) -> None:
    clock.now_s = NIGHT + 10 * 3600
    leave_pages(store, 200)
    before = upkeep.fragmentation()
    done = upkeep.give_back()
    assert (done.task, done.done, done.pages) == ("incremental vacuum", True, before.free_pages)
    assert upkeep.fragmentation().pages <= before.pages - before.free_pages
    assert upkeep.give_back().reason == "no page is free"


def test_statistics_are_made_again_after_growth(store: SqliteCandleStore, upkeep: CandleUpkeep) -> None:
    store.write("1m", [A], candles(list(range(40))))
    assert upkeep.analyze().done
    store.write("1m", [A], candles([41]))
    assert upkeep.analyze().reason == "41 rows, 40 at the last time"
    store.write("1m", [A], candles(list(range(42, 60))))
    assert upkeep.analyze().done


def test_an_index_that_disagrees_is_built_again(store: SqliteCandleStore, upkeep: CandleUpkeep) -> None:
    store.write("1m", [A], candles(list(range(1000))))
    assert not upkeep.reindex().done
    page = store.file.rows("SELECT rootpage FROM sqlite_schema WHERE name = 'blocks_time'")[0][0]
    store.close()
    content = bytearray(store.file.path.read_bytes())
    place = (page - 1) * 4096
    content[place + 3:place + 5] = b"\0\0"  # the index page says that it holds nothing
    store.file.path.write_bytes(content)
    again = SqliteCandleStore(store.file.path)
    found = CandleUpkeep(again)
    assert "blocks_time" in found.reindex().reason
    assert not found.reindex().done
    assert len(again.read(A, "1m", *ALL)) == 1000
    again.close()


def test_candles_are_counted_by_interval(store: SqliteCandleStore, upkeep: CandleUpkeep, clock: Hands) -> None:
    store.write("1m", [A], candles(list(range(1000))))
    store.write("1m", [B], candles([2000]))
    clock.now_s = (START + 1500 * MINUTE_NS) / 1e9
    assert upkeep.insert_patterns() == [InsertPattern("1m", 2, 960, 41, 2, 0)]
    clock.now_s = (START + 2900 * MINUTE_NS) / 1e9
    assert upkeep.insert_patterns() == [InsertPattern("1m", 2, 960, 41, 1, 1)]


def test_queries_are_kept_with_their_plans(store: SqliteCandleStore, upkeep: CandleUpkeep) -> None:
    store.write("1m", [A], candles(list(range(1000))))
    for _ in range(3):
        store.read(A, "1m", *ALL, limit=10)
    store.read(A, "1m", *ALL)
    asked = store.file.asked
    slow = next(query for query in asked if query.startswith("SELECT start, data"))
    asked[slow].slow, asked[slow].worst_ms = 1, SLOW_MS * 2
    assert upkeep.note_queries() == len([query for query in asked if query.startswith("SELECT")])
    assert not any("EXPLAIN" in asked.query for asked in upkeep.queries())
    use = upkeep.index_use()
    assert "blocks_key" in use.used
    assert "PRIMARY KEY" in use.used
    assert use.missing == ()
    assert [(found["query"], found["worst_ms"]) for found in upkeep.report()["slow_queries"]] == [(slow, SLOW_MS * 2)]
    assert "blocks_key" in upkeep.report()["slow_queries"][0]["plan"]


def test_a_query_that_reads_a_whole_table_is_named(store: SqliteCandleStore, upkeep: CandleUpkeep) -> None:
    query = "SELECT count(*) FROM blocks WHERE last = 5"
    store.file.rows(query)
    upkeep.note_queries()
    assert upkeep.index_use().missing == (query,)
    store.file.connection.execute("CREATE INDEX blocks_last ON blocks (last, candles)")
    assert upkeep.index_use().unused == ("blocks_last",)


def test_a_query_that_is_no_longer_asked_is_forgotten(store: SqliteCandleStore, upkeep: CandleUpkeep, clock: Hands) -> None:
    store.file.rows("SELECT count(*) FROM blocks WHERE last = 5")
    upkeep.note_queries()
    clock.now_s = NIGHT + QUERIES_S + 1
    upkeep.note_queries()
    assert upkeep.queries() == [] and upkeep.index_use().missing == ()


def test_a_check_that_must_read_whole_tables_does_not_lack_an_index(store: SqliteCandleStore, upkeep: CandleUpkeep) -> None:
    store.write("1m", [A], candles(list(range(1000))))
    assert store.check() == []
    upkeep.note_queries()
    assert upkeep.index_use().missing == ()


def test_the_queries_of_readers_count_for_the_use_of_indexes(store: SqliteCandleStore, upkeep: CandleUpkeep) -> None:
    assert upkeep.index_use() == IndexUse(("PRIMARY KEY", "blocks_key", "blocks_time"), (), ())
    store.write("1m", [A], candles(list(range(1000))))
    reader = SqliteCandleStore(store.file.path, read_only=True)
    reader.read(A, "1m", *ALL)
    reader.read(A, "1m", *ALL, limit=1000)
    reader.read_many([A, B], "1m", *ALL)
    reader.mark("journal")
    asked = {query: len(noted.values) for query, noted in reader.file.asked.items()}
    reader.close()
    assert asked == dict(READS)


def test_the_report_of_a_reader_is_plain_data(store: SqliteCandleStore, upkeep: CandleUpkeep) -> None:
    store.write("1m", [A], candles([0]))
    upkeep.analyze()
    upkeep.note_queries()
    reader = SqliteCandleStore(store.file.path, read_only=True)
    report = CandleUpkeep(reader).report()
    assert report["migrations"] == [step.name for step in market_migrations._migrations]
    assert report["size_bytes"] == report["fragmentation"]["pages"] * 4096
    assert report["upkeep"]["analyze"] == {"at": int(NIGHT), "result": "1"}
    assert [found["interval"] for found in report["intervals"]] == ["1m"]
    reader.close()


def test_the_report_of_an_older_store_has_what_is_there(tmp_path: Path) -> None:
    db = Database(tmp_path / FILE_NAME)
    market_migrations.apply(db, stop_before="upkeep")
    db.conn.commit()
    db.close()
    reader = SqliteCandleStore(tmp_path, read_only=True)
    report = CandleUpkeep(reader).report()
    assert (report["upkeep"], report["slow_queries"], report["migrations"]) == ({}, [], ["first"])
    reader.close()
