"""The market data of a config are read beside its collector, and nothing is written but the cache."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from pumpwatch.clock import Clock
from pumpwatch.market import open_market
from pumpwatch.market.opened import opened_store, recorded_until_ns
from pumpwatch.market.sqlite_store import SqliteCandleStore
from pumpwatch.ops.completeness import SETTLE_S
from tests.commands.stored import START_NS, stored


def test_a_notebook_reads_candles_and_trades_of_a_data_folder(tmp_path: Path) -> None:
    config = stored(tmp_path)
    with open_market(config) as market:
        found = market.get_candles("C1", "1h", START_NS, START_NS + 3600 * 10**9, exchange="binance", market="spot")
        assert len(found.rows) == 1 and found.rows.trades[0] > 50 and found.problems == []
        assert list(found.to_pandas()["symbol"]) == ["C1USDT"]


def test_another_data_folder_may_be_given(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir()
    stored(data)
    with open_market(data=data) as market:
        assert market.ids("C1")
    before = sorted(path.name for path in tmp_path.iterdir())
    with open_market(data=tmp_path / "none") as market:
        assert market.figures()["tickers memory"]["entries"] == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == before, "a folder that is not there is not made"


@pytest.mark.parametrize(("pid", "until_ns"), [(None, 2**62), (0, 1000 * 10**9), (2**22 + 5, (1000 - int(SETTLE_S)) * 10**9)])
def test_nothing_is_known_after_the_end_of_a_collector(tmp_path: Path, pid: int | None, until_ns: int) -> None:
    if pid is not None:
        (tmp_path / "status.json").write_text(json.dumps({"pid": pid, "written_at_ns": 1000 * 10**9}))
    assert recorded_until_ns(tmp_path, Clock()) == until_ns


def test_a_locked_store_is_told_in_one_clean_line(tmp_path: Path) -> None:
    store = SqliteCandleStore(tmp_path)
    store.file.connection.execute("PRAGMA locking_mode=EXCLUSIVE")
    store.file.connection.execute("BEGIN EXCLUSIVE")
    found, problem = opened_store(tmp_path)
    assert found is None and problem.endswith("database is locked")
    store.close()
