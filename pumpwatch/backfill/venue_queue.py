"""The open gaps of one venue, and the remaining work on them."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace

import gevent
import numpy as np
from gevent.event import Event

from pumpwatch.backfill.access import HistoryAccess, Means
from pumpwatch.backfill.filler import fill_of
from pumpwatch.backfill.intake import DURABLE_S
from pumpwatch.backfill.judge import BY_ID, BY_NOTHING, UNKNOWN, GapVerdict, Span, joined
from pumpwatch.backfill.order import UNLISTED, WorkOrder, rank
from pumpwatch.backfill.work import GapWork, Jumps, OpenGap, symbols_of, works_of
from pumpwatch.downtime import last_received_ns
from pumpwatch.model import Gap, GapState, IdKind
from pumpwatch.records import GapFill, Records
from pumpwatch.store.pending_records import GapKey, gap_key

EARLY_S = 1.5  # a connection that is down extends its gap more often
LONGEST_RUN_S, PAUSE_S = 0.003, 0.0001
MOST_FILLED = 100  # filled times per symbol; only the newest are kept
GONE = "the venue no longer lists the symbol"


class VenueQueue:
    """Manages the symbols of open gaps that need work. It sends no requests.

    A gap is worked on once its end has not changed for `settle_s`, because a broken connection extends its gap each second. A
    history without pages is also requested at once, and soon after the last change, for trades that it would forget by then.
    """

    def __init__(self, access: HistoryAccess, means: Means, volume_of: Callable[[int], float]) -> None:
        self.access, self._means, self._volume_of = access, means, volume_of
        self._open: dict[GapKey, OpenGap] = {}
        self._closed: dict[GapKey, int] = {}  # ends of closed gaps, until the ledger shows them as closed
        self._fresh: list[GapWork] = []  # not in the order yet
        self._order = WorkOrder()  # may contain finished works
        self._done_in_order = 0
        self._jumps: dict[int, Jumps] = {}  # by instrument
        self._filled: dict[str, list[Span]] = {}  # symbol -> its filled gaps, if ids prove nothing
        self._windows: Mapping[int, int] = {}
        self._paused_s = 0.0
        self._grew = Event()
        self.done = 0

    @property
    def left(self) -> int:
        """Return the number of symbols of gaps that still need work."""
        return sum(len(found.works) for found in self._open.values())

    @property
    def has_gaps(self) -> bool:
        """Return whether there are open gaps, or finished works that `split` must forget."""
        return bool(self._open or self._done_in_order)

    def refresh(self, gaps: Iterable[Gap], fills: Iterable[GapFill]) -> None:
        """Update the venue's open gaps from the ledger."""
        now, before, current = self._means.clock.monotonic(), self._open, dict[GapKey, OpenGap]()
        for gap in gaps:
            key = gap_key(gap)
            if self._closed.get(key, -1) >= gap.to_ns:
                continue
            known = before.get(key)
            if known is None or known.gap.to_ns != gap.to_ns:
                known = OpenGap(gap, now, grown=True, earlier=known.earlier | known.works) if known else OpenGap(gap, now)
            current[key] = known
        by_object: dict[int, OpenGap | None] = {}  # fills share their gap's object; its key is slow, with all its symbols
        for fill in fills:
            if id(fill.gap) not in by_object:
                by_object[id(fill.gap)] = current.get(gap_key(fill.gap))
            known = by_object[id(fill.gap)]
            if known is not None and fill.gap.to_ns >= known.gap.to_ns and fill.symbol not in known.fills:
                known.fills[fill.symbol] = fill
                self._add_filled_time(fill)
        for key, gone in before.items():
            if current.get(key) is not gone:
                self._forget(gone)
        self._closed = {key: to_ns for key, to_ns in self._closed.items() if key not in current}
        self._open = current

    def _forget(self, found: OpenGap) -> None:
        for work in found.works.values():
            work.done = True
        self._done_in_order += len(found.works)
        found.works.clear()

    def split(self, windows: Mapping[int, int]) -> None:
        """Make work from settled gaps; record the symbols whose ids prove that nothing is missing. windows: see `order.rank`.

        Lets other greenlets run meanwhile.
        """
        now, first_s, grown_s = self._means.clock.monotonic(), self._means.options.settle_s, self._means.options.settle_s
        if not self.access.venue.history.pages:  # a history of newest rows moves on meanwhile
            first_s, grown_s = 0.0, min(grown_s, EARLY_S)
        if not self.access.listed():
            return  # the symbols of a gap of the whole venue are not known yet
        for key, found in list(self._open.items()):
            if not found.split and now - found.settled_at >= (grown_s if found.grown else first_s):
                found.split = True
                self._leave_out_gone(found)
                for work in works_of(found, self.access.ids):
                    work.rank = rank(work, self._volume_of(work.number), windows.get(work.number, UNLISTED))
                    found.works[work.symbol] = work
                    self._pause()
                self._fresh += found.works.values()
                self._close_if_done(key)
                self._pause()
        self._prove()
        self._arrange(windows)

    def _pause(self) -> None:
        """Let other greenlets run if this one has run for LONGEST_RUN_S."""
        if time.perf_counter() - self._paused_s > LONGEST_RUN_S:
            gevent.sleep(PAUSE_S)
            self._paused_s = time.perf_counter()

    def _leave_out_gone(self, found: OpenGap) -> None:
        gone = [symbol for symbol in found.left(symbols_of(found.gap, ())) if symbol not in self.access.ids]
        verdict = GapVerdict(GapState.LOST, BY_NOTHING, UNKNOWN, GONE, found.gap.from_ns, found.gap.to_ns)
        self._record_verdict(found, verdict, [(symbol, 0) for symbol in gone])

    def _prove(self) -> None:
        """Record as filled the symbols of gaps whose ids were all seen, once everything seen is durable."""
        proven: list[tuple[GapKey, OpenGap, list[GapWork]]] = []
        for key, found in list(self._open.items()):
            if found.works and found.gap.first_id is None and next(iter(found.works.values())).within_run:
                works = list(found.works.values())
                numbers = np.fromiter((work.number for work in works), np.int32, len(works))
                whole = self._means.stores.pipeline.continuous(numbers, found.gap.from_ns, found.gap.to_ns)
                if whole.any():
                    proven.append((key, found, [works[row] for row in np.flatnonzero(whole).tolist()]))
                self._pause()
        if not proven or not self._means.stores.wait_durable(DURABLE_S):
            return
        for key, found, works in proven:
            if self._open.get(key) is found:
                self._record_verdict(found, GapVerdict(GapState.FILLED, BY_ID), [
                    (work.symbol, work.found) for work in works if not work.done and work.number not in self._order.busy])
                self._close_if_done(key)
                self._pause()

    def _record_verdict(self, found: OpenGap, verdict: GapVerdict, symbols: Sequence[tuple[str, int]]) -> None:
        """Record one verdict for several symbols, each with its number of fetched trades."""
        now_ns = self._means.clock.now_ns()
        fills = [fill_of(found.gap, symbol, verdict, trades, now_ns) for symbol, trades in symbols]
        for fill in fills:
            self._apply_fill(found, fill)
        if fills:
            self._means.stores.record(Records(fills=fills))

    def _apply_fill(self, found: OpenGap, fill: GapFill) -> None:
        found.fills[fill.symbol] = fill
        if fill.state is GapState.OPEN:
            return
        self._add_filled_time(fill)
        work = found.works.pop(fill.symbol, None)
        if work is not None:
            work.done = True
            self._done_in_order += 1
            found.earlier[fill.symbol] = work
        self.done += 1

    def _add_filled_time(self, fill: GapFill) -> None:
        """Add a filled time. After a kill it begins with the last received trade: no history must show the trades before it."""
        venue, gap = self.access.venue, fill.gap
        if fill.state is GapState.FILLED and gap.first_id is None and venue.id_kind is not IdKind.CONTIGUOUS:
            received_ns = last_received_ns(venue, gap)
            from_ns = gap.from_ns - 1 if received_ns is None else received_ns
            self._filled.setdefault(fill.symbol, []).append((from_ns, gap.to_ns))

    def _arrange(self, windows: Mapping[int, int]) -> None:
        """Add new work to the order, apply changed windows, and forget finished work."""
        moved = {number for number in self._windows.keys() | windows.keys() if self._windows.get(number) != windows.get(number)}
        self._windows = dict(windows)
        for work in self._fresh:
            if not work.done:
                self._order.add(work)
                self._jumps.setdefault(work.number, Jumps()).add(work)
                self._pause()
        if self._fresh:
            self.wake()
        self._fresh = []
        if not moved and 2 * self._done_in_order <= len(self._order):
            return
        for found in self._open.values() if moved else ():
            for work in found.works.values():
                if work.number in moved:
                    work.rank = rank(work, self._volume_of(work.number), windows.get(work.number, UNLISTED))
        self._order.renew()
        for jumps in self._jumps.values():
            jumps.forget_done()
        self._done_in_order = 0

    def take_next(self) -> GapWork | None:
        """Take the next work that may be done now, None without any; `give_back` ends it."""
        work = self._order.take(self._means.clock.monotonic())
        if work is not None:
            if work.within_run and work.symbol in self._filled:
                work.filled = self._filled[work.symbol] = joined(self._filled[work.symbol])[-MOST_FILLED:]
            work.beside = self._jumps.get(work.number)
        return work

    def wait(self, longest_s: float) -> None:
        """Wait until more work comes; at most `longest_s` while any work is left that may become due."""
        self._grew.clear()
        self._grew.wait(longest_s if self.left else None)

    def wake(self) -> None:
        """End every `wait`."""
        self._grew.set()

    def give_back(self, work: GapWork, fill: GapFill | None) -> None:
        """End a work, with its result if there is one. The result is void if its gap has grown meanwhile."""
        self._end(work, fill)
        self._order.give_back(work)

    def _end(self, work: GapWork, fill: GapFill | None) -> None:
        key = gap_key(work.gap)
        found = self._open.get(key)
        if fill is None or found is None or found.gap.to_ns != work.gap.to_ns:
            return
        self._apply_fill(found, fill)
        self._means.stores.record(Records(fills=[fill]))
        self._close_if_done(key)

    def _close_if_done(self, key: GapKey) -> None:
        """Record a gap as filled or lost once all of its symbols are done."""
        found = self._open[key]
        if not found.split or found.works:
            return
        del self._open[key]
        self._closed[key] = found.gap.to_ns
        self._means.stores.record(Records(gaps=[replace(found.gap, state=found.result())]))

    def waiting(self) -> Iterator[GapWork]:
        """Yield the remaining work."""
        for found in self._open.values():
            yield from found.works.values()
