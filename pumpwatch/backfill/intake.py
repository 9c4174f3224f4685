"""Process the rows of a history's answer: compare them with the store, and store the rows that are missing in a gap."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from pumpwatch.backfill.access import HistoryAccess, Means
from pumpwatch.backfill.judge import Range
from pumpwatch.backfill.work import GapWork
from pumpwatch.clock import NS_PER_S
from pumpwatch.errors import BadFrame
from pumpwatch.model import Flag, Gap, GapState, IdKind, Int64, TradeBatch
from pumpwatch.pipeline.admission import Compared
from pumpwatch.pipeline.parse import Parsed
from pumpwatch.pipeline.seen_ids import ids_of
from pumpwatch.records import KEPT_BYTES, Quarantined, Records

log = logging.getLogger(__name__)

DURABLE_S = 10.0
SLACK_NS = NS_PER_S  # the times of a stored trade and of its row in the history may differ by this much
CONFLICTS_KEPT = 1000  # per venue; more are neither recorded nor logged
PROOF = 3  # stored trades among unknown rows that prove that the history uses other ids


class Stopping(Exception):
    """The backfill is stopping and must not store more trades."""


class Unsettled(Exception):
    """Try again later; the text says why. within_s: the latest time for it, because the history moves on; inf: any time."""

    def __init__(self, reason: str, within_s: float = math.inf) -> None:
        super().__init__(reason)
        self.within_s = within_s


class Intake:
    """Processes the answers for one piece of work, whose bounds are [start_ns, end_ns) or its ids."""

    def __init__(self, access: HistoryAccess, means: Means, work: GapWork, margin_ns: int,
                 stopping: Callable[[], bool]) -> None:
        self._access, self._means, self._work, self._margin_ns = access, means, work, margin_ns
        self._stopping = stopping
        self._stores = means.stores
        self.start_ns = self.end_ns = 0
        self.lacking = 0
        self.oldest_ns = 2**63 - 1  # the time of the oldest trade that was stored
        self.gaps: list[Gap] = []  # of this symbol, completed or opened by what was stored
        self._stored_ids: list[Int64] = []
        self._agreed = False  # a row of the history is stored under the same id

    def found_in(self, gap: Gap) -> int:
        """Return the number of trades stored here whose ids belong to a gap."""
        if len(self._stored_ids) > 1:
            self._stored_ids = [np.sort(np.concatenate(self._stored_ids))]
        first, end = gap.first_id or 0, (gap.last_id or 0) + 1
        return sum(int(ids.searchsorted(end) - ids.searchsorted(first)) for ids in self._stored_ids)

    def store_missing(self, parsed: Parsed) -> tuple[TradeBatch, TradeBatch]:
        """Store the missing trades; return the rows near the gap, and the stored trades of the same time.

        Raises Unsettled if the trades read so far do not become durable, BadFrame if the history has other ids.
        """
        parsed = self._whole_aggregates(parsed)
        near = self._near(parsed.batch)
        void = np.zeros(len(parsed.batch), np.bool_) if parsed.void is None else parsed.void
        batch, used_up = parsed.batch.take(near & ~void), parsed.batch.take(near & void)
        if not len(batch) and not len(used_up):
            return batch, TradeBatch.empty()
        compared, stored = self._compare(batch)
        inside = self._inside(batch)
        chosen = compared.new & inside
        if (compared.unsure & inside).any():  # these were dropped, or were on their way to the store
            before = compared.unsure
            compared, stored = self._compare(batch)
            chosen = (compared.new | (compared.unsure & before)) & inside  # rows seen only since then are on their way
        self._check_ids(batch, compared, stored)
        self._store(compared.batch.take(chosen), used_up.take(self._inside(used_up)), batch.trade_id)
        self._quarantine_conflicts(batch, stored, compared.conflicts)
        self.lacking += self._lacking(batch, stored)
        rows = TradeBatch.concat([batch, used_up]) if len(used_up) else batch
        return rows, stored

    def _whole_aggregates(self, parsed: Parsed) -> Parsed:
        """Leave out rows that join a stored trade with others, because they would count it twice.

        The void rows after a row use up the ids of the trades that it joins.
        """
        batch, void = parsed.batch, parsed.void
        joins = (batch.flags & Flag.AGGREGATED) > 0
        if void is None or not joins.any() or not self._near(batch).any():
            return parsed
        if not self._stores.wait_durable(DURABLE_S):
            raise Unsettled("trades wait for the disk")
        near = batch.take(self._near(batch))
        stored = self._stores.stored(self._work.number, int(near.timestamp.min()) - SLACK_NS,
                                     int(near.timestamp.max()) + SLACK_NS)
        known = np.isin(batch.trade_id, stored.trade_id) | ~self._inside(batch)
        group = np.cumsum(~void) - 1
        heads = np.flatnonzero(~void)
        spoilt = np.zeros(len(heads) + 1, np.bool_)
        np.logical_or.at(spoilt, group, known)
        keep = ~(spoilt[group] & joins[heads[np.maximum(group, 0)]]) if len(heads) else ~void
        return parsed.take(keep)

    def _near(self, batch: TradeBatch) -> NDArray[np.bool_]:
        beside = ((batch.timestamp >= self.start_ns - self._margin_ns) & (batch.timestamp < self.end_ns + self._margin_ns))
        return beside | self._inside(batch)

    def _inside(self, batch: TradeBatch) -> NDArray[np.bool_]:
        work = self._work
        inside = self._own(batch) if work.by_jump else (batch.timestamp >= self.start_ns) & (batch.timestamp < self.end_ns)
        if work.beside is not None and len(batch):
            inside |= _within(batch.trade_id, work.beside.near(int(batch.trade_id.min()), int(batch.trade_id.max()), work))
        return inside

    def _own(self, batch: TradeBatch) -> NDArray[np.bool_]:
        gap = self._work.gap
        if gap.first_id is None or gap.last_id is None:
            return np.ones(len(batch), np.bool_)
        return (batch.trade_id >= gap.first_id) & (batch.trade_id <= gap.last_id)

    def _compare(self, batch: TradeBatch) -> tuple[Compared, TradeBatch]:
        """Compare rows with the store once everything seen so far is stored. No other greenlet runs after the comparison."""
        if not self._stores.wait_durable(DURABLE_S):
            raise Unsettled("trades wait for the disk")
        stored = TradeBatch.empty()
        if len(batch):
            slack_ns = SLACK_NS + self._access.venue.history.resolution_ns
            stored = self._stores.stored(self._work.number, int(batch.timestamp.min()) - slack_ns,
                                         int(batch.timestamp.max()) + slack_ns)
        return self._stores.pipeline.compare(self._work.number, batch, stored), stored

    def _check_ids(self, batch: TradeBatch, compared: Compared, stored: TradeBatch) -> None:
        """Raise BadFrame if the history has other ids than the stored trades.

        The proof is that none of its rows is stored, although other trades between its first and its last row are. Contiguous
        ids need no such check, because the ids around a gap must fit.
        """
        self._agreed |= compared.stored > 0
        if self._agreed or self._access.venue.id_kind is IdKind.CONTIGUOUS or len(batch) < PROOF:
            return
        beside = (stored.timestamp > int(batch.timestamp.min())) & (stored.timestamp < int(batch.timestamp.max()))
        if int(beside.sum()) >= PROOF:
            raise BadFrame(f"none of {len(batch)} trades of the history is stored although {int(beside.sum())} others of that "
                           "time are: the history uses other ids")

    def _store(self, chosen: TradeBatch, used_up: TradeBatch, answered: Int64) -> None:
        if self._stopping():
            raise Stopping
        taken = TradeBatch.concat([chosen, used_up]) if len(used_up) else chosen
        if len(used_up):
            taken = taken.take(np.argsort(taken.trade_id, kind="stable"))
        gaps = self._stores.pipeline.add_history(self._work.number, taken)
        if self._access.venue.history.skips_ids and len(answered):
            gaps = [gap for gap in gaps if gap.state is not GapState.OPEN or not _left_out(gap, answered)]
        self.gaps += gaps
        if len(chosen):
            self._stores.put(chosen, Records(gaps=[gap for gap in gaps if gap.state is GapState.OPEN]))
            self._work.found += int(self._own(chosen).sum())
            self.oldest_ns = min(self.oldest_ns, int(chosen.timestamp.min()))
            self._stored_ids.append(np.sort(chosen.trade_id))
            self._means.stats.add("backfilled_trades_total", len(chosen), venue=self._access.venue.name)

    def _lacking(self, batch: TradeBatch, stored: TradeBatch) -> int:
        """Return the number of stored trades that an answer without contiguous ids lacks between its first and last row."""
        if self._access.venue.id_kind not in (IdKind.MONOTONIC, IdKind.UNIQUE) or not len(batch) or not len(stored):
            return 0
        slack_ns = SLACK_NS if self._access.venue.history.resolution_ns else 0
        ordinary = ((stored.flags & ~np.uint8(Flag.BACKFILLED)) == 0) & (
            stored.timestamp > int(batch.timestamp.min()) + slack_ns) & (stored.timestamp < int(batch.timestamp.max()) - slack_ns)
        there = set(ids_of(batch.trade_id, batch.text_id))
        rows = stored.take(ordinary)
        return sum(trade_id not in there for trade_id in ids_of(rows.trade_id, rows.text_id))

    def _quarantine_conflicts(self, batch: TradeBatch, stored: TradeBatch, conflicts: list[tuple[int, int]]) -> None:
        """Quarantine, once each, rows of the history with the id of a stored trade and different contents."""
        venue, now_ns, noted = self._access.venue, self._means.clock.now_ns(), self._access.conflicts
        fresh = []
        for row, at in conflicts:
            key = self._work.number, batch.take(slice(row, row + 1)).id_texts()[0]
            if key not in noted and len(noted) < CONFLICTS_KEPT:
                noted.add(key)
                fresh.append((row, at))
        if not fresh:
            return
        self._means.stats.add("history_conflicts_total", len(fresh), venue=venue.name)
        self._stores.record(Records(quarantine=[
            Quarantined(now_ns, venue.exchange, venue.market_type,
                        f"conflict: the history has another trade of {self._work.symbol} under a stored id",
                        f"history: {_shown(batch, row)}\nstored: {_shown(stored, at)}".encode()[:KEPT_BYTES])
            for row, at in fresh]))
        log.warning("history contradicts stored trades venue=%s symbol=%s count=%d history=%r stored=%r", venue.name,
                    self._work.symbol, len(fresh), _shown(batch, fresh[0][0]), _shown(stored, fresh[0][1]))


def _left_out(gap: Gap, answered: Int64) -> bool:
    """Return whether a history leaves out all ids of a gap between two of its rows."""
    if gap.first_id is None or gap.last_id is None or gap.first_id <= answered.min() or gap.last_id >= answered.max():
        return False
    return not ((answered >= gap.first_id) & (answered <= gap.last_id)).any()


def _within(ids: Int64, ranges: list[Range]) -> NDArray[np.bool_]:
    """Return a mask of the ids that are in any of the ranges, which are ordered by their first ids."""
    if not ranges:
        return np.zeros(len(ids), np.bool_)
    firsts, lasts = np.array(ranges, np.int64).T
    at = firsts.searchsorted(ids, "right") - 1
    inside: NDArray[np.bool_] = (at >= 0) & (ids <= np.maximum.accumulate(lasts)[at])
    return inside


def _shown(batch: TradeBatch, row: int) -> str:
    one_row = batch.take(slice(row, row + 1))
    return (f"id={one_row.id_texts()[0]} timestamp={int(batch.timestamp[row])} price={float(batch.price[row])!r}"
            f" quantity={float(batch.quantity[row])!r} side={int(batch.side[row])}")
