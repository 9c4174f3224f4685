"""Every store: its health with the reason, its size, and how long its answers take."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from pumpwatch.api.route import Call, Route

SHOWN = 160  # characters of a state on the page


class CallRow(msgspec.Struct):
    """The calls of one method since the start. p50_ms, p99_ms: of the last 1,000; null while the first one runs."""

    operation: str
    total: int
    failed: int
    running: int
    seconds: float
    p50_ms: float | None
    p99_ms: float | None
    errors: dict[str, int]


class Store(msgspec.Struct):
    """One store. state: `up`, or why it is not. The others are null where the store does not tell.

    parts: segments, partitions, chunks, or masters. connections: that are open, of which `busy` carry a call. failed_in_a_row:
    tries since the last that went well; of Redis, looks at its nodes.
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

    stores: list[Store]


def rows_of(figures: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return a row for each store from a collector's figures, with the calls of sinks and of Redis."""
    calls = {sink["name"]: sink.get("calls", ()) for sink in figures.get("sinks", ())}
    calls["redis"] = (figures.get("redis") or {}).get("calls", ())
    return [{**row, "calls": calls.get(row["store"], row["calls"])} for row in figures.get("stores", ())]


def small(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return the part of a row that the page shows. p99_ms: of the slowest method."""
    slowest = max((call["p99_ms"] for call in row["calls"] if call["p99_ms"] is not None), default=None)
    shown = {key: row[key] for key in ("store", "works", "size_bytes", "parts", "compression_ratio", "cache_hit_ratio",
                                       "connections", "busy")}
    return {**shown, "state": row["state"][:SHOWN], "p99_ms": slowest}


def stores(call: Call) -> Stores:
    """Return the stores, with states of the last second and sizes of the last half minute."""
    return Stores(msgspec.convert(rows_of(call.desk.figures()), list[Store]))


ROUTES = (Route("/api/stores", stores, "Every store: health, size, connections, times of its calls", Stores),)
