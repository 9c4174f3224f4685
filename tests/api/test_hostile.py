"""Thousands of bad requests to a collector that records: nothing is lost, nobody is let in, memory stays flat.

RATE and REQUESTS are sizes that a test machine of two cores can do beside other tests, in some seconds.
`python -m tests.bench api` throws 10,000 at 20,000 trades a second.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from pumpwatch.sim.process import SimProcess
from tests.api.desk import TOKEN
from tests.app.collector import CollectorProcess
from tests.app.reckoning import counted_in_journal, settle

RATE, REQUESTS = 2000.0, 3_000
VENUES = ["binance.spot", "okx.futures", "bybit.spot"]
GROWTH_BYTES = 48 << 20  # the trades of these seconds, and what the allocator keeps


def resident_bytes(pid: int) -> int:
    """Return the memory that a process has now."""
    text = Path(f"/proc/{pid}/status").read_text("utf-8")
    return int(re.findall(r"VmRSS:\s+(\d+)", text)[0]) * 1024


def throw(port: int, count: int) -> dict[str, Any]:
    """Send bad requests from a process of their own."""
    done = subprocess.run([sys.executable, "-m", "tests.api.hostile_requests", str(port), str(count)], capture_output=True,
                          text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def test_bad_requests_cost_no_trade_and_let_nobody_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PUMPWATCH_API__LISTEN", "127.0.0.1:0")
    with SimProcess(venues=VENUES, symbols=8, rate=RATE, paused=True, folder=str(tmp_path / "venues")) as sim, \
            CollectorProcess(sim, tmp_path, api={
                "token": TOKEN, "requests_per_minute": 1_000_000, "connections": 64}) as collector:
        collector.wait_until_up()
        collector.wait_for_log("page http://127.0.0.1:")
        port = int(re.findall(r"page http://127\.0\.0\.1:(\d+)/", collector.log())[0])
        sim.resume()
        assert collector.child is not None
        throw(port, 500)
        before = resident_bytes(collector.child.pid)
        found = throw(port, REQUESTS)
        grown = resident_bytes(collector.child.pid) - before
        figures = collector.figures()
        settle(sim, collector)
        assert collector.stop() == 0
        counted = counted_in_journal(sim.truth(), collector.data)
    assert counted.equal and counted.sent > 1000, counted
    assert found["sent"] > REQUESTS * 0.9
    let_in = {kind: answers for kind, answers in found["answers"].items() if "200" in answers or "202" in answers}
    assert let_in == {}
    assert "500" not in json.dumps(found["answers"]), found["answers"]
    assert found["answers"]["wrong token"].keys() == {"401"} and found["answers"]["an unknown coin"].keys() == {"404"}
    assert "503" in found["answers"]["held open"], "connections beyond the limit"
    assert not (collector.data / "inbox").exists() or not list((collector.data / "inbox").iterdir())
    assert figures["listing"]["windows"] == {"open": 0, "not_final": 0}
    assert grown < GROWTH_BYTES, f"{grown / 1e6:.0f} MB more"
    assert "Traceback" not in collector.log()
