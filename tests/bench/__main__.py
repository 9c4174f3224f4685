"""`python -m tests.bench [SCENARIO ...]`: how the collector stands against cryptofeed, and against the figures it owes.

Scenarios: quiet-12, quiet-56 (connections on which next to nothing is traded, after so long that the watch for silent symbols
asks; `asked/s`), thin (1,000/s on 12 connections), steady-1000, steady-5000, steady-50000 (56 connections), postgres-5000
(the same with each sink), doubled (2,000/s, each symbol on two connections), saturation (the highest rate each sustains),
burst (150,000/s on 12 connections), recent (memory
of 20 minutes), query (±20 s of a coin from each store), archive (a listing's archive with its chart), telling (what
messages cost a window), parse (frame to columns, each venue), start (import and --help), triggers (notice to window, and the
past of its coin), windows (20 windows at once beside 50,000/s), page (20 watchers of the page at 5,000/s, and none), api
(stored trades by the HTTP API, and bad requests beside 20,000/s), backup (made, made again, verified, restored),
accounts (commands of the account ledger in a file, and by 8 writers in PostgreSQL),
candles (100,000 stored, and the last 1,000 of a series read), candle-building (candles from trades, beside pandas, and a pass
over a journal with its memory), candle-cost (what making candles costs at 50,000/s and 5,000/s), market (cached tickers, books
and trades, and candles, as they are asked for), sinks (PostgreSQL beside QuestDB: rows a second, CPU a row, a window), paper
(1,000,000 recorded trades replayed through a strategy), redis (shared order books, and messages between processes).
Short sizes by default, a few minutes in all; `--full` takes the sizes that the figures speak of.

What makes the comparison fair:
- Both run on the same machine one after the other, on the same Python, against the same venues: TLS on loopback, one
  frame a TLS record, frames that follow from one seed, the same symbols on the same connections. `--rounds` repeats
  the pair, each time in the other order; ratios are of medians.
- Up to 5,000/s each frame leaves the venue at its own moment: a reader that wakes up for each frame pays for it, as it does
  on the internet. `together` is the size of the clump in which the average trade left. On a busy machine frames clump,
  which flatters cryptofeed, and a run with `together` above 1.5 says little. `--tick-ms` makes the venue look less often.
- Both come before the venues and QuestDB as far as pumpwatch.service puts its collector before other services (`Nice=-5`).
- cryptofeed gets uvloop, one shared sink (one connection to QuestDB), and ILP over TCP, its own and cheapest way; what
  is changed in it is told in cryptofeed_runner.py. It reads combined streams (`/stream`), as it always does; ours reads
  bare ones (`/ws`), as it always does.
- It promises less: its sink does not know what QuestDB took, nothing is on disk before that, trades carry milliseconds
  as a float, and nothing is checked for gaps or doubles. Ours is measured with all of that in it.
- Frame to durable ends when the commit returns; its p99 is of the measured window, `p99 at start` of the time before it, in which
  pandas is loaded.
- CPU is user + system time of the whole collector process. What was stored is compared with what was sent, by id.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import sys
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from pumpwatch.errors import PumpWatchError
from tests.bench import peer, report
from tests.bench.database import Database
from tests.bench.loads import MAKERS, run
from tests.bench.processes import BenchError
from tests.bench.startup import start
from tests.bench.venues import Load


@dataclass(frozen=True, slots=True)
class LoadScenario:
    """A load, for how long it is measured, and after how long a warm-up; short and full."""

    title: str
    load: Load
    seconds: tuple[float, float]
    warm_s: tuple[float, float]
    collectors: Sequence[str] = tuple(name for name in MAKERS if name not in ("pumpwatch twice", "pumpwatch+postgres"))


LOADS = {
    "quiet-12": LoadScenario("1 trade/s on 12 connections", Load(1, 12, "paced", 1), (40, 60), (35, 60), ("pumpwatch",)),
    "quiet-56": LoadScenario("1 trade/s on 56 connections", Load(1, 56, "paced", 1), (40, 60), (35, 60), ("pumpwatch",)),
    "thin": LoadScenario("1,000 trades/s on 12 connections", Load(1_000, 12, "paced", 0.2), (15, 60), (5, 10), ("pumpwatch",)),
    "steady-1000": LoadScenario("1,000 trades/s on 56 connections", Load(1_000, 56, "paced", 0.2), (15, 60), (5, 10)),
    "steady-5000": LoadScenario("5,000 trades/s on 56 connections", Load(5_000, 56, "paced", 0.15), (15, 60), (5, 10)),
    "steady-50000": LoadScenario("50,000 trades/s on 56 connections", Load(50_000, 56, "burst", 4), (15, 60), (5, 10)),
    "doubled": LoadScenario("2,000 trades/s on 12 connections, and on twice as many", Load(2_000, 12, "live", 5), (15, 60),
                            (5, 10), ("pumpwatch", "pumpwatch twice")),
    "postgres-5000": LoadScenario("5,000 trades/s on 56 connections, to each sink", Load(5_000, 56, "paced", 0.2), (15, 60),
                                  (5, 10), ("pumpwatch+questdb", "pumpwatch+postgres")),
    "saturation": LoadScenario("the highest rate sustained on 56 connections", Load(250_000, 56, "burst", 4, True),
                               (10, 30), (3, 5)),
    "burst": LoadScenario("150,000 trades/s on 12 connections", Load(150_000, 12, "burst", 2), (8, 60), (0, 0),
                          ("pumpwatch+questdb",)),
}
SCENARIOS = (*LOADS, "recent", "query", "archive", "telling", "parse", "start", "triggers", "windows", "page",
             "api", "backup", "accounts", "candles", "candle-building", "candle-cost", "market", "sinks", "paper",
             "redis", "limits")


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the chosen scenarios; print their tables, and the table of figures. Exit code 1 when a `must` was missed."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if unknown := set(options.scenarios) - set(SCENARIOS):
        parser.error(f"no scenario {', '.join(sorted(unknown))}; known: {', '.join(SCENARIOS)}")
    results: dict[str, Any] = {"machine": report.machine()}
    with contextlib.redirect_stdout(sys.stderr if options.json == "-" else sys.stdout):
        code = _run(options, results)
    if options.json:
        text = json.dumps({**results, "verdict": report.judge(results)}, indent=2)
        if options.json == "-":
            print(text)
        else:
            Path(options.json).write_text(text + "\n", "utf-8")
    return code


def _run(options: argparse.Namespace, results: dict[str, Any]) -> int:
    with tempfile.TemporaryDirectory(prefix="pumpwatch-bench-", dir=options.folder) as folder:
        bench = Bench(options, Path(folder))
        try:
            for name in options.scenarios or SCENARIOS:
                print(f"bench: {name}", file=sys.stderr, flush=True)
                results[name] = bench.load(name) if name in LOADS else bench.others[name]()
        except (BenchError, PumpWatchError) as error:
            print(f"bench: {error}", file=sys.stderr)
            return 1
        finally:
            bench.end()
    report.print_verdict(results, "full sizes" if options.full else "short sizes; --full for those they speak of")
    return int(any(line["met"] == "missed" for line in report.judge(results)))


class Bench:
    """The scenarios and the database they share, which starts with the first that needs it."""

    def __init__(self, options: argparse.Namespace, folder: Path) -> None:
        self._options, self._folder = options, folder
        self._database: Database | None = None
        self._size = 1 if options.full else 0
        self.others: dict[str, Callable[[], dict[str, Any]]] = {
            "recent": self.recent, "query": self.query, "archive": self.archive, "telling": self.telling, "parse": self.parse,
            "start": lambda: start((5, 20)[self._size]), "triggers": self.triggers, "windows": self.windows, "page": self.page,
            "api": self.api, "backup": self.backup, "candles": self.candles, "accounts": self.accounts,
            "candle-building": self.candle_building, "candle-cost": self.candle_cost, "market": self.market,
            "sinks": self.sinks, "paper": self.paper, "redis": self.redis, "limits": self.limits}

    def load(self, name: str) -> dict[str, Any]:
        """Run a load on each collector, in turn and back again."""
        scenario, options = LOADS[name], self._options
        wanted = [one for one in scenario.collectors if not options.only or one in options.only]
        load = scenario.load
        if options.tick_ms:
            load = replace(load, tick_ms=options.tick_ms)
        runs: list[dict[str, Any]] = []
        for number in range(options.rounds):
            for collector in wanted if number % 2 == 0 else reversed(wanted):
                print(f"bench: {name}: {collector}", file=sys.stderr, flush=True)
                runs.append(run(collector, load, options.seconds or scenario.seconds[self._size],
                                scenario.warm_s[self._size], self._folder, self.database()).as_dict())
        report.print_load(scenario.title, runs)
        used = peer.versions() if any(one.startswith("cryptofeed") for one in wanted) else []
        return {"title": scenario.title, "runs": runs, "peer": used}

    def recent(self) -> dict[str, Any]:
        """Fill `recent` with 20 minutes."""
        from tests.bench.stores import recent

        return recent(20)

    def query(self) -> dict[str, Any]:
        """Ask each store for ±20 s at 30 million trades (short: 2 million)."""
        from tests.bench.stores import query

        return query(self._folder, self._options.trades or (2_000_000, 30_000_000)[self._size], self.database())

    def archive(self) -> dict[str, Any]:
        """Write the archive of a window of 200,000 trades on 12 venues."""
        from tests.bench.archives import archive

        return archive(self._folder, 200_000, (5, 20)[self._size])

    def telling(self) -> dict[str, Any]:
        """Tell four channels of listings, and compare with none."""
        from tests.bench.telling import telling

        return telling(self._folder, (3, 10)[self._size])

    def parse(self) -> dict[str, Any]:
        """Turn each venue's frames into columns; beside it cryptofeed, unless `--only` leaves it out."""
        from tests.bench.parsing import parse

        only = self._options.only
        figures = parse((20, 100)[self._size], not only or any(one.startswith("cryptofeed") for one in only))
        report.print_parse(figures["venues"])
        return figures

    def triggers(self) -> dict[str, Any]:
        """Time notices until their windows, and the past of a coin at 6 million trades in memory (short: 1 million)."""
        from tests.bench.triggers import triggers

        return triggers(self._folder, (50, 200)[self._size], self._options.trades or (1_000_000, 6_000_000)[self._size])

    def api(self) -> dict[str, Any]:
        """Read a million stored trades by the HTTP API, and throw bad requests at a collector (short: 200,000 trades)."""
        from tests.bench.api import api

        figures = api(self._folder / "api", self._options.trades or (200_000, 1_000_000)[self._size])
        print(json.dumps(figures, indent=1), file=sys.stderr)
        return figures

    def windows(self) -> dict[str, Any]:
        """Open 20 windows at once beside 50,000 trades/s, and with their coins on two connections beside 2,000/s."""
        from tests.bench.windows import windows

        warm_s, calm_s = (5, 10)[self._size], self._options.seconds or (15, 40)[self._size]
        busy = windows(self._folder / "windows", LOADS["steady-50000"].load, 20, warm_s, calm_s)
        doubled = windows(self._folder / "doubled", LOADS["doubled"].load, 20, warm_s, calm_s)
        return busy | {"doubled_run": doubled, "missing": busy["missing"] + doubled["missing"]}

    def page(self) -> dict[str, Any]:
        """Watch the page with 20 connections at 5,000 trades/s, in turns with none."""
        from tests.bench.watching import watching

        turns, seconds = ((3, 10.0), (6, 20.0))[self._size]
        return watching(self._folder / "page", LOADS["steady-5000"].load, 20, turns, self._options.seconds or seconds, 8)

    def backup(self) -> dict[str, Any]:
        """Back up 50 million trades (short: 2 million), verify and restore them."""
        from tests.bench.backups import backups

        return backups(self._folder / "backup", self._options.trades or (2_000_000, 50_000_000)[self._size])

    def accounts(self) -> dict[str, Any]:
        """Write commands of the account ledger, 120,000 on each database (short: 24,000)."""
        from tests.bench.accounts import accounts

        folder = self._folder / "accounts"
        folder.mkdir()
        figures = accounts(folder, (24_000, 120_000)[self._size])
        print(json.dumps(figures, indent=1), file=sys.stderr)
        return figures

    def candles(self) -> dict[str, Any]:
        """Store and read candles, beside a store of 8 million of them (short: 800,000)."""
        from tests.bench.candles import candles

        folder = self._folder / "candles"
        folder.mkdir()
        figures = candles(folder, (800_000, 8_000_000)[self._size])
        print(json.dumps(figures, indent=1), file=sys.stderr)
        return figures

    def candle_building(self) -> dict[str, Any]:
        """Make candles of 500,000 trades, and of a journal of 750,000."""
        from tests.bench.candle_building import candle_building

        folder = self._folder / "candle-building"
        folder.mkdir()
        figures = candle_building(folder, (3, 10)[self._size])
        print(json.dumps(figures, indent=1), file=sys.stderr)
        return figures

    def candle_cost(self) -> dict[str, Any]:
        """Record 50,000 trades/s and 5,000/s, in turns with and without the process that makes candles."""
        from tests.bench.candle_cost import candle_cost

        pairs, seconds = (2, 5)[self._size], self._options.seconds or 60.0
        figures = {str(int(load.rate)): candle_cost(self._folder / f"cost-{load.rate:.0f}", load, pairs, seconds)
                   for load in (LOADS["steady-50000"].load, LOADS["steady-5000"].load)}
        print(json.dumps(figures, indent=1), file=sys.stderr)
        return figures | {"share": figures["50000"]["share"], "share_5000": figures["5000"]["share"]}

    def market(self) -> dict[str, Any]:
        """Ask for a cached ticker, book and trade list, and for the last 1,000 candles."""
        from tests.bench.market import market

        figures = market(self._folder / "market", (300, 3000)[self._size])
        print(json.dumps(figures, indent=1), file=sys.stderr)
        return figures

    def sinks(self) -> dict[str, Any]:
        """Write 3 million trades to each sink, and ask PostgreSQL for a window of them (full: out of 30 million)."""
        from tests.bench.sinks import sinks

        figures = sinks(self._options.trades or 3_000_000, self.database(), (0, 30_000_000)[self._size])
        print(json.dumps(figures, indent=1), file=sys.stderr)
        return figures

    def paper(self) -> dict[str, Any]:
        """Replay 1,000,000 recorded trades through a strategy that looks at each."""
        from tests.bench.paper import paper

        figures = paper((1, 5)[self._size])
        print(json.dumps(figures, indent=1), file=sys.stderr)
        return figures

    def limits(self) -> dict[str, Any]:
        """Check 5,000 requests a second against rate limits that a Redis Cluster counts."""
        from tests.bench.rate_limits import rate_limits

        figures = rate_limits(self._options.seconds or (5.0, 20.0)[self._size])
        print(json.dumps(figures, indent=1), file=sys.stderr)
        return figures

    def redis(self) -> dict[str, Any]:
        """Read and write order books in a cluster of six nodes, and send messages through it."""
        from tests.bench.shared_answers import shared_answers

        figures = shared_answers((1_000, 10_000)[self._size], (400, 4_000)[self._size])
        print(json.dumps(figures, indent=1), file=sys.stderr)
        return figures

    def database(self) -> Database:
        """Return the running QuestDB."""
        if self._database is None:
            self._database = Database(self._folder / "questdb")
            self._database.start()
        return self._database

    def end(self) -> None:
        """End what still runs."""
        if self._database is not None:
            self._database.end()


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO", help=", ".join(SCENARIOS))
    parser.add_argument("--full", action="store_true", help="the sizes that the figures speak of")
    parser.add_argument("--seconds", type=float, default=0, help="length of the window of each load")
    parser.add_argument("--rounds", type=int, default=1, help="how often each load is run on each collector")
    parser.add_argument("--only", action="append", choices=list(MAKERS), help="only this collector; may be repeated")
    parser.add_argument("--trades", type=int, default=0,
                        help="size of the stores of the scenarios `query`, `triggers`, `backup` and `sinks`")
    parser.add_argument("--tick-ms", type=float, default=0, help="how often the venues send what has happened")
    parser.add_argument("--folder", type=Path, help="where the data goes while it runs (default: the temporary folder)")
    parser.add_argument("--json", metavar="FILE", help="write all figures there; - is stdout")
    return parser


if __name__ == "__main__":
    sys.exit(main())
