"""What the simulated venues really sent: one fixed-size record a trade and connection, in `trades.bin`.

A record is written once it is settled: SENT when the last byte of its TLS record was handed to the kernel for its
connection, or the reason why it never was. A trade that happened while nobody was subscribed is there as well (its id
is used up). `events.jsonl` has connections, faults and notices with their times; `names.json` the venues and symbols.
"""

from __future__ import annotations

import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pumpwatch.errors import StorageError
from pumpwatch.sim.rows import VOID, Rows

SENT = 0
DOUBLED = 1  # sent once more, by a fault
PAST = 2  # sent again as history, on subscribing
NO_SUBSCRIBER = 10
UNSENT = 11  # still queued when its connection went
WITHHELD = 12  # swallowed by a fault, the connection standing
SPOILT = 13  # its frame was sent, but made unreadable by a fault

RECORD = np.dtype([
    ("venue", "u1"), ("flags", "u1"), ("sell", "?"), ("state", "u1"), ("symbol", "<i4"), ("connection", "<i4"),
    ("trade_id", "<i8"), ("timestamp", "<i8"), ("price", "<f8"), ("quantity", "<f8"), ("sent_at", "<i8"),
])
Records = NDArray[np.void]
TRADES, EVENTS, NAMES = "trades.bin", "events.jsonl", "names.json"


def records_of(venue: int, rows: Rows, connection: NDArray[np.int32] | int, state: int, now_ns: int) -> Records:
    """Return rows as records."""
    records = np.empty(len(rows), RECORD)
    records["venue"], records["state"], records["sent_at"], records["connection"] = venue, state, now_ns, connection
    records["flags"], records["sell"], records["symbol"] = rows.flags, rows.sell, rows.symbol
    records["trade_id"], records["timestamp"] = rows.trade_id, rows.timestamp
    records["price"], records["quantity"] = rows.prices(), rows.base_quantities()
    return records


class TruthWriter:
    """Collects records and writes them about once a second."""

    def __init__(self, folder: Path | None, names: Sequence[tuple[str, Sequence[str]]],
                 about: Mapping[str, Any]) -> None:
        self.counts: dict[int, int] = {}
        self._waiting: list[Records] = []
        self._trades = self._events = None
        if folder is not None:
            folder.mkdir(parents=True, exist_ok=True)
            listed = [{"venue": venue, "symbols": list(symbols)} for venue, symbols in names]
            (folder / NAMES).write_text(json.dumps({"venues": listed, **about}, ensure_ascii=False), "utf-8")
            self._trades = (folder / TRADES).open("wb")
            self._events = (folder / EVENTS).open("w", encoding="utf-8")

    def add(self, records: Records) -> None:
        """Take settled records; they are not changed any more."""
        if len(records):
            self._waiting.append(records)

    def event(self, kind: str, **facts: Any) -> None:
        """Write down an event at once."""
        if self._events is not None:
            self._events.write(json.dumps({"at_ns": time.time_ns(), "kind": kind, **facts}, ensure_ascii=False) + "\n")
            self._events.flush()

    def flush(self) -> None:
        """Write what waits and bring `counts` (records by state) up to date."""
        waiting, self._waiting = self._waiting, []
        if not waiting:
            return
        records = np.concatenate(waiting) if len(waiting) > 1 else waiting[0]
        for state, count in enumerate(np.bincount(records["state"]).tolist()):
            if count:
                self.counts[state] = self.counts.get(state, 0) + count
        if self._trades is not None:
            self._trades.write(records.tobytes())
            self._trades.flush()

    def close(self) -> None:
        """Write everything and close the files."""
        self.flush()
        for file in (self._trades, self._events):
            if file is not None:
                file.close()


@dataclass(frozen=True)
class Truth:
    """A folder of truth, read."""

    records: Records
    venues: list[str]  # by records["venue"]
    symbols: list[list[str]]  # by venue, by records["symbol"]
    events: list[dict[str, Any]]

    def trades(self, venue: str = "") -> Records:
        """Return what a perfect collector has: each trade that was sent on any connection, once, void rows left out."""
        records = self.records
        keep = (records["state"] <= PAST) & (records["flags"] & VOID == 0)
        if venue:
            keep &= records["venue"] == self.venues.index(venue)
        kept = records[keep]
        key = np.empty(len(kept), [("venue", "u1"), ("symbol", "<i4"), ("trade_id", "<i8")])
        for name in ("venue", "symbol", "trade_id"):
            key[name] = kept[name]
        return np.sort(kept[np.unique(key, return_index=True)[1]], order="timestamp", kind="stable")

    def keys(self, records: Records) -> set[tuple[str, str, int]]:
        """Return (venue, symbol, id) of records; a void row's id is one too."""
        return {(self.venues[venue], self.symbols[venue][symbol], number) for venue, symbol, number in
                zip(records["venue"].tolist(), records["symbol"].tolist(), records["trade_id"].tolist(), strict=True)}


def load_truth(folder: Path) -> Truth:
    """Read a folder of truth; a record cut off at the end of the file (the simulator was killed) is left out."""
    try:
        names = json.loads((folder / NAMES).read_text("utf-8"))
        blob = np.fromfile(folder / TRADES, np.uint8)
        lines = (folder / EVENTS).read_text("utf-8").splitlines()
    except (OSError, ValueError) as error:
        raise StorageError(f"{folder}: not a folder of ground truth: {error}",
                           "give the folder that the simulator named when it started") from error
    records = blob[:len(blob) - len(blob) % RECORD.itemsize].view(RECORD)
    venues = names["venues"]
    return Truth(records, [one["venue"] for one in venues], [one["symbols"] for one in venues],
                 [json.loads(line) for line in lines if line.endswith("}")])


def id_number(text: str) -> int:
    """Return the number that stands in the truth for an id in text: its last twelve characters, decimal or hexadecimal.

    A dialect whose venue has such ids (UUIDs) ends them in the number. -1: it ends in none.
    """
    tail = text[-12:]
    try:
        return int(tail) if tail.isdecimal() else int(tail, 16)
    except ValueError:
        return -1
