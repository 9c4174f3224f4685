"""Replaces a connection without a gap: its successor is opened beside it and delivers before the old one is closed.

Both are read for a while, and the pipeline drops duplicates. The old connection is read to its end before it is closed. If a
successor fails, the old connection is kept, and another successor is tried later.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable

from pumpwatch.clock import NS_PER_S
from pumpwatch.errors import ServiceUnavailable
from pumpwatch.feeds.renewal_queue import ANNOUNCED, OLD, REQUESTED, Rank
from pumpwatch.feeds.session import ConnectAttempt, FeedContext, FeedSession
from pumpwatch.feeds.staleness import Staleness
from pumpwatch.net.backoff import Backoff

log = logging.getLogger(__name__)

WITHIN_S = 300.0
OVERLAP_S, OVERLAP_LAGS = 2.0, 2.0  # both connections are read for this long, or for this multiple of the venue's lag
LONGEST_OVERLAP_S = 60.0  # a lag of hours means a wrong clock
NO_TRADES_S = 15.0  # a successor without trades may take over after this time, if the old connection has none either


class HandOver:
    """Hands one feed's connection over to a successor whenever a renewal is due.

    open_: begins to open a connection. adopt: makes it a session of the feed; raises ServiceUnavailable if it could not be
    opened. close: ends a session that is not needed.
    """

    def __init__(self, context: FeedContext, number: int, staleness: Staleness, open_: Callable[[], ConnectAttempt],
                 adopt: Callable[[ConnectAttempt], FeedSession], close: Callable[[FeedSession, str], None]) -> None:
        self._context, self._number, self._staleness = context, number, staleness
        self._open, self._adopt, self._close = open_, adopt, close
        self._attempt: ConnectAttempt | None = None
        self.successor: FeedSession | None = None
        self._failures = Backoff(base_s=2.0)
        self._again_at = -math.inf

    @property
    def running(self) -> bool:
        """Return whether a successor is open or being opened."""
        return self.successor is not None or self._attempt is not None

    def advance(self, old: FeedSession, now: float) -> float:
        """Open a successor once this connection is next, and serve it; return the seconds until it needs attention."""
        if self.successor is not None:
            return self._serve(old, self.successor, now)
        if self._attempt is None:
            if now < self._again_at:
                return self._again_at - now
            if not self._context.renewals.claim(self._number, self._rank(old, now), now):
                return math.inf
            self._attempt = self._open()
        elif self._attempt.done:
            attempt, self._attempt = self._attempt, None
            try:
                self.successor = self._adopt(attempt)
            except ServiceUnavailable as error:
                self._failed(str(error), now)
            return 0.0
        return math.inf

    def _rank(self, old: FeedSession, now: float) -> Rank:
        if old.renew:
            return ANNOUNCED, self._staleness.silent_s(now)
        if self._context.renewals.requested(old.opened_at):
            return REQUESTED, self._staleness.silent_s(now)
        return OLD, old.due_at

    def _serve(self, old: FeedSession, successor: FeedSession, now: float) -> float:
        wait_s = successor.serve(now)
        if not successor.established_at_ns and successor.ready(now):
            successor.mark_established(now)
            old.probe()
        problem = self._unfit(old, successor, now)
        if problem:
            self.successor = None
            self._close(successor, problem)
            self._failed(problem, now)
            return 0.0
        return min(wait_s, OVERLAP_S / 10)

    def _unfit(self, old: FeedSession, successor: FeedSession, now: float) -> str:
        """Return why a successor cannot replace the old connection, or nothing."""
        problem = successor.problem(now, self._staleness.stale_s)
        if problem:
            return problem
        if not successor.established_at_ns:
            return "its subscriptions were not granted in time" if now - successor.opened_at > WITHIN_S else ""
        silent = not successor.traded_at_ns and now - successor.established_at > NO_TRADES_S
        if silent and old.traded_at_ns > successor.established_at_ns + self._context.slack_ns():
            return "it has no trades, while the old connection has"
        return ""

    def ready(self, old: FeedSession, now: float) -> bool:
        """Return whether the successor may replace the old connection.

        Both must have been read for long enough, the successor must deliver, and the old one must have delivered everything sent
        before the successor came up. The answer to a ping proves the last point; if the venue does not answer pings, bytes that
        came well after the successor came up prove it.
        """
        successor = self.successor
        if successor is None or not successor.established_at_ns:
            return False
        lag_s = abs(self._context.buffer.lag_ns(self._context.clock.now_ns())) / NS_PER_S
        both_s = now - successor.established_at
        if both_s < max(OVERLAP_S, min(OVERLAP_LAGS * lag_s, LONGEST_OVERLAP_S)) or not successor.ready(now):
            return False
        received_ns = old.connection.received_at_ns - self._context.slack_ns()
        if not old.caught_up and not (both_s > NO_TRADES_S and received_ns > successor.established_at_ns):
            return False
        return bool(successor.traded_at_ns) or both_s > NO_TRADES_S

    @property
    def established(self) -> bool:
        """Return whether a successor is up with all its subscriptions."""
        return self.successor is not None and self.successor.established_at_ns > 0

    def finish(self) -> FeedSession:
        """Return the successor, which replaces the old connection now."""
        successor, self.successor = self.successor, None
        assert successor is not None
        self._failures.reset()
        self._context.renewals.leave(self._number)
        return successor

    def rescue(self) -> tuple[FeedSession | None, ConnectAttempt | None]:
        """Return the successor, or the attempt to open one, for a feed that has lost its old connection meanwhile."""
        rescued = self.successor, self._attempt
        self.successor = self._attempt = None
        self._context.renewals.leave(self._number)
        return rescued

    def change(self, add: Iterable[str], drop: Iterable[str]) -> None:
        """Subscribe and unsubscribe these symbols on the successor too."""
        if self.successor is not None:
            self.successor.subscriptions.want(drop, add=False)
            self.successor.subscriptions.want(add, add=True)

    def renew(self, reason: str) -> None:
        """Renew the successor too, because it was opened before the reason arose."""
        if self.successor is not None:
            self.successor.renew = reason

    def cancel(self, reason: str) -> None:
        """Give up the successor and the place in the queue."""
        successor, attempt = self.rescue()
        if attempt is not None:
            attempt.cancel()
        if successor is not None:
            self._close(successor, reason)

    def _failed(self, reason: str, now: float) -> None:
        self._context.renewals.leave(self._number)
        self._again_at = now + max(1.0, self._failures.next_s())
        self._context.stats.add("renewal_failures_total", venue=self._context.venue.name)
        if self._failures.failures == 1:
            log.warning("renewal failed, the old connection is kept venue=%s connection=%d reason=%s",
                        self._context.venue.name, self._number, reason)
