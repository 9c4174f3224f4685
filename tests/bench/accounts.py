"""The account ledger: commands in one process on SQLite, and by several writers with conflicts on PostgreSQL.

A command is a placed order, a fill or a cancellation. A transaction has BATCH of them. On PostgreSQL each writer takes
one of ACCOUNTS accounts at random for each transaction, so that some of them conflict; those are done again.
CPU is user + system time, of the writers and, on PostgreSQL, of the server's processes.
"""

from __future__ import annotations

import multiprocessing
import os
import random
import resource
import time
from decimal import Decimal
from pathlib import Path
from typing import Any

from pumpwatch.accounts import AccountLedger, NewOrder, OrderFill, open_account_ledger
from tests.postgres_server import PostgresServer

BATCH, COMMANDS = 500, 6  # of a transaction at most, and of a round
WRITERS, ACCOUNTS, SMALL_BATCH = 8, 16, 100


def rounds(ledger: AccountLedger, account: str, name: str, count: int) -> None:
    """Give an account orders, six commands a round: one is filled, one cancelled, and one filled against the first."""
    for number in range(count):
        price, made = Decimal(1) + Decimal(number % 7) / 100, f"{name}-{number}"
        side, other = ("buy", "sell") if number % 2 else ("sell", "buy")
        for end, of in (("a", side), ("b", other), ("c", other)):
            ledger.place_order(account, NewOrder(
                order_id=made + end, venue="one.futures", symbol="SOMIUSDT", side=of, kind="limit", quantity=Decimal(10),
                price=price, leverage=Decimal(10), at_ns=number))
            if end == "b":
                ledger.cancel_order(made + end, "bench", number)
            else:
                ledger.fill_order(made + end, OrderFill(fill_id=made + end, price=price, quantity=Decimal(10),
                                                        fee=Decimal("0.005"), liquidity="taker", at_ns=number))


def sqlite(folder: Path, commands: int) -> dict[str, Any]:
    """Return commands a second of CPU and of time, in one process on a file."""
    with open_account_ledger(folder / "ledger.sqlite3") as ledger:
        prepared(ledger, 1)
        per_batch = BATCH // COMMANDS
        began, cpu = time.perf_counter(), time.process_time()
        for batch in range(commands // BATCH):
            with ledger.transaction():
                rounds(ledger, "account-0", f"{batch}", per_batch)
        spent, took = time.process_time() - cpu, time.perf_counter() - began
        done = commands // BATCH * per_batch * COMMANDS
        proof = time.process_time()
        assert all(finding.state == "ok" for finding in ledger.check())
        proof = time.process_time() - proof
    size = (folder / "ledger.sqlite3").stat().st_size
    return {"commands": done, "sqlite_cpu_us": spent / done * 1e6, "sqlite_us": took / done * 1e6,
            "check_us_a_command": proof / done * 1e6, "bytes_a_command": size / done}


def prepared(ledger: AccountLedger, accounts: int) -> None:
    """Open accounts with much money."""
    user = ledger.create_user("bench", user_id="bench", at_ns=0)
    for number in range(accounts):
        ledger.open_account(user, account_id=f"account-{number}", at_ns=0)
        ledger.transfer(f"account-{number}", Decimal(10) ** 9, "bench", 0)


def _writer(dsn: str, number: int, batches: int, start: Any, results: Any) -> None:
    with open_account_ledger(dsn) as ledger:
        draw = random.Random(number)
        start.wait()
        before = resource.getrusage(resource.RUSAGE_SELF)
        for batch in range(batches):
            account = f"account-{draw.randrange(ACCOUNTS)}"
            ledger.retried(lambda batch=batch, account=account: rounds(  # type: ignore[misc]
                ledger, account, f"{number}-{batch}", SMALL_BATCH // COMMANDS), tries=1000)
        used = resource.getrusage(resource.RUSAGE_SELF)
        results.put((ledger.conflicts, used.ru_utime + used.ru_stime - before.ru_utime - before.ru_stime))


def postgres(commands: int) -> dict[str, Any]:
    """Return commands a second of WRITERS processes on a server that syncs its commits, and how many transactions conflicted."""
    server = PostgresServer(durable=True)
    server.start()
    try:
        with open_account_ledger(server.dsn()) as ledger:
            prepared(ledger, ACCOUNTS)
        context = multiprocessing.get_context("spawn")
        start, results = context.Barrier(WRITERS + 1), context.Queue()
        per_batch = SMALL_BATCH // COMMANDS
        batches = commands // (WRITERS * per_batch * COMMANDS)
        writers = [context.Process(target=_writer, args=(server.dsn(), number, batches, start, results))
                   for number in range(WRITERS)]
        for writer in writers:
            writer.start()
        start.wait()
        began, server_cpu = time.perf_counter(), _tree_cpu(server)
        told = [results.get() for _ in writers]
        took = time.perf_counter() - began
        for writer in writers:
            writer.join()
        server_cpu = _tree_cpu(server) - server_cpu
        done = batches * WRITERS * per_batch * COMMANDS
        with open_account_ledger(server.dsn()) as ledger:
            assert all(finding.state == "ok" for finding in ledger.check())
        return {"postgres_commands": done, "postgres_us": took / done * 1e6, "conflicts": sum(conflicts for conflicts, _ in told),
                "transactions": batches * WRITERS, "writers_cpu_us": sum(cpu for _, cpu in told) / done * 1e6,
                "server_cpu_us": server_cpu / done * 1e6}
    finally:
        server.remove()


def _tree_cpu(server: PostgresServer) -> float:
    """Return the CPU seconds of the server and its processes, those that have ended too."""
    ticks, total = os.sysconf("SC_CLK_TCK"), 0.0
    main = (server.data / "postmaster.pid").read_text("ascii").split()[0]
    children = Path(f"/proc/{main}/task/{main}/children").read_text("ascii").split()
    for pid, last in [(main, 15), *((pid, 13) for pid in children)]:
        fields = Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()
        total += sum(map(int, fields[11:last])) / ticks
    return total


def accounts(folder: Path, commands: int) -> dict[str, Any]:
    """Return the figures of both databases."""
    return sqlite(folder, commands) | postgres(commands)
