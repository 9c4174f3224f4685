"""Describe every store: its health with the reason, its response times, its size, its connections."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from pumpwatch.errors import PumpWatchError
from pumpwatch.hookspecs import Sink
from pumpwatch.redis.connection import RedisConnection
from pumpwatch.redis.server_facts import read_facts
from pumpwatch.sink_abilities import DescribedSink, ServerFacts

LEDGERS = ("ledger.sqlite", "coverage.sqlite")
CANDLES = "market_data.sqlite3"
DAMAGED = "damaged: the collector builds it again"
REDIS = "redis"


@dataclass(frozen=True, slots=True)
class StoreRow:
    """One store. state: `up`, or a problem. facts: its version and sizes.

    calls: as in `status.json`; empty without a collector, or for a file. failed_in_a_row: failed tries of a collector since the
    last success. hits, misses: of a cache.
    """

    name: str
    state: str
    facts: ServerFacts
    calls: Sequence[Mapping[str, Any]] = field(default_factory=tuple)
    failed_in_a_row: int = 0
    hits: int | None = None
    misses: int | None = None

    @property
    def works(self) -> bool:
        """Return whether it accepts trades, as far as is known."""
        return self.state in ("up", "starting", "off") or self.state.startswith("refilling")

    def figures(self) -> dict[str, Any]:
        """Return the row for `status.json`, the API and `pumpwatch db status --json`."""
        facts = self.facts
        return {"store": self.name, "state": self.state, "works": self.works, "version": facts.version or None,
                "size_bytes": facts.size_bytes, "parts": facts.parts, "compression_ratio": facts.compression_ratio,
                "cache_hit_ratio": facts.cache_hit_ratio, "connections": facts.connections, "busy": facts.busy,
                "failed_in_a_row": self.failed_in_a_row, "hits": self.hits, "misses": self.misses, "calls": list(self.calls)}


def describe(folder: Path, sinks: Mapping[str, Sink], status: Mapping[str, Any] | None) -> Iterator[StoreRow]:
    """Yield the journal, the other files of the data folder, and each sink, which is queried now.

    status: the figures of a running collector, or None. A sink that does not answer does not raise an error.
    """
    yield from files(folder, (status or {}).get("journal", {}))
    running = {sink["name"]: sink for sink in (status or {}).get("sinks", ())}
    known = {row["store"]: row for row in (status or {}).get("stores", ())}
    for name, sink in sinks.items():
        row = query_sink(name, sink, running.get(name), also_trouble=True)
        seen = known.get(name, {})
        facts = replace(row.facts, connections=seen.get("connections"), busy=seen.get("busy"))  # of the collector, not ours
        yield replace(row, facts=facts, failed_in_a_row=seen.get("failed_in_a_row", 0))


def files(folder: Path, journal: Mapping[str, Any]) -> Iterator[StoreRow]:
    """Yield the journal and the other files of the data folder. journal: its figures in a running collector. Blocks."""
    segments = list((folder / "journal").glob("*.sqlite*"))
    state = "up" if not journal.get("dropped_trades") else "the disk did not accept every trade: see `pumpwatch gaps`"
    yield StoreRow("journal", state, ServerFacts("SQLite", _size(segments), sum(path.suffix == ".sqlite" for path in segments)))
    for name in (*LEDGERS, CANDLES):
        companions = [folder / f"{name}{part}" for part in ("", "-wal", "-shm")]
        if (folder / name).exists():
            damaged = (folder / f"{name}.damaged").exists()
            yield StoreRow(name, DAMAGED if damaged else "up", ServerFacts("SQLite", _size(companions)))


def query_sink(name: str, sink: Sink, running: Mapping[str, Any] | None, *, also_trouble: bool) -> StoreRow:
    """Query a sink and return its row; its state is that of a running collector, or else the result of this query."""
    calls = (running or {}).get("calls", ())
    state = str(running["state"]) if running else "up"
    try:
        facts = sink.facts() if isinstance(sink, DescribedSink) else ServerFacts()
        state = (sink.trouble() if also_trouble else "") or state
    except PumpWatchError as error:
        return StoreRow(name, state if state == "off" else f"down: {error.message}", ServerFacts(), calls)
    return StoreRow(name, state, facts, calls)


def redis_row(redis: RedisConnection) -> StoreRow:
    """Query the Redis of a collector and return its row, without calls."""
    figures = redis.figures()
    counts, failed = figures["counts"], figures["failed_looks"]
    pool = {"connections": figures["connections"], "busy": figures["busy"]}
    try:
        found = read_facts(redis)
    except PumpWatchError as error:
        return StoreRow(REDIS, redis.trouble or error.message, ServerFacts(f"Redis {figures['version']}".strip(), **pool), (),
                        failed, counts.get("hits", 0), counts.get("misses", 0))
    hits, misses = counts.get("hits", 0), counts.get("misses", 0)
    ratio = hits / (hits + misses) if hits + misses else found.hit_ratio  # else that of all programs
    facts = ServerFacts(f"Redis {found.version}", found.used_bytes, len(found.masters), None, ratio, **pool)
    return StoreRow(REDIS, redis.trouble or "up", facts, (), failed, hits, misses)


def _size(paths: Sequence[Path]) -> int:
    found = 0
    for path in paths:
        try:
            found += path.stat().st_size
        except FileNotFoundError:  # expired meanwhile
            continue
    return found
