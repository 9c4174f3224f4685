"""Rate limits that a Redis Cluster of six nodes counts: 5,000 checks a second of 200 clients, and what slices save.

Two processes send the checks on schedule, as bytes on plain sockets (`python -m tests.bench.rate_limits PLAN`): the client
library is not what is measured. `check` is the time of such a call, `late` the time since it was due, `server` what the servers
themselves measured of the script. `call` is a check as a collector makes it: through its connection and the client library, one
after the other, with nothing beside it.
"""

from __future__ import annotations

import hashlib
import json
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from pumpwatch.clock import Clock
from pumpwatch.config_redis import RedisConfig
from pumpwatch.net.shared_budget import SharedBudget
from pumpwatch.net.sliding_window import SlidingWindows
from pumpwatch.redis.connection import RedisConnection
from pumpwatch.redis.rate_limits import TAKE, SharedWindows, tagged
from pumpwatch.redis.venue_budgets import AddressBudgets
from pumpwatch.stats import Stats
from tests.redis_server import RedisNodes, six_nodes

PROCESSES, CLIENTS, LIMIT = 2, 200, 600
CRLF = "\r\n"
QUIET_S = 5.0  # how long a call may take here: what is measured must not be cut off


def rate_limits(seconds: float, rate: float = 5000.0) -> dict[str, Any]:
    """Return p50 and p99 in ms of checks at that rate, and of what a collector does; CPU in µs."""
    with six_nodes() as nodes:
        loaded = _loaded(nodes, seconds, rate)
        connection = RedisConnection(RedisConfig(nodes=nodes.addresses))
        if not connection.connect(20):
            raise RuntimeError(connection.trouble)
        found = {**loaded, **_single(connection)}
        connection.close()
    return found


def _loaded(nodes: RedisNodes, seconds: float, rate: float) -> dict[str, Any]:
    """Have the processes send checks at that rate, and ask the servers how long theirs took."""
    keys = [tagged("bench", "limit", "api", f"address:192.0.2.{number}", rest=":60") for number in range(CLIENTS)]
    plan = {"keys": {key: nodes.master_of(key).port for key in keys}, "rate": rate / PROCESSES, "seconds": seconds}
    for master in nodes.masters():
        master.ask("SCRIPT", "LOAD", TAKE)
        master.ask("CONFIG", "RESETSTAT")
    words = [sys.executable, "-m", "tests.bench.rate_limits", json.dumps(plan)]
    children = [subprocess.Popen(words, stdout=subprocess.PIPE, text=True) for _ in range(PROCESSES)]
    parts = [json.loads(child.communicate()[0]) for child in children]
    checks, late = ([each for part in parts for each in part[name]] for name in ("checks_ms", "late_ms"))
    servers = [_scripts(master) for master in nodes.masters()]
    return {"rate": round(sum(len(part["checks_ms"]) / part["took_s"] for part in parts)), "checks": len(checks),
            "denied": sum(part["denied"] for part in parts), **_times("check", checks), **_times("late", late),
            "server_us": round(sum(each["usec"] for each in servers) / sum(each["calls"] for each in servers), 1),
            "server_ms_p99": max(each["p99_us"] for each in servers) / 1000}


def _scripts(master: Any) -> dict[str, float]:
    """Return what a server says of its scripts: calls, their time, and its p99."""
    calls = master.client.info("commandstats")["cmdstat_evalsha"]
    p99_us = float(master.client.info("latencystats")["latency_percentiles_usec_evalsha"]["p99"])
    return {"calls": calls["calls"], "usec": calls["usec"], "p99_us": p99_us}


def _single(connection: RedisConnection) -> dict[str, Any]:
    """Time a collector's own checks, one after the other."""
    windows = SharedWindows(connection, QUIET_S)
    key = tagged(connection.prefix, "limit", "api", "token")
    memory, clock = SlidingWindows(LIMIT, 60.0), Clock()
    purse = AddressBudgets(windows, "bench", "bench", Stats()).purse("bench.spot", 10**9, 60.0)
    budget = SharedBudget(1e6, 1e6, clock, purse, 1.0)
    asked = _timed(lambda: windows.take("limit", key, LIMIT, 60.0), 3000)
    return {**_times("call", asked[0]), "call_cpu_us": asked[1],
            "slice_cpu_us": _timed(lambda: budget.acquire(1), 50_000)[1],
            "memory_cpu_us": _timed(lambda: memory.take("a", clock.monotonic()), 50_000)[1]}


def _timed(ask: Callable[[], object], times: int) -> tuple[list[float], float]:
    """Return the ms of each call, and the µs of CPU of this process that one took."""
    found, cpu_s = [], time.process_time()
    for _ in range(times):
        began = time.perf_counter()
        ask()
        found.append((time.perf_counter() - began) * 1000)
    return found, round((time.process_time() - cpu_s) / times * 1e6, 2)


def _times(name: str, times_ms: Sequence[float]) -> dict[str, float]:
    return {f"{name}_ms_p{part}": round(float(np.percentile(times_ms, part)), 3) for part in (50, 99)}


def send(plan: Mapping[str, Any]) -> dict[str, Any]:
    """Send checks on schedule, and return how long each took and how late it was answered."""
    sockets = {port: socket.create_connection(("127.0.0.1", port)) for port in set(plan["keys"].values())}
    for each in sockets.values():
        each.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    sha = hashlib.sha1(TAKE.encode(), usedforsecurity=False).hexdigest()
    calls = [(_words("EVALSHA", sha, "1", key, str(LIMIT), "60000000", "1", "1"), sockets[port])
             for key, port in plan["keys"].items()]
    checks, late, denied, rate = [], [], 0, plan["rate"]
    began = time.perf_counter()
    for number in range(int(rate * plan["seconds"])):
        due = began + number / rate
        if (wait_s := due - time.perf_counter()) > 0:
            time.sleep(wait_s)
        words, server = calls[number % len(calls)]
        sent = time.perf_counter()
        server.sendall(words)
        answer = server.recv(4096)
        now = time.perf_counter()
        if not answer.startswith(b"*5\r\n"):
            raise RuntimeError(answer.decode())
        denied += answer.startswith(b"*5\r\n:0\r\n")
        checks.append((now - sent) * 1000)
        late.append((now - due) * 1000)
    return {"checks_ms": checks, "late_ms": late, "denied": denied, "took_s": time.perf_counter() - began}


def _words(*words: str) -> bytes:
    return f"*{len(words)}\r\n{''.join(f'${len(word)}{CRLF}{word}{CRLF}' for word in words)}".encode()


if __name__ == "__main__":
    print(json.dumps(send(json.loads(sys.argv[1]))))
