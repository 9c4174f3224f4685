"""One simulated venue stream for members of a cluster: numbered trades of each symbol, by shard.

`python -m tests.soak.cluster_venue FOLDER`: prints its port, and trades until standard input ends. Then it writes truth.json: the
trades, and who was sent what from when to when.

A line from a member: {"member": NAME}, {"sub": SHARD}, {"unsub": SHARD} or {"ping": 1}. A line to it:
{"granted": SHARD, "at": NS}, {"trades": SHARD, "ids": [[SYMBOL, ID], ...], "at": NS} or {"all_until": NS}, after which nothing
older comes.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import sys
import time
from pathlib import Path

from pumpwatch.cluster.shards import shard_of, shards_of

VENUES = [f"venue{number}.spot" for number in range(5)]
SHARDS_PER_VENUE = 4
SYMBOLS = [f"COIN{number}" for number in range(12)]  # on each venue
TICK_S = 0.1  # each symbol trades so often
GRANT_S = (0.05, 0.6)
SILENT_S = 5.0  # a connection without a ping for so long is closed
BEHIND_BYTES = 2_000_000
SHARDS = [str(shard) for shard in shards_of(VENUES, SHARDS_PER_VENUE)]


def roster() -> dict[str, list[str]]:
    """Return the symbols of each shard, as `venue:symbol`."""
    found: dict[str, list[str]] = {shard: [] for shard in SHARDS}
    for venue in VENUES:
        for symbol in SYMBOLS:
            found[str(shard_of(venue, symbol, SHARDS_PER_VENUE))].append(f"{venue}:{symbol}")
    return found


class Connection:
    """One member's connection."""

    def __init__(self, writer: asyncio.StreamWriter) -> None:
        self.writer, self.member = writer, "?"
        self.pinged = time.monotonic()
        self.granted: dict[str, int] = {}  # shard -> since, ns
        self.wanted: set[str] = set()

    def send(self, line: object) -> None:
        self.writer.write(json.dumps(line).encode() + b"\n")


class Venue:
    """Every venue's trades and connections."""

    def __init__(self) -> None:
        self.roster = roster()
        self.base = {symbol: random.Random(symbol).randrange(10**6) for symbols in self.roster.values() for symbol in symbols}
        self.times: list[int] = []  # of each tick
        self.connections: set[Connection] = set()
        self.spans: list[tuple[str, str, int, int]] = []  # member, shard, from, to
        self.tasks: set[asyncio.Task[None]] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = Connection(writer)
        self.connections.add(connection)
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while line := await reader.readline():
                said = json.loads(line)
                connection.pinged = time.monotonic()
                connection.member = said.get("member", connection.member)
                if "sub" in said:
                    connection.wanted.add(said["sub"])
                    task = asyncio.create_task(self.grant(connection, said["sub"]))
                    self.tasks.add(task)
                    task.add_done_callback(self.tasks.discard)
                if "unsub" in said:
                    self.end(connection, said["unsub"])
        self.drop(connection)

    async def grant(self, connection: Connection, shard: str) -> None:
        await asyncio.sleep(random.uniform(*GRANT_S))
        if connection in self.connections and shard in connection.wanted - connection.granted.keys():
            connection.granted[shard] = time.time_ns()
            connection.send({"granted": shard, "at": connection.granted[shard]})

    def end(self, connection: Connection, shard: str) -> None:
        connection.wanted.discard(shard)
        if since := connection.granted.pop(shard, 0):
            self.spans.append((connection.member, shard, since, time.time_ns()))

    def drop(self, connection: Connection) -> None:
        self.connections.discard(connection)
        for shard in list(connection.granted):
            self.end(connection, shard)
        connection.writer.close()

    async def trade(self) -> None:
        due = time.monotonic()
        while True:
            due += TICK_S
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            number, at = len(self.times), time.time_ns()
            self.times.append(at)
            lines = {shard: {"trades": shard, "ids": [[symbol, self.base[symbol] + number] for symbol in symbols], "at": at}
                     for shard, symbols in self.roster.items()}
            for connection in list(self.connections):
                for shard in connection.granted:
                    connection.send(lines[shard])
                connection.send({"all_until": at})
                silent = time.monotonic() - connection.pinged > SILENT_S
                if silent or connection.writer.transport.get_write_buffer_size() > BEHIND_BYTES:
                    self.drop(connection)


async def main(folder: Path) -> None:
    venue = Venue()
    server = await asyncio.start_server(venue.serve, "127.0.0.1", 0)
    print(server.sockets[0].getsockname()[1], flush=True)
    trading = asyncio.create_task(venue.trade())
    await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
    trading.cancel()
    for connection in list(venue.connections):
        venue.drop(connection)
    (folder / "truth.json").write_text(json.dumps(
        {"times": venue.times, "base": venue.base, "roster": venue.roster, "spans": venue.spans}), "utf-8")


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1])))
