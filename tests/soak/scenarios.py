"""The long runs. Each returns what came of it; see `python -m tests.soak`."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pumpwatch.sim.process import SimProcess
from tests.app.collector import CollectorProcess
from tests.soak.reckoning import Result, reckon

# faults that cost trades or order, and leave the venue's history whole
FAULTS: tuple[Mapping[str, Any], ...] = (
    {"kind": "cut", "connections": 1}, {"kind": "cut"}, {"kind": "close", "connections": 1}, {"kind": "silence", "seconds": 4},
    {"kind": "drop", "count": 3}, {"kind": "double", "count": 5}, {"kind": "reorder", "count": 4}, {"kind": "spoil", "count": 1},
    {"kind": "malformed", "count": 3}, {"kind": "maintenance", "seconds": 3}, {"kind": "freeze", "seconds": 3},
    {"kind": "refuse", "seconds": 4}, {"kind": "rest", "seconds": 3}, {"kind": "rest", "form": "page", "seconds": 3},
)
FILLED_WITHIN_S = 600.0
SETTLED_S = 15.0  # a gap is worked on some seconds after its end


@dataclass(frozen=True, slots=True)
class Sizes:
    """How large a run is. rate: trades a second, all venues together. times: kills or takeovers."""

    rate: float
    symbols: int
    times: int
    minutes: float
    seed: int


@contextmanager
def venues(folder: Path, sizes: Sizes, **options: Any) -> Iterator[SimProcess]:
    """Run all simulated venues, without their limits on connecting; trading waits."""
    rules = {"all": {"connects_per_5_minutes": 100_000, "connects_per_minute": 0, "connects_per_second": 0}}
    with SimProcess(symbols=sizes.symbols, rate=sizes.rate, seed=sizes.seed, paused=True, folder=str(folder / "venues"),
                    lag_s=2.0, **{"rules": rules, **options}) as sim:
        yield sim


def finish(sim: SimProcess, collector: CollectorProcess) -> None:
    """Let everything be filled that can be, then end trading and the collector."""
    collector.wait_until_up()
    time.sleep(SETTLED_S)
    collector.wait_until(lambda figures: not figures["backfill"]["left"], FILLED_WITHIN_S)
    sim.pause()
    time.sleep(2.0)
    code = collector.stop()
    if code:
        raise AssertionError(f"exit code {code}\n{collector.log()}")


def fault(sim: SimProcess, rng: random.Random) -> str:
    """Inject a random fault on a random venue; return its kind."""
    chosen = rng.choice(FAULTS)
    sim.fault(venue=rng.choice(sorted(sim.status()["venues"])), **chosen)
    return str(chosen["kind"])


def kills(folder: Path, sizes: Sizes) -> Result:
    """Kill the collector at random moments, with faults on."""
    rng = random.Random(sizes.seed)
    with venues(folder, sizes) as sim, CollectorProcess(sim, folder) as collector:
        collector.wait_until_up()
        sim.resume()
        for _ in range(sizes.times):
            if rng.random() < 0.5:
                fault(sim, rng)
            time.sleep(rng.uniform(0.0, 4.0))
            collector.kill(signal.SIGKILL)
            collector.start()
            if rng.random() < 0.8:
                collector.wait_until_up()
        finish(sim, collector)
        truth = sim.truth()
    return reckon(truth, folder / "data", kills=sizes.times)


def faults(folder: Path, sizes: Sizes) -> Result:
    """Inject faults one after another; connections end at an age of half a minute."""
    rng, counts = random.Random(sizes.seed), dict[str, int]()
    rules = {"all": {"connects_per_5_minutes": 100_000, "connects_per_minute": 0, "connects_per_second": 0,
                     "connection_age_s": 30.0}}
    with venues(folder, sizes, rules=rules) as sim, CollectorProcess(sim, folder) as collector:
        collector.wait_until_up()
        sim.resume()
        end = time.monotonic() + 60 * sizes.minutes
        while time.monotonic() < end:
            kind = fault(sim, rng)
            counts[kind] = counts.get(kind, 0) + 1
            time.sleep(rng.uniform(0.5, 6.0))
        finish(sim, collector)
        truth = sim.truth()
    return reckon(truth, folder / "data", faults=counts)


def takeovers(folder: Path, sizes: Sizes) -> Result:
    """Let one collector after another take over."""
    with venues(folder, sizes) as sim, CollectorProcess(sim, folder) as first:
        collector = first
        collector.wait_until_up()
        sim.resume()
        for _ in range(sizes.times):
            follower = collector.beside()
            follower.start("--replace")
            assert collector.child is not None
            assert collector.child.wait(120) == 0, follower.log()
            collector = follower
            collector.wait_until_up()
        sim.pause()
        time.sleep(2.0)
        assert collector.stop() == 0, collector.log()
        truth = sim.truth()
    return reckon(truth, folder / "data", takeovers=sizes.times)


SCENARIOS: dict[str, Callable[[Path, Sizes], Result]] = {"kills": kills, "faults": faults, "takeovers": takeovers}
