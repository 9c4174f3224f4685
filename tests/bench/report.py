"""The figures that were asked for beside those that were measured."""

from __future__ import annotations

import platform
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any

from rich.console import Console
from rich.table import Table

Results = Mapping[str, Any]  # scenario -> its figures
OURS, PEER = "pumpwatch+questdb", "cryptofeed+questdb"
LOAD_COLUMNS = (
    ("collector", "collector", "{}"), ("offered/s", "offered_per_s", "{:,.0f}"),
    ("received/s", "received_per_s", "{:,.0f}"),
    ("µs/trade", "cpu_us_per_trade", "{:.2f}"), ("core", "core_share", "{:.0%}"), ("rss MB", "rss_mb", "{:.0f}"),
    ("durable p50 ms", "durable_ms_p50", "{:.0f}"), ("p99 ms", "durable_ms_p99", "{:.0f}"),
    ("p99 at start", "start_ms_p99", "{:.0f}"), ("sent", "sent", "{:,}"),
    ("stored", "stored", "{:,}"), ("missing", "missing", "{:,}"), ("doubled", "doubled", "{:,}"),
    ("drained s", "drained_s", "{:.1f}"), ("together", "together", "{:.1f}"),
    ("asked/s", "asked_per_s", "{:.2f}"),
    ("venue core", "venue_core_share", "{:.0%}"),
    ("questdb core", "database_core_share", "{:.0%}"),
)
PARSE_COLUMNS = (
    ("venue", "venue", "{}"), ("bytes", "bytes", "{:.0f}"), ("one a frame", "single_us", "{:.2f}"),
    ("of few", "few_us", "{:.2f}"),
    ("cryptofeed", "cryptofeed_single_us", "{:.2f}"), ("share", "cryptofeed_single_ratio", "{:.2f}"),
    ("orjson", "orjson_single_us", "{:.2f}"), ("share", "orjson_single_ratio", "{:.2f}"),
    ("ten a frame", "together_us", "{:.2f}"), ("cryptofeed", "cryptofeed_together_us", "{:.2f}"),
    ("share", "cryptofeed_together_ratio", "{:.2f}"), ("orjson", "orjson_together_us", "{:.2f}"),
    ("share", "orjson_together_ratio", "{:.2f}"),
)


@dataclass(frozen=True, slots=True)
class Wanted:
    """One line of the table of figures: at most `must`, better `aim`; both in the unit of `shown`."""

    what: str
    must: float
    aim: float | None
    shown: str  # format of one value
    measured: Callable[[Results], float | None]


def against_peer(scenario: str, our_name: str = OURS, peer_name: str = PEER) -> Callable[[Results], float | None]:
    """Return our CPU per trade as a share of cryptofeed's, both through to QuestDB: the median over the rounds."""
    def measured(results: Results) -> float | None:
        runs = results.get(scenario, {}).get("runs", ())
        ours, peers = (([run["cpu_us_per_trade"] for run in runs if run["collector"] == name]) for name in (our_name, peer_name))
        return median(ours) / median(peers) if ours and peers else None
    return measured


def of_ours(scenario: str, figure: str, collectors: Sequence[str] = (OURS,)) -> Callable[[Results], float | None]:
    """Return the worst value of a figure over our runs of a scenario."""
    def measured(results: Results) -> float | None:
        values = [run[figure] for run in results.get(scenario, {}).get("runs", ())
                  if run["collector"] in collectors and run.get(figure) is not None]
        return max(values) if values else None
    return measured


def single(scenario: str, figure: str) -> Callable[[Results], float | None]:
    """Return one figure of a scenario that has no runs."""
    def measured(results: Results) -> float | None:
        value = results.get(scenario, {}).get(figure)
        return None if value is None else float(value)
    return measured


WANTED = (
    Wanted("CPU per trade against cryptofeed, both to QuestDB: 5,000/s, 56 connections", 0.25, 0.20, "{:.3f}",
           against_peer("steady-5000")),
    Wanted("the same at 50,000/s", 0.25, 1 / 6, "{:.3f}", against_peer("steady-50000")),
    Wanted("the same at saturation, each at the highest rate it sustains", 0.25, 1 / 6, "{:.3f}",
           against_peer("saturation")),
    Wanted("the same at 1,000/s", 0.25, 0.20, "{:.3f}", against_peer("steady-1000")),
    Wanted("CPU per trade with each symbol on two connections, against one: 2,000/s", 1.6, None, "{:.2f}",
           against_peer("doubled", "pumpwatch twice", "pumpwatch")),
    Wanted("share of a core with 56 quiet connections", 0.054, 0.02, "{:.1%}", of_ours("quiet-56", "core_share", ("pumpwatch",))),
    Wanted("resident memory with 56 quiet connections", 165, 120, "{:.0f} MB", of_ours("quiet-56", "rss_mb", ("pumpwatch",))),
    Wanted("share of a core at 1,000/s on 12 connections", 0.086, 0.04, "{:.1%}",
           of_ours("thin", "core_share", ("pumpwatch",))),
    Wanted("frame to durable at 50,000/s, p99", 100, None, "{:.0f} ms",
           of_ours("steady-50000", "durable_ms_p99", (OURS, "pumpwatch"))),
    Wanted("frame to durable at saturation, p99", 500, None, "{:.0f} ms",
           of_ours("saturation", "durable_ms_p99", (OURS, "pumpwatch"))),
    Wanted("resident memory at saturation", 250, None, "{:.0f} MB", of_ours("saturation", "rss_mb", (OURS, "pumpwatch"))),
    Wanted("frame to durable at 5,000/s, p99", 150, 100, "{:.0f} ms",
           of_ours("steady-5000", "durable_ms_p99", (OURS, "pumpwatch"))),
    Wanted("burst of 150,000/s on 12 connections: trades lost", 0, 0, "{:.0f}", of_ours("burst", "missing")),
    Wanted("burst: share of the offered rate not reached", 0.03, 0.01, "{:.1%}", of_ours("burst", "shortfall")),
    Wanted("burst: share of a core", 0.70, 0.50, "{:.0%}", of_ours("burst", "core_share")),
    Wanted("burst: backlog drained after", 60, 10, "{:.1f} s", of_ours("burst", "drained_s")),
    Wanted("recent: 20 minutes at 5,000/s", 200, 100, "{:.0f} MB", single("recent", "rss_mb")),
    Wanted("±20 s of a coin, warm: from recent", 10, 5, "{:.1f} ms", single("query", "recent_ms")),
    Wanted("±20 s of a coin, warm: from the journal", 100, 30, "{:.1f} ms", single("query", "journal_ms")),
    Wanted("±20 s of a coin, warm: from QuestDB", 50, 10, "{:.1f} ms", single("query", "questdb_ms")),
    Wanted("archive of 200,000 trades on 12 venues complete after the window's end", 1.5, None, "{:.2f} s",
           single("archive", "complete_s")),
    Wanted("the hub is not blocked meanwhile for longer than", 20, None, "{:.1f} ms", single("archive", "hub_ms")),
    Wanted("a window opens later for the channels that are told, by", 10, None, "{:.1f} ms", single("telling", "delay_ms")),
    Wanted("a board's answer to the open window of its listing, median", 20, None, "{:.1f} ms", single("triggers", "poll_ms")),
    Wanted("a pushed notice to the open window of its listing, median", 5, None, "{:.1f} ms", single("triggers", "push_ms")),
    Wanted("the window's past from memory", 50, None, "{:.1f} ms", single("triggers", "past_window_ms")),
    Wanted("the 20 minutes before from memory", 50, None, "{:.1f} ms", single("triggers", "past_ms")),
    Wanted("20 windows at once beside 50,000/s: trades lost", 0, None, "{:.0f}", single("windows", "missing")),
    Wanted("frame to durable, p99: growth while they are open", 0.2, None, "{:.0%}", single("windows", "growth")),
    Wanted("20 watchers of the page at 5,000/s: share of a core", 0.05, None, "{:.2%}", single("page", "cost_share")),
    Wanted("frame to numpy columns, a trade a frame: the slowest venue", 1.3, None, "{:.2f} µs",
           single("parse", "worst_single_us")),
    Wanted("the same, ten trades a frame", 0.7, None, "{:.2f} µs", single("parse", "worst_together_us")),
    Wanted("a rate limit in Redis checked, at 5,000/s, p99", 0.5, None, "{:.2f} ms", single("limits", "check_ms_p99")),
    Wanted("100,000 candles of a history stored", 0.5, None, "{:.2f} s", single("candles", "write_history_s")),
    Wanted("100,000 candles of live minutes stored", 0.5, None, "{:.2f} s", single("candles", "write_live_s")),
    Wanted("a shared order book of 2 x 50 levels, p99", 1, None, "{:.2f} ms", single("redis", "book_read_ms_p99")),
    Wanted("a message from one process to another, p99", 50, None, "{:.1f} ms", single("redis", "delivery_ms_p99")),
    Wanted("last 1,000 candles of a series, warm, p99", 2, None, "{:.2f} ms", single("candles", "small_warm_ms_p99")),
    Wanted("the same from a file that is not in memory", 20, None, "{:.1f} ms", single("candles", "small_cold_ms")),
    Wanted("the same, warm, p99, from a large store, as a multiple", 2, None, "{:.2f}", single("candles", "growth")),
    Wanted("a candle on disk", 40, None, "{:.1f} bytes", single("candles", "bytes_a_candle")),
    Wanted("a command of the account ledger, SQLite: CPU", 100, None, "{:.0f} µs", single("accounts", "sqlite_cpu_us")),
    Wanted("the same, PostgreSQL, 8 writers: time", 500, None, "{:.0f} µs", single("accounts", "postgres_us")),
    Wanted("candles from trades: CPU a trade", 0.3, None, "{:.3f} µs", single("candle-building", "builder_us")),
    Wanted("a pass over 750,000 trades of 5,712 instruments: growth of memory", 60, None, "{:.0f} MB",
           single("candle-building", "pass_mb")),
    Wanted("making candles at 50,000/s: CPU of it all, as a share of the collector's", 0.05, None, "{:.1%}",
           single("candle-cost", "share")),
    Wanted("the same at 5,000/s", 0.05, None, "{:.1%}", single("candle-cost", "share_5000")),
    Wanted("a cached ticker, p99", 0.1, None, "{:.3f} ms", single("market", "ticker_ms_p99")),
    Wanted("a cached order book, p99", 0.1, None, "{:.3f} ms", single("market", "book_ms_p99")),
    Wanted("a cached list of 100 trades, p99", 0.1, None, "{:.3f} ms", single("market", "trades_ms_p99")),
    Wanted("last 1,000 candles of a coin on a venue, warm, p99", 2, None, "{:.2f} ms", single("market", "candles_ms_p99")),
    Wanted("the same with the store opened for it, from a file that is not in memory", 20, None, "{:.1f} ms",
           single("market", "candles_cold_ms")),
    Wanted("1,000,000 recorded trades replayed through a strategy: CPU", 5, None, "{:.2f} s", single("paper", "cpu_s")),
    Wanted("the collector's CPU per trade with PostgreSQL against that with QuestDB: 5,000/s", 1.5, None, "{:.2f}",
           against_peer("postgres-5000", "pumpwatch+postgres", "pumpwatch+questdb")),
    Wanted("time that the PostgreSQL sink needs to write a trade", 20, None, "{:.1f} µs",
           lambda results: 1e6 / rows if (rows := single("sinks", "postgres_rows_s")(results)) else None),
    Wanted("±20 s of a coin from PostgreSQL, median (30,000,000 trades with --full)", 20, None, "{:.1f} ms",
           single("sinks", "postgres_window_ms")),
    Wanted("statistics of 24 hours of a symbol from PostgreSQL, p99", 10, None, "{:.1f} ms", single("sinks", "day_p99_ms")),
    Wanted("import pumpwatch", 0.3, None, "{:.3f} s", single("start", "import_s")),
    Wanted("pumpwatch --help", 0.3, None, "{:.3f} s", single("start", "help_s")),
)


def judge(results: Results) -> list[dict[str, Any]]:
    """Return each wanted figure with what was measured and how that stands; lines nobody measured are left out."""
    lines = []
    for wanted in WANTED:
        value = wanted.measured(results)
        if value is not None:
            met = "must" if value <= wanted.must else "missed"
            if wanted.aim is not None and value <= wanted.aim:
                met = "aim"
            lines.append({"what": wanted.what, "must": wanted.must, "aim": wanted.aim, "measured": value, "met": met})
    return lines


def print_load(title: str, runs: Sequence[Mapping[str, Any]]) -> None:
    """Print the runs of a load scenario; columns that nobody has are left out."""
    _print_rows(title, LOAD_COLUMNS, runs)


def print_parse(venues: Sequence[Mapping[str, Any]]) -> None:
    """Print what reading the frames of each venue costs, and what it costs others."""
    rows = []
    for venue in venues:
        row = dict(venue)
        for other in ("cryptofeed", "orjson"):
            for what in ("single", "together"):
                theirs = venue.get(f"{other}_{what}_us")
                row[f"{other}_{what}_ratio"] = None if theirs is None else venue[f"{what}_us"] / theirs
        rows.append(row)
    _print_rows("frame to numpy columns, µs a trade, and as a share of what others need", PARSE_COLUMNS, rows)


def _print_rows(title: str, known: Sequence[tuple[str, str, str]], runs: Sequence[Mapping[str, Any]]) -> None:
    table = Table(title=title, title_justify="left")
    columns = [column for column in known if any(run.get(column[1]) is not None for run in runs)]
    for number, (heading, _, _) in enumerate(columns):
        table.add_column(heading, justify="right" if number else "left")
    for run in runs:
        table.add_row(*("" if run.get(key) is None else shown.format(run[key]) for _, key, shown in columns))
    _console().print(table)


def print_verdict(results: Results, sizes: str) -> None:
    """Print the table of figures: wanted, measured, met; nothing where none of them was measured."""
    if not judge(results):
        return
    table = Table(title=f"figures ({sizes})", title_justify="left")
    for heading in ("what", "must", "aim", "measured", "met"):
        table.add_column(heading, justify="left" if heading in ("what", "met") else "right")
    shown = {wanted.what: wanted.shown for wanted in WANTED}
    for line in judge(results):
        texts = ["" if value is None else shown[line["what"]].format(value)
                 for value in (line["must"], line["aim"], line["measured"])]
        table.add_row(line["what"], *texts, line["met"])
    _console().print(table)


def machine() -> dict[str, Any]:
    """Return what the figures were taken on."""
    model = next((line.partition(":")[2].strip() for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines()
                  if line.startswith("model name")), platform.machine())
    cores = sum(line.startswith("processor") for line in Path("/proc/cpuinfo").read_text("utf-8").splitlines())
    load = float(Path("/proc/loadavg").read_text("ascii").split()[0])
    return {"cpu": model, "cores": cores, "kernel": platform.release(), "python": sys.version.split()[0],
            "load_before": load}


def _console() -> Console:
    return Console(width=None if sys.stdout.isatty() else 200, highlight=False)
