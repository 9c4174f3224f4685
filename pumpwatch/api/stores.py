"""List the stores with health, size and response times."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from pumpwatch.api.route import ApiCall, Route

SHOWN = 160  # characters of a state on the page


class CallRow(msgspec.Struct):
    """The calls of one method since the start. p50_ms, p99_ms: of the last 1,000 calls, null before the first has ended."""

    operation: str
    total: int
    failed: int
    running: int
    seconds: float
    p50_ms: float | None
    p99_ms: float | None
    errors: dict[str, int]


class StoreStatusRow(msgspec.Struct):
    """One store. state: `up`, or the reason why it is not. Figures that the store does not report are null.

    parts: segments, partitions, chunks, or masters. connections: open ones; busy: those with a running call. failed_in_a_row:
    failed attempts since the last success; for Redis, checks of its nodes.
    """

    store: str
    state: str
    works: bool
    version: str | None
    size_bytes: int | None
    parts: int | None
    compression_ratio: float | None
    cache_hit_ratio: float | None
    connections: int | None
    busy: int | None
    failed_in_a_row: int
    hits: int | None
    misses: int | None
    calls: list[CallRow]


class Stores(msgspec.Struct):
    """Every store of the collector."""

    stores: list[StoreStatusRow]


def rows_of(figures: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return a row for each store in a collector's figures, with the calls of sinks and Redis."""
    calls = {sink["name"]: sink.get("calls", ()) for sink in figures.get("sinks", ())}
    calls["redis"] = (figures.get("redis") or {}).get("calls", ())
    return [{**row, "calls": calls.get(row["store"], row["calls"])} for row in figures.get("stores", ())]


def small(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the part of a row that the page shows. p99_ms: of the slowest method."""
    slowest = max((call["p99_ms"] for call in row["calls"] if call["p99_ms"] is not None), default=None)
    shown = {key: row[key] for key in ("store", "works", "size_bytes", "parts", "compression_ratio", "cache_hit_ratio",
                                       "connections", "busy")}
    return {**shown, "state": row["state"][:SHOWN], "p99_ms": slowest}


def stores(call: ApiCall) -> Stores:
    """Return the stores; states are at most a second old, sizes half a minute."""
    return Stores(msgspec.convert(rows_of(call.desk.figures()), list[StoreStatusRow]))


ROUTES = (Route("/api/stores", stores, "Every store: health, size, connections, times of its calls", Stores),)
