"""The ground truth: every trade that the simulated venues sent, one fixed-size record per trade and connection.

A record in `trades.bin` is final. Its state is SENT when the kernel has taken the last byte of its TLS record, else the
reason why the connection never got it. A trade without a subscriber has a record too, because its id is used
up. `events.jsonl` has connections, faults and notices with their times; `names.json` the venues and symbols.
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
PAST = 2  # sent again as an earlier trade, on subscribing
NO_SUBSCRIBER = 10
UNSENT = 11  # still queued when its connection ended
WITHHELD = 12  # dropped by a fault; the connection stayed open
SPOILT = 13  # its frame was sent, but made unreadable by a fault
STATE_NAMES = {SENT: "sent", DOUBLED: "doubled", PAST: "past", NO_SUBSCRIBER: "no_subscriber", UNSENT: "unsent",
               WITHHELD: "withheld", SPOILT: "spoilt"}  # in the status

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
    """Collects records and events; `flush` writes the records, events are written at once. folder None: nothing is written."""

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
        """Queue final records to be written; the caller must not change them afterwards."""
        if len(records):
            self._waiting.append(records)

    def event(self, kind: str, **facts: Any) -> None:
        """Write an event at once."""
        if self._events is not None:
            self._events.write(json.dumps({"at_ns": time.time_ns(), "kind": kind, **facts}, ensure_ascii=False) + "\n")
            self._events.flush()

    def flush(self) -> None:
        """Write the queued records and update `counts` (records by state)."""
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
    """The ground truth of one simulation, as `load_truth` read it."""

    records: Records
    venues: list[str]  # by records["venue"]
    symbols: list[list[str]]  # by venue, by records["symbol"]
    events: list[dict[str, Any]]

    def trades(self, venue: str = "", *, made: bool = False) -> Records:
        """Return the trades that a perfect collector has: every trade sent on any connection, once, without void rows.

        made: include trades that were not sent, as a collector that fills its gaps has them.
        """
        records = self.records
        keep = (records["flags"] & VOID) == 0
        if not made:
            keep &= records["state"] <= PAST
        if venue:
            keep &= records["venue"] == self.venues.index(venue)
        kept = records[keep]
        group = kept["venue"] * np.int64(2**32) + kept["symbol"]
        order = np.lexsort((kept["trade_id"], group))
        group, number = group[order], kept["trade_id"][order]
        first = np.append([True], (group[1:] != group[:-1]) | (number[1:] != number[:-1]))[:len(kept)]
        once = kept[order[first]]
        in_time: Records = once[np.argsort(once["timestamp"], kind="stable")]
        return in_time

    def only(self, venue: str) -> Truth:
        """Return the part of one venue, with all events."""
        number = self.venues.index(venue)
        records = self.records[self.records["venue"] == number]
        records["venue"] = 0
        return Truth(records, [venue], [self.symbols[number]], self.events)

    def keys(self, records: Records) -> set[tuple[str, str, int]]:
        """Return (venue, symbol, id) of records, void rows included."""
        return {(self.venues[venue], self.symbols[venue][symbol], number) for venue, symbol, number in
                zip(records["venue"].tolist(), records["symbol"].tolist(), records["trade_id"].tolist(), strict=True)}


def load_truth(folder: Path) -> Truth:
    """Read a folder of ground truth. Raises StorageError if it is not one.

    A record cut off at the end of the file is left out: the simulator was killed.
    """
    try:
        names = json.loads((folder / NAMES).read_text("utf-8"))
        blob = np.fromfile(folder / TRADES, np.uint8)
        lines = (folder / EVENTS).read_text("utf-8").split("\n")  # splitlines would also split at U+2028 in a title
    except (OSError, ValueError) as error:
        raise StorageError(f"{folder}: not a folder of ground truth: {error}",
                           "give the folder that the simulator named when it started") from error
    records = blob[:len(blob) - len(blob) % RECORD.itemsize].view(RECORD)
    venues = names["venues"]
    return Truth(records, [venue["venue"] for venue in venues], [venue["symbols"] for venue in venues],
                 [json.loads(line) for line in lines if line.endswith("}")])


def id_number(text: str) -> int:
    """Return the ground truth's number of a text id: its last twelve characters, decimal or hexadecimal.

    A dialect whose venue has such ids (UUIDs) ends them in that number. Returns -1 if the text does not end in one.
    """
    tail = text[-12:]
    try:
        return int(tail) if tail.isdecimal() else int(tail, 16)
    except ValueError:
        return -1
