"""The long runs. Each returns what came of it; see `python -m tests.soak`."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pumpwatch_plugins.sinks.questdb import QuestDBOptions, QuestDBSink

from pumpwatch.clock import NS_PER_S
from pumpwatch.sim.process import SimProcess
from tests.app.collector import CollectorProcess
from tests.questdb_server import QuestDBServer
from tests.small_disk import ballast_of, fill, small_disk
from tests.soak.reckoning import Result, reckon
from tests.soak.resources import Resources

# faults that cost trades or order, and leave the venue's history whole
FAULTS: tuple[Mapping[str, Any], ...] = (
    {"kind": "cut", "connections": 1}, {"kind": "cut"}, {"kind": "close", "connections": 1}, {"kind": "silence", "seconds": 4},
    {"kind": "drop", "count": 3}, {"kind": "double", "count": 5}, {"kind": "reorder", "count": 4}, {"kind": "spoil", "count": 1},
    {"kind": "malformed", "count": 3}, {"kind": "maintenance", "seconds": 3}, {"kind": "freeze", "seconds": 3},
    {"kind": "refuse", "seconds": 4}, {"kind": "rest", "seconds": 3}, {"kind": "rest", "form": "page", "seconds": 3},
)
FILLED_WITHIN_S = 600.0  # in `sinks`; later than that the run ends unfilled
REST_S = 60.0  # after the last of the `faults`
AFTER_S = 90.0  # after the last trade; the minutes of the first 60 s are judged
OUTAGE_S = (1.0, 15.0)
FRESH_NS = 3 * NS_PER_S  # the figures are written each second, where their disk has room
DISK_MB = 500
SMALL_PAGES = {f"QDB_CAIRO_{key}_DATA_APPEND_PAGE_SIZE": "262144"  # or an empty table of QuestDB would fill such a disk
               for key in ("WRITER", "WAL_WRITER", "SYSTEM_WRITER")}
SETTLED_S = 15.0  # a gap is worked on some seconds after its end


@dataclass(frozen=True, slots=True)
class Sizes:
    """The size of a run. rate: trades a second, all venues together. times: kills or takeovers.

    filled_within_s: after the last kill every gap must be done.
    """

    rate: float
    symbols: int
    times: int
    minutes: float
    seed: int
    filled_within_s: float = 60.0


@contextmanager
def venues(folder: Path, sizes: Sizes, **options: Any) -> Iterator[SimProcess]:
    """Run all simulated venues, without their limits on connecting; trading waits."""
    rules = {"all": {"connects_per_5_minutes": 100_000, "connects_per_minute": 0, "connects_per_second": 0}}
    with SimProcess(symbols=sizes.symbols, rate=sizes.rate, seed=sizes.seed, paused=True, folder=str(folder / "venues"),
                    lag_s=2.0, **{"rules": rules, **options}) as sim:
        yield sim


def finish(sim: SimProcess, collector: CollectorProcess, within_s: float = FILLED_WITHIN_S) -> float:
    """Let everything be filled that can be, which may take `within_s`, then end trading and the collector.

    Return the seconds from the time when the collector was up until the last gap was done.
    """
    collector.wait_until_up()
    began = filled = time.monotonic()

    def done(figures: Mapping[str, Any]) -> bool:
        nonlocal filled
        now = time.monotonic()
        if figures["backfill"]["left"]:
            filled = now
            return False
        return now - max(began, filled) >= SETTLED_S

    collector.wait_until(done, max(within_s, FILLED_WITHIN_S))
    sim.pause()
    time.sleep(2.0)
    collector.wait_until(lambda figures: not any(sink["backlog_trades"] for sink in figures["sinks"]), FILLED_WITHIN_S)
    code = collector.stop()
    if code:
        raise AssertionError(f"exit code {code}\n{collector.log()}")
    return filled - began


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
        filled_s = finish(sim, collector, sizes.filled_within_s)
        truth = sim.truth()
    return reckon(truth, folder / "data", filled_s, sizes.filled_within_s, kills=sizes.times)


def faults(folder: Path, sizes: Sizes) -> Result:
    """Inject faults one after another; connections end at an age of half a minute."""
    rng, counts = random.Random(sizes.seed), dict[str, int]()
    rules = {"all": {"connects_per_5_minutes": 100_000, "connects_per_minute": 0, "connects_per_second": 0,
                     "connection_age_s": 30.0}}
    with venues(folder, sizes, rules=rules) as sim, CollectorProcess(sim, folder) as collector:
        collector.wait_until_up()
        sim.resume()
        assert collector.child is not None
        with Resources(collector.child.pid) as resources:
            end = time.monotonic() + 60 * sizes.minutes
            while time.monotonic() < end:
                kind = fault(sim, rng)
                counts[kind] = counts.get(kind, 0) + 1
                time.sleep(rng.uniform(0.5, 6.0))
            time.sleep(REST_S)
        sim.pause()
        time.sleep(AFTER_S)  # connections go on ending at their age: the gaps that are open at the end are later than any trade
        assert collector.stop() == 0, collector.log()
        truth = sim.truth()
    return reckon(truth, folder / "data", faults=counts, **resources.notes())


def sinks(folder: Path, sizes: Sizes) -> Result:
    """Kill, hang and suspend QuestDB and fill both disks, in turn, while cut connections leave gaps that are filled."""
    rng, counts = random.Random(sizes.seed), dict[str, int]()
    server = QuestDBServer(folder / "questdb", SMALL_PAGES)
    with small_disk(server.folder, DISK_MB) as no_disk, small_disk(folder / "data", DISK_MB):
        server.start()
        try:
            options = {"questdb": {"addr": server.addr, "request_timeout_ms": 2000}}
            with venues(folder, sizes) as sim, CollectorProcess(sim, folder, sinks=options) as collector:
                collector.wait_until_up()
                sim.resume()
                collector.wait_until(lambda figures: figures["sinks"][0]["state"] == "up")
                end = time.monotonic() + 60 * sizes.minutes
                kinds = [kind for kind in OUTAGES if kind not in FULL_DISKS or not no_disk]
                while time.monotonic() < end or len(counts) < len(kinds):
                    kind = kinds[sum(counts.values()) % len(kinds)]
                    counts[kind] = counts.get(kind, 0) + 1
                    begin, mend = OUTAGES[kind]
                    begin(server, collector)
                    sim.fault(venue=rng.choice(sorted(sim.status()["venues"])), kind="cut", connections=1)
                    time.sleep(rng.uniform(*OUTAGE_S))
                    mend(server, collector)
                    collector.wait_until(in_order)
                    time.sleep(rng.uniform(0.0, 4.0))
                filled_s = finish(sim, collector)
                truth = sim.truth()
            server.await_count(len(truth.trades()))
            verified = subprocess.run([sys.executable, "-m", "pumpwatch", "verify", "--sinks", "-c", collector.config_file],
                                      capture_output=True, text=True, check=False)
            assert verified.returncode == 0, verified.stdout + verified.stderr
            notes = {"left_out": f"full disks, a small file system cannot be mounted: {no_disk}"} if no_disk else {}
            return reckon(truth, folder / "data", filled_s, FILLED_WITHIN_S, QuestDBSink(QuestDBOptions(addr=server.addr)),
                          outages=counts, **notes)
        finally:
            server.end()


def in_order(figures: Mapping[str, Any]) -> bool:
    """Return whether the journal takes trades and the sink is up."""
    fresh_ns = time.time_ns() - FRESH_NS
    return bool(figures["sinks"][0]["state"] == "up" and figures["written_at_ns"] > fresh_ns
                and figures["journal"]["last_commit_ns"] > fresh_ns)


def resume(server: QuestDBServer) -> None:
    """Do what an operator does once there is room again: resume what QuestDB suspended."""
    for (name,) in server.sql("SELECT name FROM wal_tables() WHERE suspended"):
        server.sql(f"ALTER TABLE {name} RESUME WAL")


def give_room(server: QuestDBServer, _: CollectorProcess) -> None:
    """Give QuestDB room again, and resume its tables."""
    ballast_of(server.folder).unlink()
    resume(server)


Outage = Callable[[QuestDBServer, CollectorProcess], object]
OUTAGES: dict[str, tuple[Outage, Outage]] = {
    "killed": (lambda server, _: server.kill(), lambda server, _: server.start()),
    "hung": (lambda server, _: server.hang(), lambda server, _: server.unhang()),
    "suspended": (lambda server, _: server.sql("ALTER TABLE trades SUSPEND WAL"), lambda server, _: resume(server)),
    "disk full": (lambda server, _: fill(server.folder), give_room),
    "journal's disk full": (lambda _, collector: fill(collector.data), lambda _, collector: ballast_of(collector.data).unlink()),
}
FULL_DISKS = ("disk full", "journal's disk full")


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


SCENARIOS: dict[str, Callable[[Path, Sizes], Result]] = {"kills": kills, "faults": faults, "sinks": sinks,
                                                          "takeovers": takeovers}
