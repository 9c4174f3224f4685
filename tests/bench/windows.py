"""Measure what open windows cost the recording: one collector under load, first without a window, then with many at once.

The notices are dropped into the collector's inbox. `calm` is the time before, `open` from the moment at which every window is
open, `writing` from the end of the windows until every archive is written. All are of one run, so that a busy machine is busy
in all of them. `_ms_p99` is of the whole time; `_ms_second`, of which `growth` is the ratio, is the median of the p99 of each
second, because one moment in which other programs had the cores would decide the former. The trades are checked one by one
against those that were sent.

At 50,000/s the venue sends a symbol to its newest connection only (`burst`), so a second one would take its trades from the
first: there windows are not doubled. Venues that send to both are `live`, at a few thousand trades/s.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

from pumpwatch.config import Config, StoreConfig
from pumpwatch.listing.inbox import drop
from tests.bench.checks import check
from tests.bench.collectors import Ours, Sample
from tests.bench.loads import CONNECT_S, percentile
from tests.bench.processes import await_that
from tests.bench.venues import Load, Venues

OPEN_S, WRITTEN_S, STORED_S = 30.0, 180.0, 300.0
STEP = 20  # every so many symbols one gets a window: busy ones and quiet ones


def windows(folder: Path, load: Load, count: int, warm_s: float, calm_s: float) -> dict[str, Any]:
    """Return the p99 from frame to durable in ms of each time, and by which share it is above the calm one."""
    collector, venues = Ours(folder / "collector", None, doubled_windows=load.mode != "burst"), Venues(folder / "venues", load)
    try:
        addresses = venues.addresses()
        collector.start(addresses)
        await_that("every connection", lambda: collector.sample().connections == addresses.connections, CONNECT_S)
        symbols = sorted({symbol for market in addresses.markets for one in market.connections for symbol in one})
        venues.resume(load.rate)
        time.sleep(warm_s)
        calm = _samples(collector, lambda since_s: since_s < calm_s)
        config = Config(store=StoreConfig(dir=str(collector.data)))
        for symbol in symbols[:count * STEP:STEP]:
            drop(config, symbol.removesuffix("USDT"))
        await_that("every window to be open", lambda: collector.windows()["open"] == count, OPEN_S)
        opened = _samples(collector, lambda since_s: since_s < WRITTEN_S and collector.windows()["open"] == count)
        writing = _samples(collector, lambda since_s: since_s < WRITTEN_S and collector.windows()["open"] > 0)
        venues.pause()
        await_that("everything sent to be stored", lambda: _is_quiet(collector, venues), STORED_S)
        collector.end()
        verdict = check(collector, venues)
    finally:
        collector.end()
        venues.end()
    times = {"calm": calm, "open": opened, "writing": writing}
    pooled = {f"{name}_ms_p99": durable_p99(samples[0], samples[-1]) for name, samples in times.items()}
    typical = {f"{name}_ms_second": typical_p99(samples) for name, samples in times.items()}
    return {"windows": count, "rate": load.rate, "received_per_s": _rate(opened[0], opened[-1]), "missing": verdict.missing,
            "doubled": verdict.doubled, "sent": verdict.sent, **pooled, **typical,
            "growth": typical["open_ms_second"] / (typical["calm_ms_second"] or 1.0) - 1,
            "growth_writing": typical["writing_ms_second"] / (typical["calm_ms_second"] or 1.0) - 1}


def durable_p99(first: Sample, last: Sample) -> float | None:
    """Return the p99 in ms from frame to durable of the trades between two samples."""
    before: Mapping[int, int] = first.durable_ms or {}
    return percentile({ms: trades - before.get(ms, 0) for ms, trades in (last.durable_ms or {}).items()}, 0.99)


def _is_quiet(collector: Ours, venues: Venues) -> bool:
    """Return whether nothing is under way: trades that came on two connections count once, so sums say nothing."""
    samples = [collector.sample() for _ in range(3)]
    return not venues.queued_bytes() and not samples[-1].waiting and samples[0].received == samples[-1].received


def typical_p99(samples: Sequence[Sample]) -> float:
    """Return the median of the p99 of each second; 0.0 without a trade."""
    found = [p99 for first, last in pairwise(samples) if (p99 := durable_p99(first, last)) is not None]
    return median(found) if found else 0.0


def _rate(first: Sample, last: Sample) -> float:
    return (last.received - first.received) / (last.usage.at - first.usage.at)


def _samples(collector: Ours, goes_on: Callable[[float], bool]) -> list[Sample]:
    """Return a sample of each second, two at least, while `goes_on` says so of the seconds since the first."""
    samples = [collector.sample(), collector.sample()]
    while goes_on(samples[-1].usage.at - samples[0].usage.at):
        samples.append(collector.sample())
    return samples
