"""Fill open gaps from the venues' histories, within their request budgets, in the background.

The ledger has the open gaps, so a restart continues where the last run ended. Each venue has its own workers; no part of this
stage is on the path of live trades.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import gevent
from gevent.event import Event

from pumpwatch.backfill.access import GapLedger, HistoryAccess, Means
from pumpwatch.backfill.filler import ATTEMPTS, Filler, fill_of
from pumpwatch.backfill.intake import Stopping, Unsettled
from pumpwatch.backfill.judge import BY_NOTHING, UNKNOWN, GapVerdict
from pumpwatch.backfill.venue_queue import PAUSE_S, VenueQueue
from pumpwatch.backfill.work import GapWork
from pumpwatch.errors import REFUSALS, ServiceUnavailable, StorageError
from pumpwatch.model import Gap, GapState
from pumpwatch.net.texts import one_line
from pumpwatch.records import GapFill
from pumpwatch.venue import HistoryQuery, Venue

log = logging.getLogger(__name__)

LOOK_S = 0.25
LEDGER_SHARE, LONGEST_UNREAD_S = 20.0, 5.0  # reading the ledger takes 1/20 of the time, or happens every 5 s
FIRST_PAUSE_S, LONGEST_PAUSE_S = 5.0, 600.0  # after an answer that settles nothing
SHORTEST_PAUSE_S = 0.5  # for a history of newest rows that will soon leave out the rows of a gap
AFTER_ERROR_S = 60.0  # after an error in our code, which the supervisor logs
GONE_AFTER = 3  # failures after which a delisted symbol is given up


@dataclass(frozen=True, slots=True)
class BackfillSources:
    """The sources of the gaps and of their order.

    changes(): returns a number that changes when gaps are written. volume_of(number): returns an instrument's volume of 24
    hours, in USDT. windows(): returns the place of the listing window of an instrument's coin, by instrument; the oldest window
    is first. rest(): frees the memory of queries of stored trades. close(): ends them.
    """

    ledger: GapLedger
    changes: Callable[[], int]
    volume_of: Callable[[int], float]
    windows: Callable[[], Mapping[int, int]]
    rest: Callable[[], None] = lambda: None
    close: Callable[[], None] = lambda: None


class Backfill:
    """Fills gaps of all venues. `run` is the body of a greenlet; `workers` returns the bodies of the other greenlets."""

    def __init__(self, venues: Sequence[HistoryAccess], sources: BackfillSources, means: Means, enabled: bool = True) -> None:
        self._sources, self._means, self._enabled = sources, means, enabled
        self._queues = [VenueQueue(access, means, sources.volume_of) for access in venues]
        self._fillers = {id(queue): Filler(queue.access, means, self._is_stopping) for queue in self._queues}
        self._weights = {id(queue): _weight(queue.access.venue) for queue in self._queues}
        self._stopping = Event()
        self._counts: dict[tuple[str, str, str], int] = {}
        self._seen_changes = -1
        self._read_at = float("-inf")
        self._busy = False
        self._failing: dict[str, str] = {}  # venue whose history does not answer -> the symbol in the log

    def _is_stopping(self) -> bool:
        return self._stopping.is_set()

    def workers(self) -> list[tuple[str, Callable[[], None]]]:
        """Return the name and body of each worker."""
        if not self._enabled:
            return []
        return [(f"backfill {queue.access.venue.name}#{number}", partial(self._work, queue))
                for queue in self._queues for number in range(self._means.options.concurrency)]

    def stop(self) -> None:
        """Make all bodies return."""
        self._stopping.set()
        for queue in self._queues:
            queue.wake()
        self._sources.close()

    def run(self) -> None:
        """Follow the ledger until stopped."""
        while not self._stopping.is_set():
            self.look()
            self._stopping.wait(LOOK_S)

    def look(self) -> None:
        """Read the open gaps if they have changed, and make work from settled ones."""
        now = self._means.clock.monotonic()
        if self._sources.changes() != self._seen_changes and now >= self._read_at:
            changes = self._sources.changes()
            try:
                self._refresh()
                self._seen_changes = changes
            except StorageError as error:
                log.debug("gaps not read reason=%s", error)
            self._read_at = now + min(LONGEST_UNREAD_S, LEDGER_SHARE * (self._means.clock.monotonic() - now))
        queues = [queue for queue in self._queues if queue.has_gaps] if self._enabled else ()
        windows = self._sources.windows() if queues else {}
        for queue in queues:
            queue.split(windows)
            gevent.sleep(PAUSE_S)
        was_busy, self._busy = self._busy, any(queue.left for queue in self._queues)
        if was_busy and not self._busy:
            self._sources.rest()

    def _refresh(self) -> None:
        ledger = self._sources.ledger
        self._counts = ledger.gap_counts()
        if not self._enabled:
            return
        gaps, fills = dict[tuple[str, str], list[Gap]](), dict[tuple[str, str], list[GapFill]]()
        for gap in ledger.open_gaps():
            gaps.setdefault((gap.exchange, gap.market_type), []).append(gap)
        for fill in ledger.open_fills():
            fills.setdefault((fill.gap.exchange, fill.gap.market_type), []).append(fill)
        for queue in self._queues:
            key = queue.access.venue.exchange, queue.access.venue.market_type
            queue.refresh(gaps.get(key, ()), fills.get(key, ()))
            gevent.sleep(PAUSE_S)

    def _work(self, queue: VenueQueue) -> None:
        while not self._stopping.is_set():
            work = queue.take_next()
            if work is None:
                queue.wait(LOOK_S)
                continue
            work.not_before = self._means.clock.monotonic() + AFTER_ERROR_S
            fill = None
            try:
                fill = self.attempt(queue, work)
            except Stopping:
                return
            finally:
                queue.give_back(work, fill)

    def attempt(self, queue: VenueQueue, work: GapWork) -> GapFill | None:
        """Try once; return the result, or None to try again later."""
        venue, now = queue.access.venue, self._means.clock.monotonic
        try:
            fill = self._fillers[id(queue)].fill(work)
        except (Unsettled, StorageError) as error:
            pause_s = min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2 ** min(max(work.attempts - ATTEMPTS + 1, 0), 10))
            if isinstance(error, Unsettled):
                pause_s = max(SHORTEST_PAUSE_S, min(pause_s, error.within_s))
            work.not_before = now() + pause_s
            log.debug("gap not settled yet venue=%s symbol=%s reason=%s", venue.name, work.symbol, error)
            return None
        except (ServiceUnavailable, *REFUSALS) as error:
            return self._failed(queue, work, error)
        if self._failing.get(venue.name) == work.symbol:
            del self._failing[venue.name]
            log.info("history answers again venue=%s symbol=%s", venue.name, work.symbol)
        return fill

    def _failed(self, queue: VenueQueue, work: GapWork, error: Exception) -> GapFill | None:
        venue, reason = queue.access.venue, one_line(str(error), 200)
        work.failures += 1
        work.not_before = self._means.clock.monotonic() + min(LONGEST_PAUSE_S, FIRST_PAUSE_S * 2 ** min(work.failures - 1, 10))
        self._means.stats.add("history_failures_total", venue=venue.name)
        if not queue.access.is_listed(work.symbol):
            if work.failures >= GONE_AFTER:
                verdict = GapVerdict(GapState.LOST, BY_NOTHING, UNKNOWN, f"the symbol is not listed any more: {reason}",
                                  work.gap.from_ns, work.gap.to_ns)
                return fill_of(work.gap, work.symbol, verdict, work.found, self._means.clock.now_ns())
        elif venue.name not in self._failing:
            self._failing[venue.name] = work.symbol
            log.warning("history unavailable, gaps are filled later venue=%s symbol=%s reason=%s", venue.name, work.symbol,
                        reason)
        return None

    def gap_counts(self, exchange: str, market_type: str) -> dict[str, int]:
        """Return the numbers of a venue's gaps by state, at the last read of the ledger."""
        return {state.value: self._counts.get((exchange, market_type, state.value), 0) for state in GapState}

    def figures(self) -> dict[str, Any]:
        """Return the progress: symbols of gaps done and left, fetched trades, and the estimated seconds for the rest."""
        left, left_s = 0, dict[int, float]()
        for queue in self._queues:
            share = queue.access.share
            left += queue.left
            left_s[id(share)] = left_s.get(id(share), 0.0) + queue.left * self._weights[id(queue)] / share.rate
        stats = self._means.stats
        return {"enabled": self._enabled, "looked": self._seen_changes >= 0,
                "done": sum(queue.done for queue in self._queues), "left": left,
                "left_s": round(max(left_s.values(), default=0.0)), "trades": int(stats.total("backfilled_trades_total")),
                "requests": int(stats.total("history_requests_total")),
                "open": self._total(GapState.OPEN), "filled": self._total(GapState.FILLED), "lost": self._total(GapState.LOST)}

    def _total(self, state: GapState) -> int:
        return sum(count for (_, _, name), count in self._counts.items() if name == state.value)


def _weight(venue: Venue) -> float:
    """Return the weight of a request to a venue's history, for the estimate."""
    try:
        return venue.history_request(HistoryQuery("", 0, 1, 1, 1)).weight
    except REFUSALS:
        return 1.0
