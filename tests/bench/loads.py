"""A collector under load: started, warmed up, measured over a window, stopped when it has caught up, and checked."""

from __future__ import annotations

import math
import shutil
import time
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path

from tests.bench.checks import Verdict, check, together
from tests.bench.collectors import Collector, Cryptofeed, Ours, Sample
from tests.bench.database import Database
from tests.bench.postgres_collector import OnPostgres
from tests.bench.processes import BenchError, Usage, await_that
from tests.bench.venues import Load, Venues

CONNECT_S = 180.0
CAUGHT_UP_S = 300.0
FIRST_RATE, STEP, FINE_STEP, LEAST_RATE = 20_000.0, 1.5, 1.12, 1_000.0  # how a collector's limit is searched
CHECKS = 2  # how often its end is doubted
WARM_RATE, WARM_S = 5_000.0, 6.0
SETTLE_S, PROBE_S, PROBES_THAT_DECIDE = 2.0, 6.0, 2
KEEPS_UP = 0.97  # of what is offered is received in its time, or it does not sustain it,
GROWS = 0.1  # and so it is where what waits behind grows by this share of it
MAKERS: dict[str, tuple[Callable[[Path, Database | None], Collector], bool]] = {
    "pumpwatch": (Ours, False), "pumpwatch+questdb": (Ours, True),
    "pumpwatch+postgres": (OnPostgres, False),  # a server of its own
    "pumpwatch twice": (partial(Ours, copies=2), False),  # each symbol on two connections
    "cryptofeed": (Cryptofeed, False), "cryptofeed+questdb": (Cryptofeed, True),
}


@dataclass(frozen=True, slots=True)
class Run:
    """The figures of one collector under one load.

    cpu_us_per_trade and core_share are of the steady window; cpu_us_to_end is all CPU from the first trade until
    everything was stored, over all trades: what a load that leaves a backlog really costs. durable_ms_p50 and _p99 are of
    the steady window; start_ms_p99 is of the time before it, with everything that is loaded and made once.
    """

    collector: str
    offered_per_s: float
    received_per_s: float
    shortfall: float  # share of what was offered that was not received in its time
    cpu_us_per_trade: float
    cpu_us_to_end: float
    core_share: float
    rss_mb: float
    peak_rss_mb: float
    durable_ms_p50: float | None
    durable_ms_p99: float | None
    start_ms_p99: float | None
    backlog: int
    drained_s: float
    sent: int
    stored: int
    missing: int
    doubled: int
    strangers: int
    read_ms_p50: float | None
    read_ms_p99: float | None
    together: float
    venue_core_share: float
    database_core_share: float | None
    asked_per_s: float = 0.0  # histories that the watch for silent symbols requested

    def as_dict(self) -> dict[str, object]:
        """Return it as plain data."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class _Window:
    first: Sample
    last: Sample
    venue: tuple[Usage, Usage]
    database: tuple[Usage, Usage] | None
    sent: int
    rss_bytes: int

    @property
    def wall_ns(self) -> tuple[int, int]:
        """From and to, by the wall clock."""
        ahead = time.time() - time.monotonic()
        return int((self.first.usage.at + ahead) * 1e9), int((self.last.usage.at + ahead) * 1e9)

    @property
    def seconds(self) -> float:
        return self.last.usage.at - self.first.usage.at


def run(name: str, load: Load, seconds: float, warm_s: float, folder: Path, database: Database) -> Run:
    """Run one collector under one load. Raises BenchError when it ends, stalls or never catches up."""
    make, with_database = MAKERS[name]
    home = folder / f"{name}-{time.monotonic_ns()}"
    collector = make(home / "collector", database if with_database else None)
    venues = Venues(home / "venues", load)
    try:
        addresses = venues.addresses()
        collector.start(addresses)
        connections = collector.copies * addresses.connections
        await_that(f"{name} to open {connections} connections", lambda: collector.sample().connections == connections, CONNECT_S)
        if load.search:
            load = replace(load, rate=_limit(collector, venues, load.rate))
        settled = collector.sample()
        venues.resume(load.rate)
        time.sleep(warm_s)
        window = _measure(collector, venues, database if with_database else None, seconds)
        paused = time.monotonic()
        venues.pause()
        caught_up = _catch_up(collector, venues)
        drained_s = time.monotonic() - paused
        collector.end()
        verdict = check(collector, venues)
        return _figures(name, load, window, settled, caught_up, drained_s, verdict, together(venues.truth(), *window.wall_ns))
    finally:
        _end(collector, venues)
        shutil.rmtree(home, ignore_errors=True)


def _limit(collector: Collector, venues: Venues, most: float) -> float:
    """Return the highest rate that the collector sustains, up to `most`. All trades are stored on return."""
    venues.resume(WARM_RATE)  # what is loaded and made with the first trades says nothing about the rate
    time.sleep(WARM_S)
    held = highest(lambda rate: _sustains(collector, venues, rate), most)
    venues.pause()
    _catch_up(collector, venues)
    return held


def highest(sustains: Callable[[float], bool], most: float) -> float:
    """Return a rate that is sustained while one FINE_STEP above it is not, or `most`.

    A machine that did something else for a while must not decide: both rates are tried once more at the end, and where the
    answers differ from the first ones the search goes on from there. Raises BenchError where not even LEAST_RATE is sustained.
    """
    held, failed, rate = 0.0, math.inf, min(FIRST_RATE, most)
    checks_left = CHECKS
    while True:
        if sustains(rate):
            held = max(held, rate)
        else:
            failed = min(failed, rate)
        if not held and failed <= LEAST_RATE:
            raise BenchError(f"not even {LEAST_RATE:,.0f} trades/s are sustained")
        if held >= most or failed <= held * FINE_STEP:
            checks_left -= 1
            if held < most and checks_left >= 0 and sustains(failed):
                held, failed = failed, math.inf
            elif checks_left >= 0 and not sustains(held):
                held, failed = 0.0, held
            else:
                return held
        if not held:
            rate = max(failed / 2, LEAST_RATE)
        elif failed == math.inf:
            rate = min(held * STEP, most)
        else:
            rate = max(math.sqrt(held * failed), held * FINE_STEP ** 0.5)


def _sustains(collector: Collector, venues: Venues, rate: float) -> bool:
    """Return whether two probes succeed before two fail: one probe says little on a machine that does other work too."""
    passed = failed = 0
    while max(passed, failed) < PROBES_THAT_DECIDE:
        venues.resume(rate)
        time.sleep(SETTLE_S)
        if _keeps_up(collector, rate):
            passed += 1
        else:
            failed += 1
            venues.pause()
            _catch_up(collector, venues)
    return passed > failed


def _keeps_up(collector: Collector, rate: float) -> bool:
    """Watch for a while. What waits goes up and down with each flush, so the lowest of each half is compared."""
    samples = [collector.sample()]
    while samples[-1].usage.at - samples[0].usage.at < PROBE_S:
        samples.append(collector.sample())
    seconds = samples[-1].usage.at - samples[0].usage.at
    half = len(samples) // 2
    growth = min(one.waiting for one in samples[half:]) - min(one.waiting for one in samples[:half])
    received = samples[-1].received - samples[0].received
    return received >= KEEPS_UP * rate * seconds and growth <= GROWS * rate * seconds / 2


def _measure(collector: Collector, venues: Venues, database: Database | None, seconds: float) -> _Window:
    sent = venues.sent()
    first = last = collector.sample()
    venue, stored = venues.usage(), database.usage() if database else None
    rss = first.usage.rss_bytes
    while last.usage.at - first.usage.at < seconds:
        last = collector.sample()
        rss = max(rss, last.usage.rss_bytes)
    return _Window(first, last, (venue, venues.usage()),
                   (stored, database.usage()) if database and stored else None, venues.sent() - sent, rss)


def _catch_up(collector: Collector, venues: Venues) -> Sample:
    """Wait until all that was sent has been read and passed on, and, where there is a database, can be seen in it."""
    def caught_up() -> Sample | None:
        sample = collector.sample()
        if venues.queued_bytes() or sample.received < (sent := venues.sent() // collector.copies) or sample.waiting:
            return None
        return sample if collector.stored() >= sent else None
    try:
        return await_that("everything sent to be stored", caught_up, CAUGHT_UP_S, 0.05) or collector.sample()
    except BenchError:
        return collector.sample()  # the check says what is missing


def _figures(name: str, load: Load, window: _Window, settled: Sample, caught_up: Sample, drained_s: float,
             verdict: Verdict, sent_together: float) -> Run:
    received = window.last.received - window.first.received
    cpu_s = window.last.usage.cpu_s - window.first.usage.cpu_s
    all_cpu_s = caught_up.usage.cpu_s - settled.usage.cpu_s
    before, after = window.first.durable_ms or {}, window.last.durable_ms or {}
    durable = {ms: count - before.get(ms, 0) for ms, count in after.items()}
    read_p50, read_p99 = verdict.read_ms or (None, None)
    return Run(
        collector=name, offered_per_s=load.rate, received_per_s=received / window.seconds,
        shortfall=max(0.0, 1 - received / window.seconds / load.rate),
        cpu_us_per_trade=cpu_s / max(received, 1) * 1e6,
        cpu_us_to_end=all_cpu_s / max(caught_up.received - settled.received, 1) * 1e6,
        core_share=cpu_s / window.seconds, rss_mb=window.rss_bytes / 1e6,
        peak_rss_mb=caught_up.usage.peak_rss_bytes / 1e6, durable_ms_p50=percentile(durable, 0.5),
        durable_ms_p99=percentile(durable, 0.99), start_ms_p99=percentile(before, 0.99),
        backlog=window.last.waiting, drained_s=drained_s, sent=verdict.sent, stored=verdict.stored,
        missing=verdict.missing, doubled=verdict.doubled, strangers=verdict.strangers, read_ms_p50=read_p50,
        read_ms_p99=read_p99, together=sent_together, venue_core_share=_share(window.venue),
        database_core_share=_share(window.database) if window.database else None,
        asked_per_s=(window.last.asked - window.first.asked) / window.seconds)


def percentile(counts: Mapping[int, int], share: float) -> float | None:
    """Return the lowest of the numbers that is not exceeded by `share` of those counted; None where there are none."""
    wanted, seen = share * sum(counts.values()), 0
    for number in sorted(counts):
        seen += counts[number]
        if counts[number] and seen >= wanted:
            return float(number)
    return None


def _share(pair: tuple[Usage, Usage]) -> float:
    before, after = pair
    return (after.cpu_s - before.cpu_s) / (after.at - before.at)


def _end(collector: Collector, venues: Venues) -> None:
    try:
        collector.end()
    finally:
        venues.end()
