"""One venue floods its handshake, another its list, the board leads to a database: the others are read, and it can be stopped."""

from __future__ import annotations

import time
from pathlib import Path

import yaml

from pumpwatch.sim.process import SimProcess
from tests.app.collector import CollectorProcess
from tests.app.reckoning import counted_in_journal, settle
from tests.net.hostile_server import HEADS, answer, hostile, redirect, with_body

GOOD = ["binance.spot", "okx.futures"]
ATTACKED = ["bybit.spot", "gate.spot"]


def memory_mb(process: int) -> float:
    """Return the most memory a process has had so far."""
    line = next(line for line in Path(f"/proc/{process}/status").read_text("utf-8").splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def test_hostile_services_freeze_nothing_and_lead_nowhere(tmp_path) -> None:
    with hostile(answer(with_body(b"{}"))) as database, hostile(HEADS["a refusal without end"]) as handshake, \
            hostile(HEADS["headers without end"]) as rest, \
            hostile(redirect(f"http://{database.address}/exec?query=DROP%20TABLE%20trades")) as board, \
            SimProcess(venues=GOOD + ATTACKED, symbols=8, rate=800.0, paused=True,
                       folder=str(tmp_path / "venues")) as sim:
        config = yaml.safe_load(sim.config_yaml())
        exchanges, listing = config["exchanges"], config["listing"]
        exchanges["bybit"]["spot"]["ws_url"] = f"ws://{handshake.address}/ws"
        exchanges["gate"]["spot"]["rest_url"] = f"http://{rest.address}"
        listing["sources"]["upbit"] |= {"url": f"http://{board.address}/list", "interval_s": 0.5}
        with CollectorProcess(sim, tmp_path, exchanges=exchanges, listing=listing, net={
                **config.get("net", {}), "connect_timeout_s": 1.0}) as collector:
            good = {tuple(name.split(".")) for name in GOOD}

            def up(figures):
                return sum(row["connections_up"] for row in figures["venues"]
                           if (row["exchange"], row["market_type"]) in good) == len(good)

            collector.wait_until(lambda figures: up(figures) and len(handshake.requests) > 2 and len(rest.requests) > 2
                                 and board.requests)
            sim.resume()
            for server, name in ((handshake, "a drip of headers"), (rest, "interim answers without end")):
                server.scenario = HEADS[name]
            asked = len(handshake.requests), len(rest.requests)
            collector.wait_until(lambda _: len(handshake.requests) > asked[0] and len(rest.requests) > asked[1])
            status = collector.data / "status.json"
            written = status.stat().st_mtime_ns
            deadline = time.monotonic() + 60
            while status.stat().st_mtime_ns == written and time.monotonic() < deadline:
                time.sleep(0.05)
            assert status.stat().st_mtime_ns > written
            assert collector.child is not None and memory_mb(collector.child.pid) < 600
            settle(sim, collector)
            assert collector.stop() == 0
        counted = counted_in_journal(sim.truth(), collector.data)
        log = (tmp_path / "collector.log").read_text("utf-8")
    assert database.requests == []
    assert "is not followed: it is neither https nor the same host and port" in log
    assert "the handshake was rejected with HTTP 403" in log and "no answer: got more than 100 headers" in log
    assert counted.equal and counted.sent > 100, counted
