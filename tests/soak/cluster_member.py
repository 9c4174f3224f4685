"""One member for the soak of a cluster: the real coordinator, and a light reader that stores trades and gaps in SQLite.

`python -m tests.soak.cluster_member NAME FOLDER VENUE_PORT REDIS[,REDIS...] SHIFT_S`: runs until SIGTERM, then hands over.
Its clock is wrong by SHIFT_S, as that of a real host may be.
"""

from __future__ import annotations

import json
import logging
import signal
import sqlite3
import sys
import time
from pathlib import Path

import gevent
from gevent import socket

from pumpwatch.clock import NS_PER_S, Clock
from pumpwatch.cluster.coordinator import Coordinator
from pumpwatch.cluster.facts import MemberFacts
from pumpwatch.cluster.shards import Shard
from pumpwatch.config_cluster import ClusterConfig
from pumpwatch.config_redis import RedisConfig
from pumpwatch.redis.connection import RedisConnection
from pumpwatch.stats import Stats
from tests.soak.cluster_venue import SHARDS_PER_VENUE, VENUES

COMMIT_S, PING_S, ROLE_S = 0.1, 1.0, 0.05
SLACK_NS = NS_PER_S // 5  # a trade at the very edge of a reading
TABLES = """
CREATE TABLE IF NOT EXISTS trades (symbol TEXT, id INTEGER, copies INTEGER, PRIMARY KEY (symbol, id)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS gaps (number INTEGER PRIMARY KEY, run INTEGER, shard TEXT, from_ns INTEGER, to_ns INTEGER, why TEXT);
CREATE TABLE IF NOT EXISTS roles (at REAL, role TEXT, token INTEGER, member TEXT);
CREATE TABLE IF NOT EXISTS done (at_ns INTEGER, handed_over INTEGER);
"""


class Shifted(Clock):
    """The clock of a host that is wrong."""

    def __init__(self, by_s: float) -> None:
        self.by_ns = int(by_s * NS_PER_S)

    def now_ns(self) -> int:
        return super().now_ns() + self.by_ns


class Reader:
    """Reads shards over one connection, and stores each trade once. Times are the venue's, except those for the coordinator."""

    def __init__(self, name: str, file: Path, port: int, shift_ns: int) -> None:
        self._name, self._port, self._shift_ns = name, port, shift_ns
        self._db = sqlite3.connect(file, isolation_level=None)
        self._db.executescript("PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL;" + TABLES)
        self._run = time.time_ns()
        self._stored_until = int(self._db.execute("SELECT max(at_ns) FROM done").fetchone()[0] or 0)  # by an earlier run
        self._wanted: set[str] = set()
        self._granted: dict[str, int] = {}  # shard -> since
        self._open: dict[str, list[tuple[int, str]]] = {}  # gaps that end when the shard is granted
        self._rows: list[tuple[str, int]] = []
        self._records: list[tuple[int, str, int, int, str]] = []
        self._received_until = self._durable_until = 0
        self._socket: socket.socket | None = None

    def read(self, shard: Shard, since_ns: int, beside: bool) -> None:
        name = str(shard)
        if not beside:
            since = since_ns - self._shift_ns if since_ns else self._stored_until
            if since and name in self._granted:
                self._gap(name, since - SLACK_NS, self._granted[name] + SLACK_NS, "taken over")
            elif since:
                self._open.setdefault(name, []).append((since - SLACK_NS, "taken over"))
        if name not in self._wanted:
            self._wanted.add(name)
            self._send({"sub": name})

    def delivers(self, shard: Shard) -> bool:
        return str(shard) in self._granted

    def leave(self, shard: Shard) -> None:
        name = str(shard)
        self._wanted.discard(name)
        self._granted.pop(name, None)
        self._open.pop(name, None)
        self._send({"unsub": name})

    def read_until_ns(self) -> int:
        return self._durable_until + self._shift_ns if self._durable_until else 0

    def _gap(self, shard: str, from_ns: int, to_ns: int, why: str) -> None:
        if to_ns > from_ns:
            self._records.append((self._run, shard, from_ns, to_ns, why))

    def _send(self, line: object) -> None:
        try:
            if self._socket:
                self._socket.sendall(json.dumps(line).encode() + b"\n")
        except OSError:
            pass  # the reading greenlet sees it as well

    def run(self) -> None:
        """Keep the connection, and note what a break of it costs."""
        while True:
            try:
                self._socket = socket.create_connection(("127.0.0.1", self._port), timeout=5)
                self._socket.settimeout(5)
                self._send({"member": self._name})
                for shard in self._wanted:
                    self._send({"sub": shard})
                for line in self._socket.makefile("rb"):
                    self._take(json.loads(line))
            except OSError:
                pass
            for shard in self._granted:
                self._open.setdefault(shard, []).append((self._received_until - SLACK_NS, "connection lost"))
            self._granted, self._socket = {}, None
            gevent.sleep(0.3)

    def _take(self, line: dict[str, object]) -> None:
        at = int(line.get("at") or 0)  # type: ignore[call-overload]
        if "all_until" in line:
            self._received_until = int(line["all_until"])  # type: ignore[call-overload]
        elif "granted" in line:
            shard = str(line["granted"])
            if shard in self._wanted:
                self._granted[shard] = at
                for since, why in self._open.pop(shard, []):
                    self._gap(shard, since, at + SLACK_NS, why)
        else:
            self._rows += line["ids"]  # type: ignore[operator]

    def commit(self) -> None:
        """Make durable what came, every COMMIT_S."""
        while True:
            gevent.sleep(COMMIT_S)
            self.commit_now()

    def commit_now(self) -> None:
        rows, records, until = self._rows, self._records, self._received_until
        self._rows, self._records = [], []
        self._db.execute("BEGIN")
        self._db.executemany("INSERT INTO trades VALUES (?, ?, 1) ON CONFLICT DO UPDATE SET copies = copies + 1", rows)
        self._db.executemany("INSERT INTO gaps (run, shard, from_ns, to_ns, why) VALUES (?, ?, ?, ?, ?)", records)
        self._db.execute("DELETE FROM done")
        self._db.execute("INSERT INTO done VALUES (?, -1)", (until,))
        self._db.execute("COMMIT")
        self._durable_until = until

    def ping(self) -> None:
        while True:
            self._send({"ping": 1})
            gevent.sleep(PING_S)

    def note_roles(self, coordinator: Coordinator) -> None:
        """Note each moment at which this process would act in a role."""
        while True:
            at, roles = time.monotonic(), coordinator.roles
            self._db.executemany("INSERT INTO roles VALUES (?, ?, ?, ?)", [
                (at, role, coordinator._own.token_of(role), self._name) for role in roles])
            gevent.sleep(ROLE_S)

    def note_end(self, handed_over: bool) -> None:
        self.commit_now()
        self._db.execute("UPDATE done SET handed_over = ?", (handed_over,))


def main(name: str, folder: Path, port: int, nodes: str, shift_s: float) -> None:
    logging.basicConfig(filename=folder / f"{name}.log", level=logging.INFO, format="%(asctime)s.%(msecs)03d %(message)s",
                        datefmt="%H:%M:%S")
    clock, stats, stopping = Shifted(shift_s), Stats(), gevent.event.Event()
    reader = Reader(name, folder / f"{name}.sqlite", port, clock.by_ns)
    redis = RedisConnection(RedisConfig(nodes=nodes.split(",")), stats)
    facts = MemberFacts(member=name, host=name, address=name, instance=str(folder / name), version="soak")
    config = ClusterConfig(name="soak", shards_per_venue=SHARDS_PER_VENUE)
    coordinator = Coordinator(redis, config, facts, VENUES, reader, clock, stats)
    gevent.signal_handler(signal.SIGTERM, stopping.set)
    for body in (reader.run, reader.commit, reader.ping):
        gevent.spawn(body)
    redis.connect(2.0)
    coordinator.join()
    gevent.spawn(coordinator.run)
    gevent.spawn(reader.note_roles, coordinator)
    stopping.wait()
    handed_over = coordinator.leave(10.0)
    reader.commit_now()
    coordinator.stop()
    reader.note_end(handed_over)
    (folder / f"{name}.{time.time_ns()}.stats").write_text(json.dumps([list(item) for item in stats.items()]), "utf-8")


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4], float(sys.argv[5]))
