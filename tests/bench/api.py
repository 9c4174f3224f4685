"""A million stored trades by `/api/trades`, and thousands of bad requests beside 20,000 trades a second.

The server runs in a process of its own (`python -m tests.bench.api FOLDER`) with a greenlet that wakes up every millisecond.
`hub_ms` is the most CPU time that the hub's thread used between two of its turns, which other processes of the machine do not
change; `late_ms` is the most by which it woke up late, which they do.
"""

from __future__ import annotations

import sys

if __name__ == "__main__":
    from gevent import monkey

    monkey.patch_all()

import json
import re
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.bench.processes import BenchError, usage

FORMATS = ("ndjson", "csv", "arrow", "parquet")
RATE, REQUESTS = 20_000.0, 10_000


def api(folder: Path, trades: int) -> dict[str, Any]:
    """Return the seconds, memory and longest hub block of reading so many trades in each format, and the hostile run."""
    from tests.api.hostile_run import hostile_run

    folder.mkdir(parents=True, exist_ok=True)
    fill(folder / "data", trades)
    with server(folder) as (url, ask):
        read(url, "ndjson")  # starts the process that reads
        read(url, "arrow")  # and imports pyarrow there
        found = []
        for form in FORMATS:
            ask("reset")
            started = time.perf_counter()
            first_s, size = read(url, form)
            found.append({"format": form, "trades": trades, "seconds": round(time.perf_counter() - started, 3),
                          "first_byte_s": round(first_s, 3), "megabytes": round(size / 1e6, 1), **ask("figures")})
    hostile = hostile_run(folder / "hostile", RATE, REQUESTS)
    return {"reads": found, "hostile": hostile.as_dict()}


def fill(folder: Path, trades: int) -> None:
    """Store trades of one coin on two venues, 2,000 a commit."""
    from pumpwatch.clock import NS_PER_S, FakeClock
    from pumpwatch.stats import Stats
    from pumpwatch.store.journal import Journal
    from tests.trades import batch_of, catalogue_of

    step_ns, rows = 200_000, 2_000
    clock = FakeClock(time.time_ns() - trades * step_ns - 60 * NS_PER_S)
    journal = Journal(folder, catalogue_of(), clock, Stats())
    journal.open()
    for first in range(0, trades, rows):
        journal.commit(batch_of(rows, first_id=first + 1, instruments=2, start_ns=clock.now_ns(), step_ns=step_ns))
        clock.advance(rows * step_ns / NS_PER_S)
    journal.close()


def read(url: str, form: str) -> tuple[float, int]:
    """Read everything of the last hour; return when its first byte was there, and its size."""
    started = time.perf_counter()
    with urllib.request.urlopen(f"{url}/api/trades?coin=C0&from=-1h&format={form}", timeout=600) as answer:
        size, first_s = len(answer.read(1)), time.perf_counter() - started
        while piece := answer.read(1 << 20):
            size += len(piece)
    return first_s, size


@contextmanager
def server(folder: Path) -> Iterator[tuple[str, Any]]:
    """Run the server; yield its address, and a function that has it `reset` or tell its `figures`."""
    child = subprocess.Popen([sys.executable, "-m", "tests.bench.api", str(folder / "data")], stdin=subprocess.PIPE,
                             stdout=subprocess.PIPE, text=True)
    assert child.stdin is not None and child.stdout is not None

    def ask(what: str) -> dict[str, Any]:
        assert child.stdin is not None and child.stdout is not None
        print(what, file=child.stdin, flush=True)
        answer: dict[str, Any] = json.loads(child.stdout.readline())
        return answer

    try:
        line = child.stdout.readline()
        if not line:
            raise BenchError("the server did not start")
        yield f"http://127.0.0.1:{line.strip()}", ask
    finally:
        child.stdin.close()
        child.wait(30)


class Watch:
    """A greenlet that looks how long the hub was busy."""

    def __init__(self) -> None:
        self.hub_s = self.late_s = 0.0

    def run(self) -> None:
        """Look each millisecond."""
        import gevent

        while True:
            before_s, cpu_s = time.perf_counter(), time.thread_time()
            gevent.sleep(0.001)
            self.hub_s = max(self.hub_s, time.thread_time() - cpu_s)
            self.late_s = max(self.late_s, time.perf_counter() - before_s - 0.001)


def serve(folder: Path) -> None:
    """Serve until stdin ends; answer each of its lines."""
    import gevent

    from pumpwatch.api.application import Application
    from pumpwatch.api.rate_limits import RateLimits
    from pumpwatch.api.routes import ROUTES
    from pumpwatch.api.server import Server
    from tests.api.desk import config_of, desk_of, guard_of

    desk = desk_of(config_of(folder))
    limits = RateLimits(10_000, (), desk.sessions, desk.clock, desk.stats)
    running = Server(("127.0.0.1", 0), Application(desk, ROUTES, {}, guard_of(desk)), desk.stats, limits, connections=64)
    running.start()
    watch = Watch()
    gevent.spawn(watch.run)
    print(running.server_port, flush=True)
    while line := gevent.get_hub().threadpool.apply(sys.stdin.readline):
        if line.strip() == "reset":
            watch.hub_s = watch.late_s = 0.0
        (reader,) = desk.readers.pids or {0}
        print(json.dumps({
            "hub_ms": round(watch.hub_s * 1000, 2), "late_ms": round(watch.late_s * 1000, 2), "server_mb": resident_mb(),
            "reader_mb": resident_mb(reader) if reader else 0.0,
            "reader_cpu_s": round(usage(reader).cpu_s, 2) if reader else 0.0}), flush=True)
    running.stop(timeout=0.1)
    desk.readers.close()


def resident_mb(pid: int | str = "self") -> float:
    """Return the most memory that a process has had."""
    return round(int(re.findall(r"VmHWM:\s+(\d+)", Path(f"/proc/{pid}/status").read_text("utf-8"))[0]) / 1024, 1)


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
