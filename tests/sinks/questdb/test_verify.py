"""`verify --sinks` with a time, against a real server: what it has lost is found to the minute."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import yaml
from pumpwatch_plugins.sinks.questdb import QuestDBSink

from pumpwatch.model import TradeBatch
from pumpwatch.store.minutes import MINUTE_NS
from tests.conftest import Cli
from tests.ops.minute_folder import START_NS, SYMBOLS, MinuteFolder, catalogue, trades
from tests.questdb_server import QuestDBServer


def test_rows_that_are_gone_from_the_table_are_found_also_when_the_journal_has_expired(
        sink: QuestDBSink, questdb_server: QuestDBServer, prefix: str, tmp_path: Path, forked_cli: Cli) -> None:
    whole = TradeBatch.concat([trades(symbol, range(600)) for symbol in SYMBOLS])
    data = MinuteFolder(tmp_path / "data")
    data.watch(*SYMBOLS)
    data.store(whole, sink="questdb")
    data.count()
    config = tmp_path / "c.yaml"
    config.write_text(yaml.safe_dump({"store": {"dir": str(data.folder)}, "sinks": {"questdb": {
        "addr": questdb_server.addr, "table_prefix": prefix, "ttl_days": 0, "candles": False}}}), "utf-8")

    def verify() -> tuple[int, dict[str, object], list[tuple[str, int, str]]]:
        done = forked_cli("verify", "-c", config, "--from", str(START_NS), "--to", str(START_NS + 9 * MINUTE_NS), "--sinks",
                          "--json")
        rows = [json.loads(line) for line in done.stdout.splitlines()]
        return done.returncode, next(row for row in rows if row["kind"] == "sink"), [
            (row["symbol"], (row["from_ns"] - START_NS) // MINUTE_NS, row["detail"]) for row in rows
            if row["kind"] == "contradiction"]

    sink.write(whole, catalogue())
    code, row, found = verify()
    assert (code, row["minutes"], row["differ"], row["problem"], found) == (0, 18, 0, "", [])
    questdb_server.sql(f"TRUNCATE TABLE {prefix}trades")
    sink.write(whole.take(~np.isin(np.arange(1200), [70, 71, 660])), catalogue())
    lacking = [("AUSDT", 1, "2 of 60 trades are missing in questdb"), ("BUSDT", 1, "1 of 60 trades are missing in questdb")]
    assert verify()[::2] == (1, lacking)
    for path in (data.folder / "journal").glob("*.sqlite"):
        path.unlink()
    (data.folder / "segments.json").unlink()
    data.clock.advance(7200)
    data.store(trades("AUSDT", range(9000, 9001)), sink="questdb")
    assert verify()[::2] == (1, lacking)
