"""Thousands of bad requests to a collector that records: nothing is lost, nobody is let in, memory stays flat.

RATE and REQUESTS are sizes that a test machine of two cores can do beside other tests, in some seconds.
`python -m tests.bench api` throws 10,000 at 20,000 trades a second.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.api.hostile_run import hostile_run

RATE, REQUESTS = 2000.0, 2_000
GROWTH_BYTES = 48 << 20  # the trades of these seconds in memory, and what the allocator keeps


def test_bad_requests_cost_no_trade_and_let_nobody_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PUMPWATCH_API__LISTEN", "127.0.0.1:0")
    run = hostile_run(tmp_path, RATE, REQUESTS)
    assert run.lost == 0 and run.trades > 1000
    assert run.requests > REQUESTS * 0.9
    assert run.let_in == {} and run.drills == 0
    assert "500" not in json.dumps(run.answers), run.answers
    assert run.answers["wrong token"].keys() == {"401"} and run.answers["an unknown coin"].keys() == {"404"}
    assert "503" in run.answers["held open"], "connections beyond the limit"
    assert run.grown_bytes < GROWTH_BYTES, f"{run.grown_bytes / 1e6:.0f} MB more"
    assert "Traceback" not in run.log
