"""Poll one source at its pace, and pass each list to its intake.

Lists of notices go to a `NoticeIntake`, lists of markets to a `MarketIntake`. A source that does not answer, or whose answer is
not such a list, is down: this is logged once, and the source is polled less and less often (`board_client`).
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from pumpwatch.errors import ServiceUnavailable, StorageError
from pumpwatch.hookspecs import ListingSource, MarketSource
from pumpwatch.listing.board_client import JITTER, BoardClient, Fetch
from pumpwatch.listing.context import IntakeContext, always
from pumpwatch.listing.listing_ledger import Call, call_here
from pumpwatch.listing.market_intake import MarketIntake
from pumpwatch.listing.market_rows import checked_markets
from pumpwatch.listing.notice_bodies import NoticeBodies
from pumpwatch.listing.notice_intake import NoticeIntake
from pumpwatch.listing.pace import next_poll_s
from pumpwatch.listing.source_health import SourceHealth
from pumpwatch.listing.validation import checked_rows, isolated
from pumpwatch.net.texts import masked

LONGEST_LOOK_S = 120.0
TICK_S = 1.0  # how often a paced source checks whether it is time to poll


class Watch:
    """One polled source. `poll` looks once; `schedule` makes APScheduler repeat it.

    url and interval_s override the source's own; interval_s applies at any hour. offload: runs the source's code outside the hub.
    polls: returns whether this collector of a cluster polls now.
    """

    def __init__(self, source: ListingSource | MarketSource, fetch: Fetch, context: IntakeContext, *, url: str = "",
                 interval_s: float = 0.0, offload: Call = call_here, polls: Callable[[], bool] = always) -> None:
        self.source, self._polls = source, polls
        self.interval_s = interval_s or source.interval_s
        self._pace = None if interval_s else source.pace
        self._intake: NoticeIntake | MarketIntake
        self.bodies: NoticeBodies | None = None  # of the board's notices
        if isinstance(source, MarketSource):
            self._board = BoardClient(source, fetch, context.clock, url, offload, checked_markets)
            self._intake = MarketIntake(source, context)
        else:
            self._board = BoardClient(source, fetch, context.clock, url, offload, checked_rows)
            if source.body_url is not None:
                self.bodies = NoticeBodies(source, context, self._board.load, lambda: self._board.url, offload)
            self._intake = NoticeIntake(source, context, offload, self.bodies)
        self._clock, self._stats = context.clock, context.stats
        self._health = SourceHealth(source.name, context.clock, context.stats)
        self._stopped = self._looking = False
        self._answers = 0
        self._look_began_s = context.clock.monotonic()
        self._next_s = float("-inf")

    @property
    def up(self) -> bool | None:
        """Return whether the source answers; None before the first answer or failure."""
        return self._health.up

    def schedule(self, scheduler: Any) -> None:
        """Make an APScheduler poll now, and then at the pace, or every `interval_s` with 10 % jitter."""
        every_s = self.interval_s if self._pace is None else min(TICK_S, self.interval_s)
        scheduler.add_job(self.tick, "interval", seconds=every_s, jitter=every_s * JITTER,
                          next_run_time=datetime.now(UTC),
                          id=f"listing.{self.source.name}", max_instances=2, coalesce=True, misfire_grace_time=None)

    def stop(self) -> None:
        """Look no more. Rows of the present look that are not processed yet are left to the next start."""
        self._stopped = True
        self._intake.stop()

    def tick(self) -> None:
        """Poll if it is time by the pace."""
        if not self._polls():
            return
        now_s = self._clock.monotonic()
        if self._pace is not None:
            if now_s < self._next_s - TICK_S / 2:
                return
            self._next_s = now_s + next_poll_s(self.interval_s, self._pace, self._clock.now_ns())
        self.poll()

    def look_now(self) -> bool:
        """Look once regardless of the pace; return whether the source has answered since the call. Never raises."""
        before = self._answers
        self.poll()
        return self._answers > before

    @property
    def rest_s(self) -> float:
        """Return how many seconds are left of the pause after a failure."""
        return self._board.rest_s()

    def poll(self) -> None:
        """Look once, except during a pause after a failure. Never raises."""
        if self._looking:  # a look may take longer than the interval
            if (lasts_s := self._clock.monotonic() - self._look_began_s) > LONGEST_LOOK_S:
                self._health.mark_down(f"a look has not ended for {lasts_s:.0f} s")
            return
        self._looking, self._look_began_s = True, self._clock.monotonic()
        try:
            isolated(self._look, lambda error: self._health.mark_down(f"a look failed: {type(error).__name__}: {error}"))
        except StorageError as error:
            self._health.mark_down(f"the ledger cannot be read or written: {error.message}")
        finally:
            self._looking = False

    def _look(self) -> None:
        if self._stopped or not self._board.due():
            return
        try:
            rows = self._board.read()
        except ServiceUnavailable as error:
            self._count("failed")
            self._health.mark_down(error.message)
            return
        self._count("unchanged" if rows is None else "read")
        self._stats.set("listing_answered_at_ns", self._clock.now_ns(), source=self.source.name)
        if rows is None or self._intake.process(rows, self._board.answer):
            self._board.confirm()
        self._intake.record_look()
        if not self._intake.waits_for_bodies:  # else `look_now` must look again
            self._answers += 1
        self._health.mark_up(self._board.url)

    def _count(self, outcome: str) -> None:
        self._stats.add("listing_polls_total", source=self.source.name, outcome=outcome)

    def state(self) -> dict[str, Any]:
        """Return the status row: that of `SourceHealth`, delivery, url, rest_s."""
        return {**self._health.state(), "delivery": self.source.delivery, "url": masked(self._board.url),
                "rest_s": round(self._board.rest_s(), 1)}
