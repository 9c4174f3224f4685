"""`python -m tests.soak.cluster_handover [SCENARIO ...]`: whole collectors of a cluster, and what a change of members costs.

Two or three real collectors share simulated venues with a REST history, a real Redis, and a real PostgreSQL as the store. Each
scenario ends with a comparison of the store and every trade that the venues made. It prints one JSON object a scenario. The exit
code is 1 where a trade is stored twice, or missing without a gap that names it as lost; where a minute is called complete without
all of its trades; or where a gap is on record that should not be. One of the histories reaches 100 trades back: on a busy machine
a take-over may last longer than that. Run it on an otherwise idle one.
"""

from __future__ import annotations

import argparse
import json
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from pumpwatch.clock import NS_PER_S
from pumpwatch.model import GapState
from pumpwatch.sim.process import SimProcess
from tests.app.cluster_crew import Crew
from tests.app.coverage import covered, missing
from tests.postgres_server import PostgresServer
from tests.redis_server import RedisNodes, six_nodes
from tests.soak.reckoning import reckon

VENUES = ["binance.spot", "kucoin.spot", "bybit.futures", "phemex.futures"]  # every kind of ids; one that cannot unsubscribe
TAKEN_WITHIN_S = 10.0
LAST_NS = 5 * NS_PER_S  # before the end of trading
RULES = {"all": {"connects_per_5_minutes": 100_000, "connects_per_minute": 0, "connects_per_second": 0}}


@dataclass
class Stage:
    """A scenario's means, and what it found. expect_gaps: whether the members may have a gap on record at the end."""

    crew: Crew
    sim: SimProcess
    redis: RedisNodes
    figures: dict[str, Any] = field(default_factory=dict)
    expect_gaps: bool = False

    def read_for(self, seconds: float) -> None:
        time.sleep(seconds)


def kill(stage: Stage) -> list[str]:
    """Kill one of two: the other reads everything within ten seconds, and fills the gap from the history."""
    stage.expect_gaps = True
    stage.crew.members["a"].kill()
    stage.figures["taken_s"] = round(stage.crew.wait_shared(["b"]), 1)
    stage.read_for(5)
    return ["b"]


def graceful(stage: Stage) -> list[str]:
    """Stop one of two: the other takes over while it reads, and nothing is a gap."""
    began = time.monotonic()
    assert stage.crew.members["a"].stop() == 0, stage.crew.members["a"].log()
    stage.figures["stopped_s"] = round(time.monotonic() - began, 1)
    stage.crew.wait_shared(["b"])
    stage.read_for(5)
    return ["b"]


def join(stage: Stage) -> list[str]:
    """A third one joins, and takes a third of the shards without a gap; then the first one leaves."""
    began = time.monotonic()
    stage.crew.start("c")
    stage.crew.wait_shared(["a", "b", "c"])
    stage.figures["shared_s"] = round(time.monotonic() - began, 1)
    stage.read_for(5)
    assert stage.crew.members["a"].stop() == 0, stage.crew.members["a"].log()
    stage.crew.wait_shared(["b", "c"])
    stage.read_for(3)
    return ["b", "c"]


def away(stage: Stage) -> list[str]:
    """Redis is away for 30 s and comes back empty: everybody reads on, and nothing is missed."""
    before = {name: stage.crew.held(name) for name in ("a", "b")}
    stage.redis.stop_all()
    stage.read_for(30)
    stage.redis.start_all()
    stage.redis.flush()
    stage.crew.wait_shared(["a", "b"])
    stage.figures["held"] = [before, {name: stage.crew.held(name) for name in ("a", "b")}]
    stage.read_for(5)
    return ["a", "b"]


def suspend(stage: Stage) -> list[str]:
    """Suspend one of two for 15 s: the other takes over, and it comes back without harm."""
    stage.expect_gaps = True
    child = stage.crew.members["a"].child
    assert child is not None
    child.send_signal(signal.SIGSTOP)
    stage.figures["taken_s"] = round(stage.crew.wait_shared(["b"]), 1)
    stage.read_for(max(0.0, 15 - stage.figures["taken_s"]))
    child.send_signal(signal.SIGCONT)
    stage.figures["shared_again_s"] = round(stage.crew.wait_shared(["a", "b"]), 1)
    stage.read_for(5)
    return ["a", "b"]


def replace(stage: Stage) -> list[str]:
    """Replace the process of one member by a new one on its folder: nothing is a gap."""
    old = stage.crew.members["a"]
    stage.crew.members["a"] = new = old.beside()
    new.start("--replace")
    assert old.child is not None and old.child.wait(90) == 0, new.log()
    stage.crew.wait_shared(["a", "b"])
    stage.read_for(5)
    return ["a", "b"]


SCENARIOS: dict[str, Callable[[Stage], list[str]]] = {
    "kill": kill, "graceful": graceful, "join": join, "away": away, "suspend": suspend, "replace": replace}


def run(name: str, folder: Path, redis: RedisNodes, postgres: PostgresServer, rate: float) -> dict[str, Any]:
    """Run one scenario; return its figures, `good` among them."""
    redis.mend()
    redis.flush()
    dsn = postgres.dsn(postgres.create_database())
    with SimProcess(venues=VENUES, symbols=20, rate=rate, paused=True, tick_ms=20, lag_s=1.0, rules=RULES,
                    folder=str(folder / "venues")) as sim, Crew(folder, sim, redis.addresses, dsn) as crew:
        stage = Stage(crew, sim, redis)
        crew.start("a", "b")
        stage.figures["first_shared_s"] = round(crew.wait_shared(["a", "b"]), 1)
        sim.resume()
        stage.read_for(5)
        left = SCENARIOS[name](stage)
        crew.settle(left)
        codes = {member: crew.members[member].stop() for member in left}
        truth = sim.truth()
        counted = crew.compare(truth)
        found = {member: [gap for gap in crew.gaps(member) if gap.from_ns < crew.paused_ns - LAST_NS] for member in crew.members}
        gaps = {member: Counter(f"{gap.state}: {gap.reason.partition(':')[0]}" for gap in found[member]) for member in found}
        lost = [gap for member in found for gap in found[member] if gap.state != GapState.FILLED]
        unnamed = sum(not covered(one, lost) for one in missing(truth, counted))
        claims = {member: reckon(truth, crew.members[member].data).false_complete for member in left}
    good = (not (unnamed or counted.doubled or counted.unknown or counted.different) and not any(codes.values())
            and not any(claims.values()) and stage.figures.get("taken_s", 0) <= TAKEN_WITHIN_S
            and (stage.expect_gaps or not (counted.missing or any(gaps.values()))))
    return {"scenario": name, "good": good, **stage.figures, **counted.figures(), "unnamed": unnamed, "exit_codes": codes,
            "gaps": gaps, "false_complete": claims}


def main() -> int:
    """Run the chosen scenarios."""
    parser = argparse.ArgumentParser(prog="python -m tests.soak.cluster_handover", description=__doc__.partition("\n")[0])
    parser.add_argument("scenarios", nargs="*", choices=[*SCENARIOS, []], metavar="SCENARIO", help=", ".join(SCENARIOS))
    parser.add_argument("--rate", type=float, default=400.0, help="trades a second, all venues together")
    parser.add_argument("--folder", type=Path, help="keep everything here; else a temporary folder")
    chosen = parser.parse_args()
    good = True
    postgres = PostgresServer()
    postgres.start()
    try:
        with six_nodes() as redis, tempfile.TemporaryDirectory(prefix="pumpwatch-soak-") as temporary:
            for name in chosen.scenarios or SCENARIOS:
                folder = (chosen.folder or Path(temporary)) / name
                folder.mkdir(parents=True, exist_ok=True)
                figures = run(name, folder, redis, postgres, chosen.rate)
                print(json.dumps(figures), flush=True)
                good &= figures["good"]
    finally:
        postgres.remove()
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
