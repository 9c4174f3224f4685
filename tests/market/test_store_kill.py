"""After kill -9 at any moment the store is sound: every finished write is there, and of the last one all or nothing."""

from __future__ import annotations

import random
import signal
import time
from pathlib import Path

import pytest

from pumpwatch.market.aggregate import continuity_flaws
from pumpwatch.market.candle_columns import CandleColumns
from pumpwatch.market.intervals import INTERVALS_NS
from pumpwatch.market.sqlite_store import SqliteCandleStore
from tests.forked import ForkedModule
from tests.market.store_contract import ALL, START, same
from tests.market.store_writer import SERIES, rows_of


def written_until_killed(folder: Path, task: str, after_s: float) -> int:
    """Let a writer run so long after its first write, and kill it; return the number of its last finished write."""
    writer = ForkedModule("tests.market.store_writer", str(folder), task)
    first = writer.stdout.readline()
    time.sleep(after_s)
    writer.send_signal(signal.SIGKILL)
    lines = (first + writer.communicate()).split("\n")[:-1]  # what is after the last newline was cut
    return int(lines[-1])


@pytest.mark.parametrize("task", ["nothing", "pack", "retention", "vacuum", "longer"])
def test_every_finished_write_is_there_after_a_kill(tmp_path: Path, task: str) -> None:
    draw = random.Random(task)
    for _ in range(3):
        finished = written_until_killed(tmp_path, task, draw.uniform(0.0, 0.6))
        store = SqliteCandleStore(tmp_path)
        assert store.file.set_aside is None
        assert store.check() == []
        written = int(store.marks()["written"])
        assert written in (finished, finished + 1)
        expected = CandleColumns.concat([rows_of(number) for number in range(written + 1)])
        for place, series in enumerate(SERIES):
            wanted = expected.take(expected.series == place)
            wanted.series[:] = 0
            assert same(store.read(series, "1m", *ALL), wanted)
        if task == "longer":
            day = START // INTERVALS_NS["1d"] * INTERVALS_NS["1d"]
            assert continuity_flaws(store, day, day + 100 * INTERVALS_NS["1d"]) == []
        store.close()
