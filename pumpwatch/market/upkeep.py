"""Upkeep of the store of candles: free pages, statistics, indexes and slow queries.

Each method is one job, safe to call at any time: it checks whether it is needed, does it, and returns the reason. Only VACUUM
holds the writer's lock for long, so it runs at night and at most once a week.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any

from pumpwatch.clock import NS_PER_S
from pumpwatch.market.intervals import INTERVALS_NS
from pumpwatch.market.sqlite_store import READS, SqliteCandleStore

VACUUM_SHARE, VACUUM_PAGES, VACUUM_EVERY_S = 0.15, 1000, 7 * 86_400
VACUUM_HOURS = range(2, 4)  # local time
STEP_S = 0.025  # an incremental vacuum aims at steps of this length
FIRST_PAGES, MOST_PAGES = 16, 512  # of a step
ANALYZE_GROWTH = 0.25
QUERIES_S = 30 * 86_400  # a query that was not asked for so long is forgotten
HOT_S = 86_400  # a series with a candle within this time is hot
_INDEX = re.compile(r"USING (?:COVERING )?INDEX (\w+)|USING (PRIMARY KEY)")
_SCANNED = re.compile(r"SCAN (candles|blocks|c|b)(?! USING)\b")


@dataclass(frozen=True, slots=True)
class Fragmentation:
    """The pages of the file. share: free ones of all."""

    page_bytes: int
    pages: int
    free_pages: int
    share: float


@dataclass(frozen=True, slots=True)
class InsertPattern:
    """The candles of an interval: packed in blocks, and as rows. hot: series with a candle within the last day."""

    interval: str
    blocks: int
    packed: int
    rows: int
    hot: int
    cold: int


@dataclass(frozen=True, slots=True)
class Done:
    """The result of a piece of upkeep. done: whether it was needed and ran; pages: those given back to the disk."""

    task: str
    done: bool
    reason: str
    pages: int = 0
    longest_step_s: float = 0.0


@dataclass(frozen=True, slots=True)
class IndexUse:
    """The indexes used by recorded queries and by readers, the unused ones, and the queries that scan a whole table."""

    used: tuple[str, ...]
    unused: tuple[str, ...]
    missing: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class AskedQuery:
    """A query that was asked: how often, how often it was slow (50 ms), its longest time and its plan."""

    query: str
    times: int
    slow: int
    worst_ms: float
    plan: str


class CandleUpkeep:
    """The upkeep of one store. Every method raises StorageError where the file cannot be used."""

    def __init__(self, store: SqliteCandleStore, now_s: Callable[[], float] = time.time) -> None:
        self._file, self._now_s = store.file, now_s

    def fragmentation(self) -> Fragmentation:
        """Return the pages of the file, and how many of them are free."""
        with self._file.errors("read"):
            size, pages, free = (self._pragma(name) for name in ("page_size", "page_count", "freelist_count"))
        return Fragmentation(size, pages, free, free / pages if pages else 0.0)

    def insert_patterns(self) -> list[InsertPattern]:
        """Return the candles of each interval that has any, and how many series still get new ones."""
        found = []
        with self._file.reading("read"):
            for interval, length in INTERVALS_NS.items():
                seconds = length // NS_PER_S
                blocks, packed = self._file.rows("SELECT count(*), coalesce(sum(candles), 0) FROM blocks WHERE interval = ?",
                                                 (seconds,))[0]
                newest = self._file.rows(
                    "SELECT max(newest), sum(rows) FROM (SELECT series, max(last) AS newest, 0 AS rows FROM blocks"
                    " WHERE interval = ? GROUP BY series UNION ALL SELECT series, max(timestamp), count(*) FROM candles"
                    " WHERE interval = ? GROUP BY series) GROUP BY series", (seconds, seconds))
                hot = sum(last + seconds > self._now_s() - HOT_S for last, _ in newest)
                if newest:
                    found.append(InsertPattern(interval, blocks, packed, sum(rows for _, rows in newest), hot, len(newest) - hot))
        return found

    def vacuum(self) -> Done:
        """Write the file again without its free pages, at night, if they are many; else say why not."""
        state, now_s = self.fragmentation(), self._now_s()
        last = self._noted().get("vacuum", (0, ""))[0]
        for refused, reason in (
                (state.share <= VACUUM_SHARE, f"{state.share:.1%} of the pages are free"),
                (state.free_pages <= VACUUM_PAGES, f"{state.free_pages} pages are free"),
                (now_s - last < VACUUM_EVERY_S, "the last one was within a week"),
                (time.localtime(now_s).tm_hour not in VACUUM_HOURS, "not between 02:00 and 04:00")):
            if refused:
                return Done("vacuum", False, reason)
        began = time.monotonic()
        with self._file.errors("vacuum"):
            self._file.connection.execute("VACUUM")
        took_s, freed = time.monotonic() - began, state.pages - self.fragmentation().pages
        return self._note(Done("vacuum", True, f"{freed} pages given back", freed, took_s))

    def incremental_vacuum(self, most_s: float = 5.0) -> Done:
        """Give free pages back to the disk in short steps, for `most_s` at most; other writers get in between."""
        until, pages, freed, longest_s = time.monotonic() + most_s, FIRST_PAGES, 0, 0.0
        while time.monotonic() < until and (free := self.fragmentation().free_pages):
            began = time.monotonic()
            with self._file.errors("incremental vacuum"):
                self._file.connection.execute(f"PRAGMA incremental_vacuum({pages})").fetchall()
            took_s, left = time.monotonic() - began, self.fragmentation().free_pages
            if left >= free:
                break  # a file made without incremental vacuum gives nothing back
            freed, longest_s = freed + free - left, max(longest_s, took_s)
            pages = min(pages * 2, MOST_PAGES) if took_s < STEP_S / 2 else max(pages // 2, 1) if took_s > STEP_S else pages
            time.sleep(0.0001)
        if not freed:
            return Done("incremental vacuum", False, "no page is free" if not self.fragmentation().free_pages else "not possible")
        return self._note(Done("incremental vacuum", True, f"{freed} pages given back", freed, longest_s))

    def give_back(self) -> Done:
        """Vacuum where that is due, else in steps."""
        done = self.vacuum()
        return done if done.done else self.incremental_vacuum()

    def analyze(self) -> Done:
        """Count the rows of each index for the query planner, where that was never done or the store has grown by a quarter."""
        with self._file.errors("read"):
            count = self._file.rows("SELECT (SELECT count(*) FROM blocks) + (SELECT count(*) FROM candles)")[0][0]
        before = self._noted().get("analyze")
        if before is not None and abs(count - int(before[1])) <= ANALYZE_GROWTH * max(int(before[1]), 1):
            return Done("analyze", False, f"{count} rows, {before[1]} at the last time")
        with self._file.errors("analyze"):
            self._file.connection.execute("PRAGMA analysis_limit=1000")
            self._file.connection.execute("ANALYZE")
        return self._note(Done("analyze", True, str(count)))

    def reindex(self) -> Done:
        """Build the indexes again where one does not agree with its table. Reads the whole file."""
        with self._file.errors("check"):
            wrong = [text for (text,) in self._file.rows("PRAGMA integrity_check(100)") if "index" in text]
            if not wrong:
                return Done("reindex", False, "every index agrees with its table")
            self._file.connection.execute("REINDEX")
        return self._note(Done("reindex", True, wrong[0]))

    def note_queries(self) -> int:
        """Add the queries asked since the last call to those of the file, with their plans; return their number."""
        asked, self._file.asked = self._file.asked, {}
        plans = {query: self.plan(query, noted.values) for query, noted in asked.items() if query.startswith("SELECT")}
        with self._file.writing("write") as connection:
            connection.execute("DELETE FROM queries WHERE last_at < ?", (int(self._now_s()) - QUERIES_S,))
            connection.executemany(
                "INSERT INTO queries VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT DO UPDATE SET times = times + excluded.times,"
                " slow = slow + excluded.slow, worst_ms = max(worst_ms, excluded.worst_ms), last_at = excluded.last_at,"
                " query_plan = excluded.query_plan",
                [(query, asked[query].times, asked[query].slow, asked[query].worst_ms, int(self._now_s()), plan)
                 for query, plan in plans.items()])
        return len(plans)

    def plan(self, query: str, values: tuple[Any, ...]) -> str:
        """Return the plan of a query, one line a step."""
        with self._file.errors("read"):
            steps = self._file.connection.execute(f"EXPLAIN QUERY PLAN {query}", values).fetchall()
        return "\n".join(str(step[3]) for step in steps)

    def queries(self) -> list[AskedQuery]:
        """Return the noted queries, the slowest first."""
        if not self._has("queries"):
            return []
        with self._file.errors("read"):
            return [AskedQuery(*row) for row in self._file.connection.execute(
                "SELECT query, times, slow, worst_ms, query_plan FROM queries ORDER BY worst_ms DESC")]

    def index_use(self) -> IndexUse:
        """Return which indexes queries use: those noted by the process that writes, and those that readers ask.

        Readers write nothing into the file, so their plans are made now.
        """
        plans = {query: self.plan(query, (None,) * values) for query, values in READS}
        plans |= {asked.query: asked.plan for asked in self.queries()}
        used = {name for plan in plans.values() for name in _INDEX.findall(plan)}
        names = {index or key for index, key in used}
        with self._file.errors("read"):
            known = {name for (name,) in self._file.connection.execute(
                "SELECT name FROM sqlite_schema WHERE type = 'index' AND name LIKE 'blocks%'")}
        missing = [query for query, plan in plans.items() if _SCANNED.search(plan) and " WHERE " in query]
        return IndexUse(tuple(sorted(names)), tuple(sorted(known - names)), tuple(sorted(missing)))

    def report(self) -> dict[str, Any]:
        """Return all of it as plain data: size, fragmentation, patterns, upkeep, indexes, queries, migrations. Times are in s."""
        state = self.fragmentation()
        log_file = self._file.path.with_name(self._file.path.name + "-wal")
        return {
            "file": str(self._file.path), "size_bytes": state.pages * state.page_bytes,
            "log_bytes": log_file.stat().st_size if log_file.exists() else 0, "fragmentation": asdict(state),
            "intervals": [asdict(pattern) for pattern in self.insert_patterns()],
            "upkeep": {task: {"at": at, "result": result} for task, (at, result) in self._noted().items()},
            "indexes": asdict(self.index_use()), "slow_queries": [asdict(asked) for asked in self.queries() if asked.slow],
            "migrations": self._file.migrations()}

    def _pragma(self, name: str) -> int:
        return int(self._file.connection.execute(f"PRAGMA {name}").fetchone()[0])

    def _has(self, table: str) -> bool:
        with self._file.errors("read"):
            return bool(self._file.connection.execute("SELECT 1 FROM sqlite_schema WHERE name = ?", (table,)).fetchall())

    def _noted(self) -> dict[str, tuple[int, str]]:
        """Return when each task last ran (s), and its result."""
        if not self._has("upkeep"):
            return {}  # the file of an older version
        with self._file.errors("read"):
            return {task: (at, result) for task, at, result in self._file.connection.execute("SELECT * FROM upkeep")}

    def noted_s(self, task: str) -> int:
        """Return when a task last ran (s, UTC), 0 where it never did."""
        return self._noted().get(task, (0, ""))[0]

    def note(self, task: str, result: str) -> None:
        """Remember that a task ran now, and how it ended."""
        self._note(Done(task, True, result))

    def _note(self, done: Done) -> Done:
        with self._file.writing("write") as connection:
            connection.execute("INSERT OR REPLACE INTO upkeep VALUES (?, ?, ?)", (done.task, int(self._now_s()), done.reason))
        return done
