"""The open gaps of one venue, and the work that is left of them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import replace

import numpy as np

from pumpwatch.backfill.access import Means, VenueAccess
from pumpwatch.backfill.filler import fill_of
from pumpwatch.backfill.judge import BY_ID, BY_NOTHING, UNKNOWN, Verdict
from pumpwatch.backfill.order import ordered
from pumpwatch.backfill.work import GapWork, OpenGap, WorkKey, symbols_of, works_of
from pumpwatch.model import Gap, GapState
from pumpwatch.records import GapFill, Records
from pumpwatch.store.pending_records import GapKey, gap_key

EARLY_S = 1.5  # a connection that is down extends its gap more often
GONE = "the venue does not list the symbol any more"


class VenueQueue:
    """Knows which symbols of which gaps are to be worked on. It asks nothing itself.

    A gap counts once its end has not changed for `settle_s`: a connection that is down extends its gap each second. A history
    without pages is looked at earlier too, for the trades that it would have forgotten by then.
    """

    def __init__(self, access: VenueAccess, means: Means, volume_of: Callable[[int], float]) -> None:
        self.access, self._means, self._volume_of = access, means, volume_of
        self._open: dict[GapKey, OpenGap] = {}
        self._closed: dict[GapKey, int] = {}  # gaps that were closed, until the ledger shows it: their ends
        self._works: dict[WorkKey, GapWork] = {}
        self._queue: list[GapWork] = []
        self._jumps: dict[int, list[GapWork]] = {}  # by instrument: its gaps by jumps in ids
        self._split: set[GapKey] = set()  # gaps whose work is in `_works`
        self._busy: set[int] = set()  # instruments that are worked on
        self._windows: Mapping[int, int] = {}
        self._stale = False
        self.done = 0

    @property
    def left(self) -> int:
        """Return how many symbols of gaps are still to be worked on."""
        return len(self._works)

    def refresh(self, gaps: Iterable[Gap], fills: Iterable[GapFill]) -> None:
        """Take the venue's open gaps as the ledger has them."""
        now, before, current = self._means.clock.monotonic(), self._open, dict[GapKey, OpenGap]()
        for gap in gaps:
            key = gap_key(gap)
            if self._closed.get(key, -1) >= gap.to_ns:
                continue
            known = before.get(key)
            if known is None or known.gap.to_ns != gap.to_ns:
                self._forget(key)
                known = OpenGap(gap, now)
            current[key] = known
        for fill in fills:
            known = current.get(gap_key(fill.gap))
            if known is not None and fill.gap.to_ns >= known.gap.to_ns:
                known.fills.setdefault(fill.symbol, fill)
        for key in before.keys() - current.keys():
            self._forget(key)
        self._closed = {key: to_ns for key, to_ns in self._closed.items() if key not in current}
        self._open = current

    def _forget(self, key: GapKey) -> None:
        if key in self._split:
            self._split.discard(key)
            self._works = {work_key: work for work_key, work in self._works.items() if work_key[0] != key}
            self._stale = True

    def split(self, windows: Mapping[int, int]) -> None:
        """Make work of the gaps that have settled; record what ids seen since then prove. windows: see `order.ordered`."""
        now, settle_s = self._means.clock.monotonic(), self._means.options.settle_s
        if not self.access.venue.history.pages:
            settle_s = min(settle_s, EARLY_S)  # its newest rows alone: it moves on while we wait
        if not self.access.listed():
            return  # the symbols of a gap of the whole venue are not known yet
        for key, found in list(self._open.items()):
            if key not in self._split and now - found.settled_at >= settle_s:
                self._split.add(key)
                self._leave_out_gone(found)
                for work in works_of(found, self.access.ids):
                    self._works[work.key] = work
                self._stale = True
                self._close_if_done(key)
        for key in list(self._split):
            self._prove(key)
        if self._stale or windows != self._windows:
            self._windows, self._stale = dict(windows), False
            self._queue = ordered(self._works.values(), self._volume_of, self._windows)
            self._jumps = {}
            for work in self._queue:
                if work.by_jump:
                    self._jumps.setdefault(work.number, []).append(work)

    def _leave_out_gone(self, found: OpenGap) -> None:
        gone = [symbol for symbol in found.left(symbols_of(found.gap, ())) if symbol not in self.access.ids]
        for symbol in gone:
            self._note(found, Verdict(GapState.LOST, BY_NOTHING, UNKNOWN, GONE, found.gap.from_ns, found.gap.to_ns), symbol)

    def _prove(self, key: GapKey) -> None:
        """Record the symbols of a gap of which every id was seen."""
        found = self._open[key]
        if found.gap.first_id is not None:
            return
        works = [work for symbol in found.left(symbols_of(found.gap, self.access.ids))
                 if (work := self._works.get((key, symbol))) is not None and work.within_run]
        if not works:
            return
        numbers = np.array([work.number for work in works], np.int32)
        whole = self._means.stores.pipeline.continuous(numbers, found.gap.from_ns, found.gap.to_ns)
        for row in np.flatnonzero(whole).tolist():
            if works[row].number not in self._busy:
                self._note(found, Verdict(GapState.FILLED, BY_ID), works[row].symbol, works[row].found)
        self._close_if_done(key)

    def _note(self, found: OpenGap, verdict: Verdict, symbol: str, trades: int = 0) -> None:
        fill = fill_of(found.gap, symbol, verdict, trades, self._means.clock.now_ns())
        self._take(found, fill)
        self._means.stores.record(Records(fills=[fill]))

    def _take(self, found: OpenGap, fill: GapFill) -> None:
        found.fills[fill.symbol] = fill
        if fill.state is not GapState.OPEN and self._works.pop((gap_key(found.gap), fill.symbol), None) is not None:
            self._stale = True
        self.done += fill.state is not GapState.OPEN

    def take_next(self) -> GapWork | None:
        """Return the next work that may be done now, None without any; `give_back` ends it."""
        now = self._means.clock.monotonic()
        for work in self._queue:
            if work.not_before <= now and work.number not in self._busy and work.key in self._works:
                self._busy.add(work.number)
                work.beside = [other.gap for other in self._jumps.get(work.number, ()) if other is not work]
                return work
        return None

    def give_back(self, work: GapWork, fill: GapFill | None) -> None:
        """End a work, with its result if there is one. The result of a gap that has grown meanwhile is void."""
        self._busy.discard(work.number)
        found = self._open.get(gap_key(work.gap))
        if fill is None or found is None or found.gap.to_ns != work.gap.to_ns:
            return
        self._take(found, fill)
        self._means.stores.record(Records(fills=[fill]))
        self._close_if_done(gap_key(work.gap))

    def _close_if_done(self, key: GapKey) -> None:
        """Record a gap as filled or lost once all of its symbols are."""
        found = self._open[key]
        if found.left(symbols_of(found.gap, self.access.ids)):
            return
        del self._open[key]
        self._split.discard(key)
        self._closed[key] = found.gap.to_ns
        self._means.stores.record(Records(gaps=[replace(found.gap, state=found.result())]))

    def waiting(self) -> Iterator[GapWork]:
        """Yield the work that is left."""
        yield from self._works.values()
