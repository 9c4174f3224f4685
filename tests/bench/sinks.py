"""The sinks beside each other: rows a second and CPU a row of both sides, and ±20 s of a coin from PostgreSQL.

Both get the same generated trades in batches of 20,000, one after the other in one process. The client's CPU is that of the whole
process while it writes; the server's is that of all its processes. Times of the wall are of a machine that others use, too.
PostgreSQL syncs each commit here (its default), QuestDB leaves that to the operating system (its default).
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from statistics import median, quantiles
from typing import Any

from pumpwatch.catalogue import Catalogue
from pumpwatch.config import Config
from pumpwatch.hookspecs import Sink
from pumpwatch.model import TradeBatch
from pumpwatch.plugins import load_plugins
from tests.bench.database import Database
from tests.bench.generate import Trades
from tests.bench.processes import usage
from tests.bench.stores import ASKED_RANK, BUSIEST_RANK, RATE, START_NS, WINDOW_NS
from tests.postgres_server import PostgresServer

WRITE_ROWS = 20_000
ROUNDS = 100
DAY_ASKED = 200
TICKS = os.sysconf("SC_CLK_TCK")
PREFIX = "sinks_"


def sinks(trades: int, database: Database, window_of: int = 0) -> dict[str, Any]:
    """Return rows a second, us of CPU a row, bytes a trade, and ms of a window and of a day's statistics.

    window_of: PostgreSQL has at least so many trades when it is asked for the windows.
    """
    plugins = load_plugins(Config()).sinks
    server = PostgresServer({"shared_buffers": "512MB", "max_wal_size": "4GB"}, durable=True)
    server.start()
    try:
        database.clear(f"{PREFIX}trades")
        questdb = plugins["questdb"].create(plugins["questdb"].options(addr=database.addr, table_prefix=PREFIX, candles=False,
                                                                       request_timeout_ms=60_000))
        postgres = plugins["postgres"].create(plugins["postgres"].options(dsn=server.dsn(), statement_timeout_ms=60_000,
                                                                          retention_days=0))
        assert server._process
        pid = server._process.pid
        figures: dict[str, Any] = {"trades": trades}
        figures |= _written("questdb", questdb, trades, lambda: database.usage().cpu_s)
        figures |= _written("postgres", postgres, trades, lambda: _tree_cpu_s(pid))
        if window_of > trades:
            figures |= _filled(server, postgres, trades, window_of)
        figures |= _read(postgres, max(trades, window_of))
        figures["postgres_cpu_to_questdb"] = figures["postgres_client_us"] / figures["questdb_client_us"]
        began = time.process_time()
        postgres.trouble()
        figures["candles_client_s"] = time.process_time() - began
        figures |= _statistics(server)
        figures["postgres_bytes_per_trade"] = server.sql(
            "SELECT sum(pg_total_relation_size(inhrelid)) FROM pg_inherits WHERE inhparent = 'pumpwatch.trade_history'::regclass"
        )[0][0] / max(trades, window_of)
        for sink in (questdb, postgres):
            sink.close()
        return {name: float(value) for name, value in figures.items()}
    finally:
        server.remove()


def _batches(catalogue: Catalogue, trades: int) -> Iterator[TradeBatch]:
    """Yield batches of about WRITE_ROWS."""
    waiting: list[TradeBatch] = []
    for batch in Trades(catalogue, START_NS, RATE).batches(trades):
        waiting.append(batch)
        if sum(map(len, waiting)) >= WRITE_ROWS:
            yield TradeBatch.concat(waiting)
            waiting = []
    if waiting:
        yield TradeBatch.concat(waiting)


def _written(name: str, sink: Sink, trades: int, server_cpu_s: Callable[[], float]) -> dict[str, float]:
    catalogue = Catalogue()
    sink.open()
    client_s = wall_s = 0.0
    rows, server_s, wall = 0, server_cpu_s(), []
    for number, batch in enumerate(_batches(catalogue, trades)):
        if number == 3:  # what is loaded by the first ones is not a row's
            client_s, wall_s, rows, server_s = 0.0, 0.0, 0, server_cpu_s()
        cpu, began = time.process_time(), time.perf_counter()
        result = sink.write(batch, catalogue)
        wall.append(time.perf_counter() - began)
        client_s, wall_s = client_s + time.process_time() - cpu, wall_s + wall[-1]
        assert result.accepted == len(batch), result
        rows += len(batch)
    return {f"{name}_rows_s": rows / wall_s, f"{name}_client_us": client_s / rows * 1e6,
            f"{name}_server_us": (server_cpu_s() - server_s) / rows * 1e6, f"{name}_write_ms": median(wall) * 1000}


def _filled(server: PostgresServer, sink: Sink, trades: int, wanted: int) -> dict[str, float]:
    """Add trades that follow those which are there, without the index, and make it at the end: that takes a third of the time."""
    began, catalogue = time.perf_counter(), Catalogue()
    made, stream = 0, Trades(catalogue, START_NS + trades * 10**9 // RATE + 10**9, RATE)
    for setting in ("fsync = off", "synchronous_commit = off", "max_wal_size = '16GB'"):
        server.sql(f"ALTER SYSTEM SET {setting}")
    server.sql("SELECT pg_reload_conf()")
    server.sql("ALTER TABLE pumpwatch.trade_history DROP CONSTRAINT trade_history_pkey")
    waiting: list[TradeBatch] = []
    for batch in stream.batches(wanted - trades):
        waiting.append(batch)
        if sum(map(len, waiting)) >= WRITE_ROWS * 5:
            made += sink.write(TradeBatch.concat(waiting), catalogue).accepted
            waiting = []
    made += sink.write(TradeBatch.concat(waiting), catalogue).accepted if waiting else 0
    loaded = time.perf_counter()
    server.sql("SET maintenance_work_mem = '1GB'; ALTER TABLE pumpwatch.trade_history ADD PRIMARY KEY (symbol, time, trade_id,"
               " exchange, market_type, time_ns)")
    server.sql("VACUUM (ANALYZE) pumpwatch.trade_history")
    return {"filled_trades": trades + made, "fill_s": loaded - began, "index_s": time.perf_counter() - loaded}


def _read(sink: Sink, trades: int) -> dict[str, float]:
    """Ask for ±20 s of a coin, spread over the time; each window twice, of which the second counts."""
    catalogue = Catalogue()
    stream = Trades(catalogue, START_NS, RATE)
    figures: dict[str, float] = {}
    span_ns = trades * 10**9 // RATE - 2 * WINDOW_NS
    for suffix, rank in (("", ASKED_RANK), ("_busiest", BUSIEST_RANK)):
        taken, rows = [], 0
        names = catalogue.names(stream.coin(rank))
        for number in range(ROUNDS):
            at = START_NS + WINDOW_NS + span_ns * (number * 7 % ROUNDS) // ROUNDS
            for _ in range(2):
                began = time.perf_counter()
                found = sink.read(names, at - WINDOW_NS, at + WINDOW_NS, catalogue)
                took = (time.perf_counter() - began) * 1000
            taken.append(took)
            rows += len(found)
        figures |= {f"postgres_window{suffix}_ms": median(taken), f"postgres_window{suffix}_p99_ms": quantiles(taken, n=100)[-1],
                    f"postgres_window{suffix}_rows": rows / ROUNDS}
    return figures


def _statistics(server: PostgresServer) -> dict[str, float]:
    """Ask for the statistics of a symbol's last 24 hours, in one connection, as an application does."""
    import psycopg

    taken = []
    with psycopg.connect(server.dsn(), autocommit=True) as connection:
        symbols = connection.execute("SELECT symbol, exchange, market_type, max(time) FROM pumpwatch.candles GROUP BY 1, 2, 3"
                                     " ORDER BY sum(trades) DESC LIMIT 20").fetchall()
        for number in range(DAY_ASKED):
            began = time.perf_counter()
            connection.execute("SELECT max(high), min(low), sum(volume), sum(turnover), sum(trades) FROM pumpwatch.candles WHERE"
                               " symbol = %s AND exchange = %s AND market_type = %s AND time > %s - interval '24 hours'",
                               symbols[number % len(symbols)]).fetchone()
            taken.append((time.perf_counter() - began) * 1000)
    return {"day_ms": median(taken), "day_p99_ms": quantiles(taken, n=100)[-1]}


def _tree_cpu_s(pid: int) -> float:
    """Return the CPU seconds of a server's process, of those that it has, and of those that have ended."""
    def of(process: int, fields: slice) -> float:
        try:
            words = Path(f"/proc/{process}/stat").read_text("ascii").rpartition(")")[2].split()
        except OSError:
            return 0.0
        return sum(map(int, words[fields])) / TICKS

    children = Path(f"/proc/{pid}/task/{pid}/children").read_text("ascii").split()
    return usage(pid).cpu_s + of(pid, slice(13, 15)) + sum(of(int(child), slice(11, 13)) for child in children)
