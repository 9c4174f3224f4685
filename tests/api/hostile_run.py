"""A collector that records while thousands of bad requests come in: what it cost, and whether anybody was let in."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from pumpwatch.sim.process import SimProcess
from tests.api.desk import TOKEN
from tests.app.collector import CollectorProcess
from tests.app.reckoning import counted_in_journal, settle

VENUES = ["binance.spot", "okx.futures", "bybit.spot"]


@dataclass(frozen=True, slots=True)
class Hostile:
    """The run. answers: by kind of request, status -> count. grown_bytes: of memory, after the first 500 requests."""

    requests: int
    trades: int
    lost: int
    answers: dict[str, dict[str, int]]
    grown_bytes: int
    resident_bytes: int
    drills: int
    log: str

    @property
    def let_in(self) -> dict[str, dict[str, int]]:
        """Return the kinds of request that were answered with 200 or 202."""
        return {kind: found for kind, found in self.answers.items() if "200" in found or "202" in found}

    def as_dict(self) -> dict[str, Any]:
        """Return it as a mapping."""
        return {**asdict(self), "let_in": self.let_in}


def hostile_run(folder: Path, rate: float, requests: int) -> Hostile:
    """Record so many simulated trades a second, and throw so many bad requests at the collector meanwhile."""
    folder.mkdir(parents=True, exist_ok=True)
    os.environ["PUMPWATCH_API__LISTEN"] = "127.0.0.1:0"
    with SimProcess(venues=VENUES, symbols=8, rate=rate, paused=True, folder=str(folder / "venues")) as sim, \
            CollectorProcess(sim, folder, api={
                "token": TOKEN, "requests_per_minute": 1_000_000, "connections": 64}) as collector:
        collector.wait_until_up()
        collector.wait_for_log("page http://127.0.0.1:")
        port = int(re.findall(r"page http://127\.0\.0\.1:(\d+)/", collector.log())[0])
        sim.resume()
        assert collector.child is not None
        throw(port, 500)
        before = resident_bytes(collector.child.pid)
        found = throw(port, requests)
        resident = resident_bytes(collector.child.pid)
        settle(sim, collector)
        inbox = collector.data / "inbox"
        drills = len(list(inbox.iterdir())) if inbox.exists() else 0
        assert collector.stop() == 0
        counted = counted_in_journal(sim.truth(), collector.data)
    lost = counted.missing + counted.doubled + counted.unknown + counted.different
    return Hostile(found["sent"], counted.sent, lost, found["answers"],
                   resident - before, resident, drills, collector.log())


def throw(port: int, count: int) -> dict[str, Any]:
    """Send bad requests from a process of their own."""
    done = subprocess.run([sys.executable, "-m", "tests.api.hostile_requests", str(port), str(count)], capture_output=True,
                          text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def resident_bytes(pid: int) -> int:
    """Return the memory that a process has now."""
    text = Path(f"/proc/{pid}/status").read_text("utf-8")
    return int(re.findall(r"VmRSS:\s+(\d+)", text)[0]) * 1024
