"""`python -m tests.soak.candle_year`: a year of candles of 200 series through the upkeep of their store, with readers.

The candles of a day are made from its number, so that a reader computes by itself which ones a store must hold. The writer goes
through the year by a set clock: eight hours of each day are stored half an hour at a time and packed, the others as a late
history; an hour of each 30 days is stored minute by minute. Each day has retention and upkeep, once at 02:30 local time and once
at 14:00, each week the check of the whole store. Readers compare each answer with the state of marks that belongs to it. It
prints a JSON object; exit code 1 if a reader failed or saw a wrong candle, or if the check found a flaw.

Lock times are those of whole transactions, from BEGIN to COMMIT, of each task; `cpu` is the CPU time of the same: on a busy
machine other programs may have the core meanwhile.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import random
import sqlite3
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from pumpwatch.errors import PumpWatchError
from pumpwatch.market.aggregate import continuity_flaws, write_minutes
from pumpwatch.market.candle_columns import CandleColumns, Series
from pumpwatch.market.candle_retention import KEPT_DAYS, kept_from, remove_expired
from pumpwatch.market.intervals import INTERVALS_NS, MINUTE, MINUTE_NS
from pumpwatch.market.market_file import FILE_NAME
from pumpwatch.market.sqlite_store import SqliteCandleStore
from pumpwatch.market.upkeep import CandleUpkeep
from pumpwatch.model import Int64
from tests.bench.candles import START_NS, made, names_of

DAY, HALF_HOUR, ROWS_OF_DAY, LIVE_EVERY = 1440, 30, 480, 30  # minutes, minutes, minutes, days
FIRST_NS = START_NS // (DAY * MINUTE_NS) * DAY * MINUTE_NS
WRITTEN, KEPT = "written", "kept"  # marks: minutes since FIRST_NS that are stored, the day of the last retention
STEPS = ("retention", "packing", "incremental vacuum")  # that never hold the lock for long
CHECK_DAYS, PAUSE_S = 7, 0.02


@lru_cache(4)
def day_of(day: int, count: int) -> CandleColumns:
    """Return the minutes of a day of so many series, by time."""
    rows = made(count, DAY, day * DAY)
    rows.timestamp[:] += FIRST_NS - START_NS
    return rows


def minutes_of(day: int, first: int, end: int, count: int) -> CandleColumns:
    """Return the minutes [first, end) of a day."""
    return day_of(day, count).take(slice(first * count, end * count))


def expected(day: int, place: int, count: int, interval: str) -> np.ndarray[Any, Any]:
    """Return a series' candles of a day, computed apart from the product: time, open, high, low, close, and the four sums."""
    rows = day_of(day, count).take(slice(place, None, count))
    step = INTERVALS_NS[interval] // MINUTE_NS
    table = [column.reshape(-1, step) for column in (rows.open, rows.high, rows.low, rows.close)]
    sums = [column.reshape(-1, step).sum(axis=1)
            for column in (rows.volume, rows.quote_volume, rows.taker_buy_volume, rows.trades)]
    return np.column_stack([rows.timestamp[::step], table[0][:, 0], table[1].max(axis=1), table[2].min(axis=1), table[3][:, -1],
                            *sums])


def read_for_ever(folder: Path, count: int, seed: int, stop: Any, told: Any) -> None:
    """Read and compare until `stop`; tell the answers, the first wrong ones, and the longest times in ms."""
    draw, names, answers, wrong, times = random.Random(seed), names_of(count), 0, list[str](), list[float]()
    store = SqliteCandleStore(folder, read_only=True)
    while not stop.is_set():
        try:
            began = time.perf_counter()
            wrong += read_once(store, names, draw)
            times.append((time.perf_counter() - began) * 1000)
        except (PumpWatchError, sqlite3.Error, ValueError) as error:
            wrong.append(repr(error))
        answers += 1
        time.sleep(PAUSE_S)
    store.close()
    told.put({"answers": answers, "wrong": len(wrong), "first": wrong[:3],
              "ms_p50": float(np.median(times)), "ms_p99": float(np.percentile(times, 99))})


def read_once(store: SqliteCandleStore, names: list[Series], draw: random.Random) -> list[str]:
    """Read a day of a series; return what is wrong with it."""
    with store.snapshot():
        marks = store.marks()
        end, kept_ns = int(marks.get(WRITTEN, 0)), kept_from(FIRST_NS + int(marks.get(KEPT, 0)) * DAY * MINUTE_NS)
        interval = draw.choice(list(INTERVALS_NS))
        oldest = max(0, (kept_ns.get(interval, 0) - FIRST_NS) // (DAY * MINUTE_NS))
        if end <= oldest * DAY:
            return []
        day, place = draw.randint(oldest, (end - 1) // DAY), draw.randrange(len(names))
        start = FIRST_NS + day * DAY * MINUTE_NS
        rows = store.read(names[place], interval, start, start + DAY * MINUTE_NS)
    return differing(rows, expected(day, place, len(names), interval), FIRST_NS + end * MINUTE_NS - INTERVALS_NS[interval],
                     f"{names[place][2]} {interval} day {day} of {end // DAY}")


def differing(rows: CandleColumns, wanted: np.ndarray[Any, Any], last_ns: int, what: str) -> list[str]:
    """Compare the candles that are over: those that began at `last_ns` or before."""
    over, asked = rows.timestamp <= last_ns, wanted[wanted[:, 0] <= last_ns]
    rows = rows.take(over)
    found = np.column_stack([rows.timestamp, rows.open, rows.high, rows.low, rows.close, rows.volume, rows.quote_volume,
                             rows.taker_buy_volume, rows.trades])
    if found.shape != asked.shape:
        return [f"{what}: {len(found)} candles, not {len(asked)}"]
    same = np.isclose(found, asked, rtol=1e-9, atol=0.0)
    same[:, :5] = found[:, :5] == asked[:, :5]
    return [] if same.all() else [f"{what}: {int((~same.all(axis=1)).sum())} candles differ"]


class Writer:
    """Stores the year, and keeps the lock times (s) and their CPU (s) of each task."""

    def __init__(self, folder: Path, count: int) -> None:
        self.store, self.names, self.count = SqliteCandleStore(folder), names_of(count), count
        self.locks: dict[str, list[tuple[float, float]]] = defaultdict(list)
        self.vacuums: list[str] = []
        self.flaws, self.task, self.now_s = 0, "", 0.0
        self._writing = self.store.file.writing
        self.store.file.writing = self._timed  # type: ignore[method-assign]

    @contextmanager
    def _timed(self, doing: str) -> Iterator[Any]:
        inside, began, cpu = self.store.file.connection.in_transaction, time.perf_counter(), time.thread_time()
        with self._writing(doing) as connection:
            yield connection
        if not inside:
            self.locks[self.task].append((time.perf_counter() - began, time.thread_time() - cpu))

    def write(self, day: int, first: int, end: int, task: str) -> None:
        """Store minutes of a day, with the longer candles that they make."""
        self.task = task
        until = day * DAY + end
        write_minutes(self.store, self.names, minutes_of(day, first, end, self.count), FIRST_NS + until * MINUTE_NS,
                      marks={WRITTEN: str(until)})

    def day(self, day: int) -> None:
        """Store a day and do its upkeep."""
        at = 0
        if day % LIVE_EVERY == 0:
            for at in range(1, 61):
                self.write(day, at - 1, at, "minute")
        while at < ROWS_OF_DAY:
            self.write(day, at, min(at + HALF_HOUR, ROWS_OF_DAY), "half an hour")
            at = min(at + HALF_HOUR, ROWS_OF_DAY)
        self.pack(day * DAY + at)
        self.upkeep(day, 14)
        self.write(day, ROWS_OF_DAY, DAY, "history")
        self.pack((day + 1) * DAY)
        self.task = "marks"  # readers must know of a retention before it begins
        self.store.write(MINUTE, (), CandleColumns.empty(), {KEPT: str(day + 1)})
        self.task = "retention"
        remove_expired(self.store, FIRST_NS + (day + 1) * DAY * MINUTE_NS)
        self.upkeep(day + 1, 2.5)
        if day % CHECK_DAYS == CHECK_DAYS - 1:
            self.task = "check"
            self.flaws += len(self.store.check())

    def pack(self, minute: int) -> None:
        """Make blocks of the stretches that are over."""
        self.task = "packing"
        for interval in INTERVALS_NS:
            self.store.pack(interval, FIRST_NS + minute * MINUTE_NS)

    def upkeep(self, day: int, hour: float) -> None:
        """Do what the hourly job does, at an hour of local time."""
        local = time.localtime(FIRST_NS / 1e9 + day * 86_400)
        self.now_s = time.mktime((local.tm_year, local.tm_mon, local.tm_mday, 0, 0, 0, 0, 0, -1)) + hour * 3600
        upkeep, self.task = CandleUpkeep(self.store, lambda: self.now_s), "upkeep"
        cpu = time.thread_time()
        done = upkeep.give_back()
        if done.done:
            self.locks[done.task].append((done.longest_step_s, time.thread_time() - cpu))
        if done.task == "vacuum" and done.done:
            self.vacuums.append(f"day {day}, {hour} h: {done.reason}")
        upkeep.analyze()
        upkeep.note_queries()
        if hour < 12 and day % CHECK_DAYS == 0:
            upkeep.reindex()


def year(folder: Path, count: int, days: int, readers: int, most_s: float) -> dict[str, Any]:
    """Go through so many days, or those that `most_s` are enough for; return the figures."""
    context = multiprocessing.get_context("spawn")
    stop, told = context.Event(), context.Queue()
    writer = Writer(folder, count)
    writer.write(0, 0, 1, "minute")
    running = [context.Process(target=read_for_ever, args=(folder, count, seed, stop, told)) for seed in range(readers)]
    for one in running:
        one.start()
    began, cpu = time.monotonic(), time.process_time()
    try:
        for day in range(days):
            if time.monotonic() - began > most_s:
                days = day
                break
            writer.day(day)
            if day % 10 == 9:
                print(f"day {day + 1} of {days}: {time.monotonic() - began:.0f} s, {size_of(folder) / 1e6:.0f} MB",
                      file=sys.stderr, flush=True)
    finally:
        stop.set()
    found = [told.get(timeout=600) for _ in running]
    for one in running:
        one.join()
    kept_ns, end_ns = FIRST_NS + max(0, days - KEPT_DAYS[MINUTE]) * DAY * MINUTE_NS, FIRST_NS + days * DAY * MINUTE_NS
    flaws = writer.flaws + len(writer.store.check()) + len(continuity_flaws(writer.store, kept_ns, end_ns))
    covered = {interval: sum(one.candles for one in writer.store.coverage(interval).values()) for interval in INTERVALS_NS}
    report = CandleUpkeep(writer.store).report()
    writer.store.close()
    return {"series": count, "days": days, "written": count * days * DAY, "seconds": time.monotonic() - began,
            "cpu_s": time.process_time() - cpu, "readers": found, "wrong": sum(one["wrong"] for one in found), "flaws": flaws,
            "candles": covered, "size_bytes": size_of(folder), "bytes_a_candle": size_of(folder) / sum(covered.values()),
            "fragmentation": report["fragmentation"]["share"], "vacuums": writer.vacuums,
            "indexes": report["indexes"], "slow_queries": len(report["slow_queries"]),
            "locks_ms": {task: times_of(locks) for task, locks in writer.locks.items()},
            "steps_over_50_ms": {task: sum(lock > 0.05 for lock, _ in writer.locks[task]) for task in STEPS},
            "steps_over_50_ms_of_cpu": {task: sum(used > 0.05 for _, used in writer.locks[task]) for task in STEPS[:2]}}


def times_of(locks: list[tuple[float, float]]) -> dict[str, float]:
    """Return the number of transactions, the median, p99 and longest time in ms, and the longest CPU of one."""
    wall: Int64 = np.array([lock for lock, _ in locks]) * 1000
    return {"count": len(locks), "p50": round(float(np.median(wall)), 2), "p99": round(float(np.percentile(wall, 99)), 2),
            "most": round(float(wall.max()), 2), "most_cpu": round(max(used for _, used in locks) * 1000, 2)}


def size_of(folder: Path) -> int:
    """Return the bytes of the store on the disk, its log apart."""
    return (folder / FILE_NAME).stat().st_size


def main() -> int:
    """Run it with the sizes of the command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak.candle_year", description=__doc__.partition("\n")[0])
    parser.add_argument("--series", type=int, default=200)
    parser.add_argument("--days", type=int, default=365)
    parser.add_argument("--readers", type=int, default=2)
    parser.add_argument("--most-minutes", type=float, default=24 * 60.0, help="then it ends with the days that it has")
    chosen = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="pumpwatch-soak-") as folder:
        figures = year(Path(folder), chosen.series, chosen.days, chosen.readers, chosen.most_minutes * 60)
    print(json.dumps(figures, indent=1))
    return int(bool(figures["wrong"] or figures["flaws"] or not all(one["answers"] for one in figures["readers"])))


if __name__ == "__main__":
    sys.exit(main())
