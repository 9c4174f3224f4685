"""Keeps one connection of a venue alive: connect, subscribe, watch for staleness, renew, back off.

A feed is a greenlet that mostly sleeps; the sweep reads and the pipeline parses. It wakes to send, for answers, and for the end
of its connection. Without one it records its gap every second, a little ahead, so that the ledger holds it after a kill.

A connection is renewed without a gap: its successor is opened beside it, both are read for a while, and the pipeline drops
duplicates. The old connection is read to its end before it is closed.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable

from gevent.event import Event

from pumpwatch.clock import NS_PER_S
from pumpwatch.errors import ServiceUnavailable
from pumpwatch.feeds.rate_limits import ConnectLimit
from pumpwatch.feeds.session import ConnectAttempt, FeedContext, FeedSession
from pumpwatch.feeds.staleness import NEVER_TRADED, Staleness
from pumpwatch.net.backoff import Backoff
from pumpwatch.net.connection import GOING_AWAY

__all__ = ["ConnectLimit", "Feed", "FeedContext"]

log = logging.getLogger(__name__)

RECORD_EVERY_S = 1.0
AHEAD_NS = 2 * NS_PER_S  # the next record is durable before that
STEADY_S = 60.0  # a connection that was up for so long was a good one
RENEW_WITHIN_S = 300.0
OVERLAP_S, OVERLAP_LAGS = 2.0, 2.0  # both connections are read for so long, or for this multiple of the venue's lag
LONGEST_OVERLAP_S = 60.0  # a lag of hours means a wrong clock
NO_TRADES_S = 15.0  # a successor without trades may take over then, if the old connection has none either
FIRST_WITHIN_S = 30.0  # a first connection that is not up by then is a gap, whatever it waits for
NO_SYMBOLS = "it has no symbols left"


class Feed:
    """Keeps one connection with its symbols; `run` is the body of a supervised greenlet.

    down_since_ns: when its symbols were last read, by an earlier run; 0: never.
    began_ns: since when its symbols should be read.
    """

    def __init__(self, context: FeedContext, number: int, symbols: Iterable[str], down_since_ns: int = 0,
                 began_ns: int = 0) -> None:
        self._context, self.number, self.symbols = context, number, set(symbols)
        self._suspects: set[str] = set()  # rejected once, together with all others of their request
        self._backoff = Backoff()
        self._failure_logged = self._down_logged = False
        self._renewals = Backoff(base_s=2.0)
        self._renew_at = -math.inf
        self._staleness = Staleness(context.venue.stale_after_s)
        self._leave_reason = ""  # why to leave the connection although it looks alive
        self._wake = Event()
        self._stopped = False
        self._session: FeedSession | None = None
        self._successor: FeedSession | None = None  # will replace the session
        self._attempt: ConnectAttempt | None = None
        # The beginning of the gap while there is no connection; 0: nothing is missed.
        self._down_from_ns = down_since_ns - context.slack_ns() if down_since_ns else 0
        self._began_ns = began_ns  # the beginning of the gap if the first connection fails; 0 once one was up
        self._lost: tuple[str, ...] = ()  # the symbols of the gap: those of the connection when it went down
        self._down_at = context.clock.monotonic()  # since when no connection is up
        self.trouble = ""  # the last reason why it is down

    @property
    def up(self) -> bool:
        """Return whether the connection is up and every subscription was granted."""
        return self._session is not None and not self._session.connection.closed and self._session.subscriptions.settled

    def down_s(self, now: float) -> float:
        """Return for how many seconds no connection has been up."""
        return 0.0 if self.established_at_ns else now - self._down_at

    @property
    def granted(self) -> set[str]:
        """The symbols that the venue has granted."""
        return self._session.subscriptions.granted if self._session else set()

    @property
    def established_at_ns(self) -> int:
        """Return when the connection came up with all its subscriptions, in ns; 0: it is not up."""
        return self._session.established_at_ns if self._session and not self._session.connection.closed else 0

    @property
    def traded_at_ns(self) -> int:
        """Return when the connection's last good trade was read, in ns; 0: it has had none."""
        return self._session.traded_at_ns if self._session else 0

    def without_trades(self, now: float) -> bool:
        """Return whether the connection has been up for a while without one trade.

        Each connection that was left for that reason doubles the while.
        """
        return not self.traded_at_ns and self._staleness.silent_s(now) > NEVER_TRADED * self._staleness.stale_s

    def leave(self, reason: str) -> None:
        """Give up a connection that looks alive and sends no trades; the gap begins with its last trade."""
        self._leave_reason = reason
        self._wake.set()

    def ask_again(self, symbol: str) -> None:
        """Subscribe to a symbol once more on the running connection."""
        if self._session and symbol in self.symbols:
            self._session.subscriptions.renew(symbol)
            self._wake.set()

    def change(self, add: Iterable[str], drop: Iterable[str]) -> None:
        """Subscribe some symbols and unsubscribe others on the running connection."""
        add, drop = set(add) - self.symbols, set(drop) & self.symbols
        self.symbols = (self.symbols | add) - drop
        for session in (self._session, self._successor):
            if session:
                session.subscriptions.want(drop, add=False)  # first, so that a connection never exceeds its limit
                session.subscriptions.want(add, add=True)
        self._wake.set()

    def stop(self) -> None:
        """Close the connection and end `run`; what is missing by now is recorded before this returns."""
        self._stopped = True
        session = self._session
        if session and not self._down_from_ns and (session.connection.closed or self._staleness.unusual(self._now())):
            self._down_from_ns = self._lost_from(session)
        self._record_gap("stopped while it was down")
        self._wake.set()

    def run(self) -> None:
        """Connect, and connect again, until stopped."""
        while not self._stopped:
            if not self.symbols:
                self._idle()
            elif self._session is not None or self._connect():
                self._lose_session(self._tend())
        if self._attempt:
            self._attempt.cancel()
        for session in (self._session, self._successor):
            if session:
                self._close(session, "stopped")
        self._session = self._successor = self._attempt = None

    def _idle(self) -> None:
        """Wait without a connection until there are symbols; venues close connections that have none."""
        if self._attempt:
            self._attempt.cancel()
        for session in (self._session, self._successor):
            if session:
                self._close(session, NO_SYMBOLS)
        if self._session:
            self._event("down", NO_SYMBOLS)
        self._session = self._successor = self._attempt = None
        self._leave_reason, self._down_from_ns, self._began_ns, self._lost, self.trouble = "", 0, 0, (), ""
        self._wake.clear()
        if not self.symbols and not self._stopped:
            self._wake.wait()
        self._down_at = self._now()

    def _now(self) -> float:
        return self._context.clock.monotonic()

    def _connect(self) -> bool:
        """Use the successor if there is one, otherwise open a connection; return whether there is one now."""
        if self._successor is not None:
            self._session, self._successor = self._successor, None
            return True
        self._attempt = attempt = self._attempt or self._new_attempt()
        self._wait_down(math.inf, lambda: attempt.done)
        if self._stopped or not self.symbols:
            return False
        self._attempt = None
        try:
            self._session = self._adopt(attempt)
        except ServiceUnavailable as error:
            self.trouble = error.message
            self._down_from_ns = self._down_from_ns or self._began_ns
            if not self._failure_logged:
                self._failure_logged = True
                self._down_logged = True
                log.warning("connection failed, trying again venue=%s connection=%d reason=%s",
                            self._context.venue.name, self.number, error)
                self._event("refused", str(error))
            self._context.stats.add("connect_failures_total", venue=self._context.venue.name)
            self._wait_down(self._backoff.next_s())
            return False
        self._failure_logged = False
        return True

    def _new_attempt(self) -> ConnectAttempt:
        return ConnectAttempt(self._context, self.number, self._suspects, self._wake)

    def _adopt(self, attempt: ConnectAttempt) -> FeedSession:
        session = attempt.result()
        session.subscriptions.want(self.symbols, add=True)
        self._context.sweep.add(session.connection)
        return session

    def _tend(self) -> str:
        """Serve the connection and its successor until it ends; return the reason (empty: it has no symbols left)."""
        session = self._session
        assert session is not None
        while not self._stopped:
            self._wake.clear()
            now = self._now()
            wait_s = min(session.serve(now), self._staleness.look_s)
            if not session.established_at_ns:
                wait_s = min(wait_s, self._await_grants(session, now))
            reason = self._overdue(session, now)
            if not self.symbols:
                return reason
            if session.renewal(now) or self._successor or self._attempt:
                wait_s = min(wait_s, self._renew(session, now))
            successor = self._successor
            if successor and successor.established_at_ns and (reason or self._may_replace(session, successor, now)):
                session = self._replace_session(session, successor, now, reason)
                continue
            if reason:
                return reason
            self._wake.wait(max(0.001, wait_s))
        return "stopped"

    def _await_grants(self, session: FeedSession, now: float) -> float:
        """Mark the connection as up once everything is granted, else extend the gap; return the seconds to the next look."""
        if session.ready(now):
            self._came_up(session, now)
            return math.inf
        self._record_wait("its subscriptions are not granted yet")
        return RECORD_EVERY_S

    def _record_wait(self, reason: str) -> None:
        """Extend the gap; if the first connection fails or takes too long, the gap begins with the feed."""
        if self._began_ns and self._now() - self._down_at > FIRST_WITHIN_S:
            self._down_from_ns, self.trouble = self._down_from_ns or self._began_ns, self.trouble or reason
        self._record_gap(self.trouble or "connection is down", AHEAD_NS)

    def _came_up(self, session: FeedSession, now: float) -> None:
        session.mark_established(now)
        self._event("up", f"{len(session.subscriptions.granted)} symbols in {now - session.opened_at:.1f} s")
        self._record_gap("connection was down")
        if self._down_logged:
            log.info("connection is up again venue=%s connection=%d symbols=%d",
                     self._context.venue.name, self.number, len(session.subscriptions.granted))
        self._down_from_ns, self._began_ns, self._lost, self._down_logged, self.trouble = 0, 0, (), False, ""
        self._suspects.clear()
        self._staleness.resume(now)

    def _overdue(self, session: FeedSession, now: float) -> str:
        """Return why the connection must be closed now, or nothing."""
        problem = session.problem(now, self._staleness.stale_s)
        if problem:
            return problem
        if not session.established_at_ns:
            return ""
        if self._leave_reason:
            self._staleness.record_false_alarm()
            return self._leave_reason
        self._staleness.look(now, session.traded_at_ns)
        if session.traded_at_ns or now - session.opened_at > STEADY_S:
            self._backoff.reset()
        if self._staleness.overdue(now):
            self._staleness.record_false_alarm()
            return f"no trade for {self._staleness.silent_s(now):.0f} s"
        return ""

    def _renew(self, session: FeedSession, now: float) -> float:
        """Open a successor while the old connection is still read; return the seconds until it needs attention.

        A successor that fails is closed, and another is tried later.
        """
        if self._successor is not None:
            wait_s = self._successor.serve(now)
            if not self._successor.established_at_ns and self._successor.ready(now):
                self._successor.mark_established(now)
                session.probe()
            problem = self._unfit(session, self._successor, now)
            if problem:
                self._close(self._successor, problem)
                self._successor = None
                self._renewal_failed(problem, now)
                return 0.0
            return min(wait_s, OVERLAP_S / 10)
        if self._attempt is None:
            if now < self._renew_at:
                return self._renew_at - now
            self._attempt = self._new_attempt()
        elif self._attempt.done:
            attempt, self._attempt = self._attempt, None
            try:
                self._successor = self._adopt(attempt)
            except ServiceUnavailable as error:
                self._renewal_failed(str(error), now)
            return 0.0
        return math.inf

    def _unfit(self, session: FeedSession, successor: FeedSession, now: float) -> str:
        """Return why a successor cannot replace the session, or nothing."""
        problem = successor.problem(now, self._staleness.stale_s)
        if problem:
            return problem
        if not successor.established_at_ns:
            return "its subscriptions were not granted in time" if now - successor.opened_at > RENEW_WITHIN_S else ""
        silent = not successor.traded_at_ns and now - successor.established_at > NO_TRADES_S
        if silent and session.traded_at_ns > successor.established_at_ns + self._context.slack_ns():
            return "it has no trades, while the old connection has"
        return ""

    def _may_replace(self, old: FeedSession, successor: FeedSession, now: float) -> bool:
        """Return whether the successor may replace the old connection.

        Both must have been read for long enough, the successor must deliver, and the old one must have delivered everything sent
        before the successor came up. The answer to a ping proves the last point; if the venue answers none, bytes that came
        well after the successor came up prove it.
        """
        lag_s = abs(self._context.buffer.lag_ns(self._context.clock.now_ns())) / NS_PER_S
        both_s = now - successor.established_at
        if both_s < max(OVERLAP_S, min(OVERLAP_LAGS * lag_s, LONGEST_OVERLAP_S)) or not successor.ready(now):
            return False
        received_ns = old.connection.received_at_ns - self._context.slack_ns()
        if not old.caught_up and not (both_s > NO_TRADES_S and received_ns > successor.established_at_ns):
            return False
        return bool(successor.traded_at_ns) or both_s > NO_TRADES_S

    def _renewal_failed(self, reason: str, now: float) -> None:
        self._renew_at = now + max(1.0, self._renewals.next_s())
        self._context.stats.add("renewal_failures_total", venue=self._context.venue.name)
        if self._renewals.failures == 1:
            log.warning("renewal failed, the old connection is kept venue=%s connection=%d reason=%s",
                        self._context.venue.name, self.number, reason)

    def _replace_session(self, old: FeedSession, successor: FeedSession, now: float, reason: str) -> FeedSession:
        """Replace the old connection, which is read to its end, with the successor.

        reason: why the old connection ended too early, if it did. If it ended before the successor was certain to deliver, the
        time between is a gap.
        """
        why = old.renewal(now) or "connection age"
        lost_from_ns = self._lost_from(old)
        self._context.sweep.drain(old.connection)
        self._session, self._successor, self._leave_reason = successor, None, ""
        self._renewals.reset()
        self._staleness.resume(now)
        self._event("renewed", f"{why}, the old connection went first: {reason}" if reason else why)
        self._close(old, f"renewed: {why}")
        if reason and lost_from_ns < successor.established_at_ns:
            self._down_from_ns = lost_from_ns
            self._record_gap(reason)
            self._down_from_ns, self._lost = 0, ()
        return successor

    def _lose_session(self, reason: str) -> None:
        if reason == "stopped" or not self.symbols:
            return
        session = self._session
        assert session is not None
        self._down_from_ns = self._down_from_ns or self._began_ns or self._lost_from(session)
        self._down_at = self._now() if session.established_at_ns else self._down_at
        self._session, self._leave_reason, self.trouble = None, "", reason
        self._close(session, reason)
        log.warning("connection down venue=%s connection=%d symbols=%d reason=%s",
                    self._context.venue.name, self.number, len(self.symbols), reason)
        self._down_logged = True
        self._event("down", reason)
        self._record_gap(reason)
        self._context.stats.add("disconnects_total", venue=self._context.venue.name)
        if self._successor is None and self._attempt is None:
            self._wait_down(self._backoff.next_s())

    def _lost_from(self, session: FeedSession) -> int:
        """Return since when trades may be missing: since the last data, or since the last trade if the silence is unusual."""
        since_ns = session.connection.received_at_ns
        if self._leave_reason or self._staleness.unusual(self._now()):
            since_ns = session.traded_at_ns or session.established_at_ns or since_ns
        return since_ns - self._context.slack_ns()

    def _wait_down(self, seconds: float, over: Callable[[], bool] = lambda: False) -> None:
        """Wait without a connection until `over`, or the time is up, or the feed is stopped; the gap grows meanwhile."""
        end = self._now() + seconds
        while not self._stopped and self.symbols and not over() and self._now() < end:
            self._record_wait("waiting for its turn to connect")
            self._wake.clear()
            self._wake.wait(min(RECORD_EVERY_S, end - self._now()))

    def _close(self, session: FeedSession, reason: str) -> None:
        try:
            session.connection.close(reason, GOING_AWAY if reason == "stopped" else 1000)
        finally:
            self._context.sweep.remove(session.connection)
            session.connection.stream.close()

    def _event(self, event: str, reason: str) -> None:
        self._context.record_event(self.number, event, reason)

    def _record_gap(self, reason: str, ahead_ns: int = 0) -> None:
        """Record what may be missing since the connection went down; later records extend it."""
        if self._down_from_ns and self.symbols:
            self._lost = self._lost or tuple(sorted(self.symbols))
            self._context.record_gap("", self._down_from_ns,
                                  f"connection {self.number} with {len(self._lost)} symbols: {reason}", ahead_ns, self._lost)
