"""Measure what candles cost a collector under load: turns in which the process that makes them is stopped, and turns with it.

All turns are of one run, so that a busy machine is busy in both. A stopped process (SIGSTOP) does the work of its turn in the
next one, so its own CPU is counted by the minutes that it has made, from one finished pass to another. Every CPU time is of a
whole process, and all shares are of the collector's CPU while the other is stopped.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from pathlib import Path
from statistics import mean, median
from typing import Any

from tests.bench.collectors import Ours
from tests.bench.loads import CONNECT_S
from tests.bench.processes import await_that, usage
from tests.bench.venues import Load, Venues

PASS_S = 300.0  # a pass comes within it: the process starts a minute after the collector
CALM_S, CALM_CPU_S = 4.0, 0.3  # a process that used less CPU in so long has finished its pass


def candle_cost(folder: Path, load: Load, pairs: int, seconds: float) -> dict[str, Any]:
    """Return µs of CPU a trade of the collector without and with candles, and of the process that makes them, and the shares."""
    collector, venues = Ours(folder / "collector", None, market={"history": False}), Venues(folder / "venues", load)
    without: list[tuple[float, float]] = []
    beside: list[tuple[float, float]] = []
    pid = 0
    try:
        addresses = venues.addresses()
        collector.start(addresses)
        await_that("every connection", lambda: collector.sample().connections == addresses.connections, CONNECT_S)
        venues.resume(load.rate)
        pid = await_that("the process of the candles", lambda: int(collector.market().get("pid", 0)), PASS_S)
        began = _after_pass(collector, pid)
        for _ in range(pairs):
            os.kill(pid, signal.SIGSTOP)
            without.append(_turn(collector, seconds))
            os.kill(pid, signal.SIGCONT)
            beside.append(_turn(collector, seconds))
        ended = _after_pass(collector, pid)
        starts = collector.market()["starts"]
        collector.end()
    finally:
        if pid:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGCONT)
        collector.end()
        venues.end()
    rate = mean(rate for _, rate in (*without, *beside))
    alone_us = mean(cpu for cpu, _ in without)
    candles_us = (ended[0] - began[0]) / (ended[1] - began[1]) / (rate * 60) * 1e6
    slower = median(after - before for (before, _), (after, _) in zip(without, beside, strict=True))
    return {"rate": load.rate, "received_per_s": rate, "pairs": pairs, "starts": starts, "minutes": ended[1] - began[1],
            "alone_us": alone_us, "with_candles_us": mean(cpu for cpu, _ in beside), "candles_us": candles_us,
            "collector_share": slower / alone_us, "process_share": candles_us / alone_us,
            "share": (max(0.0, slower) + candles_us) / alone_us}


def _turn(collector: Ours, seconds: float) -> tuple[float, float]:
    """Return the collector's CPU in µs a trade over the next seconds, and the trades it received a second."""
    first = last = collector.sample()
    while last.usage.at - first.usage.at < seconds:
        last = collector.sample()
    received = last.received - first.received
    return (last.usage.cpu_s - first.usage.cpu_s) / max(received, 1) * 1e6, received / (last.usage.at - first.usage.at)


def _after_pass(collector: Ours, pid: int) -> tuple[float, int]:
    """Wait for the end of a pass; return the CPU seconds of the process until then, and the minutes that it has made."""
    before = collector.market().get("minutes", 0)
    await_that("a pass", lambda: collector.market().get("minutes", 0) > before, PASS_S)

    def calm() -> bool:
        used = usage(pid).cpu_s
        time.sleep(CALM_S)
        return usage(pid).cpu_s - used < CALM_CPU_S

    await_that("the end of the pass", calm, PASS_S)
    return usage(pid).cpu_s, int(collector.market()["minutes"])
