"""Read `status.json`, the figures in a data folder, and validate it: the file may be damaged."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Annotated, Any

import msgspec

FILE = "status.json"
LARGEST_BYTES = 16_000_000  # a hundred times the figures of every venue

Count = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]
Unreadable = (OSError, ValueError, RecursionError, msgspec.MsgspecError)


class _Pair(msgspec.Struct):
    """The figures of a connection and its double."""

    connection: Count
    double: Count
    symbols: Count = 0
    up: tuple[bool, bool] = (False, False)
    first: tuple[Count, Count] = (0, 0)
    lead_ms: tuple[float, float] = (0.0, 0.0)


class _Row(msgspec.Struct):
    """The figures of one venue."""

    exchange: str
    market_type: str
    connections: Count = 0
    connections_up: Count = 0
    instruments: Count = 0
    slices: Count = 0  # the number of slices of its symbols in a cluster, 0 without a cluster
    slices_read: list[int] = []  # the slices that are read here
    elsewhere: Count = 0  # symbols that other collectors read
    subscribed: Count = 0
    refused: list[str] = []
    silent: list[str] = []
    unlisted: list[str] = []
    list_problem: str = ""
    no_coin_listed: bool = False
    problem: str = ""
    down_s: float = 0.0
    silent_s: float = 0.0
    pairs: list[_Pair] = []
    redundancy_problem: str = ""
    renewing: Count = 0
    trades_total: Count = 0
    trades_per_s: float = 0.0
    lag_ms: float = 0.0
    gaps_open: int = 0
    gaps_filled: int = 0
    gaps_lost: int = 0
    doubled_total: Count = 0
    quarantined_total: Count = 0


class _Calls(msgspec.Struct):
    operation: str
    total: Count
    failed: Count
    running: Count
    seconds: float
    p50_ms: float | None
    p99_ms: float | None
    errors: dict[str, Count]


class _Sink(msgspec.Struct):
    name: str
    state: str
    backlog_trades: Count = 0
    calls: list[_Calls] = []


class _Journal(msgspec.Struct):
    bytes: Count = 0
    commits: Count = 0
    backlog_trades: Count = 0
    dropped_trades: Count = 0
    durable_trades: Count = 0


class _Recent(msgspec.Struct):
    trades: Count = 0
    bytes: Count = 0


class _Backfill(msgspec.Struct):
    enabled: bool = False
    done: Count = 0
    left: Count = 0
    left_s: float = 0.0
    trades: Count = 0
    requests: Count = 0
    open: Count = 0
    filled: Count = 0
    lost: Count = 0


class _Alert(msgspec.Struct):
    name: str
    subject: str = ""
    severity: str = ""
    summary: str = ""
    description: str = ""
    since_ns: Count = 0
    runbook: str = ""


class _Figures(msgspec.Struct):
    """The fields that readers use. Other fields of the file are not validated."""

    pid: Annotated[int, msgspec.Meta(ge=0, le=2**31 - 1)]
    written_at_ns: Count
    started_at_ns: Count = 0
    up_s: float = 0.0
    version: str = ""
    venues: list[_Row] = []
    sinks: list[_Sink] = []
    journal: _Journal = msgspec.field(default_factory=_Journal)
    recent: _Recent = msgspec.field(default_factory=_Recent)
    backfill: _Backfill = msgspec.field(default_factory=_Backfill)
    active_alerts: list[_Alert] = []
    listing: dict[str, Any] = {}


def read_figures(folder: Path) -> dict[str, Any]:
    """Return the figures unchanged. Raises FileNotFoundError, or one of `Unreadable` if the file is damaged."""
    handle = os.open(folder / FILE, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)  # does not block on a pipe
    with os.fdopen(handle, "rb") as file:
        content = file.read(LARGEST_BYTES + 1)
    if len(content) > LARGEST_BYTES:
        raise ValueError(f"it is larger than {LARGEST_BYTES:,} bytes")
    msgspec.json.decode(content, type=_Figures)
    figures: dict[str, Any] = msgspec.json.decode(content)
    return figures
