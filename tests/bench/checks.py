"""Compare the stored trades with those that were sent, one by one, after the collector has ended."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pumpwatch.catalogue import Catalogue
from pumpwatch.sim.ground_truth import SENT, Truth
from pumpwatch.store.journal import JournalReader
from tests.bench.collectors import Collector, Cryptofeed, Ours
from tests.bench.database import Database
from tests.bench.venues import Venues, compare, per_symbol, sent_keys, stored_keys

SLICE_NS = 5_000_000_000
CLUMP_NS = 50_000


@dataclass(frozen=True, slots=True)
class Verdict:
    """read_ms: p50 and p99 from the venue's send to `received_at`, where the collector stores that per trade."""

    sent: int
    stored: int
    missing: int
    doubled: int
    strangers: int  # stored, and never sent
    read_ms: tuple[float, float] | None = None


def together(truth: Truth, from_ns: int, to_ns: int) -> float:
    """Return the size of the clump in which the average trade left the venue, on all connections; 1 is a trade on its own.

    Trades belong to one clump when less than CLUMP_NS lies between one and the next. At low rates the internet delivers
    trades one by one, and a reader that wakes up for each frame pays most there.
    """
    at = truth.records["sent_at"][truth.records["state"] == SENT]
    at = np.sort(at[(at >= from_ns) & (at < to_ns)])
    if not len(at):
        return 0.0
    edges = np.flatnonzero(np.diff(at, prepend=at[0] - 2 * CLUMP_NS, append=at[-1] + 2 * CLUMP_NS) >= CLUMP_NS)
    counts = np.diff(edges)
    return float((counts * counts).sum() / counts.sum())


def check(collector: Collector, venues: Venues) -> Verdict:
    """Compare: ours in its journal and in QuestDB where it has one, cryptofeed in QuestDB or by its count."""
    truth = venues.truth()
    if isinstance(collector, Ours):
        verdict = _journal(collector, truth)
        if collector.database is None:
            return verdict
        stored = _database(collector.database, collector.tables_by_venue(), truth, "trade_id::long")
        return Verdict(verdict.sent, stored.stored, verdict.missing + stored.missing, verdict.doubled + stored.doubled,
                       verdict.strangers + stored.strangers, verdict.read_ms)
    if isinstance(collector, Cryptofeed) and collector.database is not None:
        return _database(collector.database, collector.tables_by_venue(), truth, "id")
    sent, received = len(sent_keys(truth)), collector.stored()
    return Verdict(sent, received, max(sent - received, 0), 0, max(received - sent, 0))


def _journal(collector: Ours, truth: Truth) -> Verdict:
    """Read the journal in slices, so that a long burst fits into memory."""
    catalogue = Catalogue()
    reader = JournalReader(collector.data, catalogue)
    reader.load_instruments()
    names = catalogue.names(range(len(catalogue)))
    named = dict(enumerate(names))
    records = truth.records[truth.records["state"] == SENT]
    keys, received = [], []
    if len(records):
        first, last = int(records["timestamp"].min()), int(records["timestamp"].max()) + 1
        for start in range(first, last, SLICE_NS):
            batch = reader.query(names, start, min(start + SLICE_NS, last))
            keys.append(stored_keys(truth, batch, named))
            received.append(batch.received_at)
    stored = np.concatenate([np.empty(0, np.int64), *keys])
    sent = sent_keys(truth)
    read_ms = _read_ms(sent, records["sent_at"], stored, np.concatenate([np.empty(0, np.int64), *received]))
    return Verdict(len(sent), len(stored), *compare(sent, stored), read_ms=read_ms)


def _read_ms(sent: np.ndarray, sent_at: np.ndarray, stored: np.ndarray,
             received_at: np.ndarray) -> tuple[float, float] | None:
    if not len(stored) or len(sent) != len(sent_at):
        return None
    by_sent, by_stored = np.argsort(sent), np.argsort(stored)
    _, left, right = np.intersect1d(sent[by_sent], stored[by_stored], return_indices=True)
    took = (received_at[by_stored][right] - sent_at[by_sent][left]) / 1e6
    return float(np.percentile(took, 50)), float(np.percentile(took, 99))


def _database(database: Database, tables: dict[str, tuple[str, str, str]], truth: Truth, id_column: str) -> Verdict:
    """Compare count, distinct ids, lowest and highest id of each symbol: ids have no holes, so that settles it."""
    wanted = per_symbol(truth)
    sent = stored = missing = doubled = strangers = 0
    for venue, (table, where, spelling) in tables.items():
        found = database.per_symbol(table, "symbol", id_column, where)
        for symbol, (count, _, low, high) in wanted[venue].items():
            spelt = spelling.format(symbol=symbol, coin=symbol.removesuffix("USDT"))
            rows, distinct, first, last = found.pop(spelt, [0, 0, low, high])
            sent, stored = sent + count, stored + rows
            missing += max(count - distinct, 0)
            doubled += rows - distinct
            strangers += (first < low) + (last > high) + max(distinct - count, 0)
        strangers += sum(one[0] for one in found.values())
    return Verdict(sent, stored, missing, doubled, strangers)
