"""Keeps one connection of a venue alive: connect, subscribe, watch for staleness, renew, back off.

A feed is a greenlet that mostly sleeps; the sweep reads and the pipeline parses. It wakes to send requests, to handle answers,
and at the end of its connection. Without a connection it records its gap every second (connection_gap.py). A connection is
renewed without a gap (hand_over.py).

A feed may have a double, which reads some of the same symbols. The gap of a feed does not contain symbols that its double reads.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Collection, Iterable

from gevent.event import Event

from pumpwatch.clock import NS_PER_S
from pumpwatch.errors import ServiceUnavailable
from pumpwatch.feeds.connection_gap import ConnectionGap
from pumpwatch.feeds.hand_over import HandOver
from pumpwatch.feeds.read_since import ReadSince
from pumpwatch.feeds.session import ConnectAttempt, FeedContext, FeedSession
from pumpwatch.feeds.staleness import NEVER_TRADED, Staleness
from pumpwatch.net.backoff import Backoff
from pumpwatch.net.connection import GOING_AWAY
from pumpwatch.records import BESIDE

log = logging.getLogger(__name__)

RECORD_EVERY_S, AHEAD_NS = 1.0, 2 * NS_PER_S  # each record reaches so far ahead that the next one is durable by then
STEADY_S = 60.0  # a connection that was up for this long resets the back-off
STAGGER_S = 3.0  # a double waits this long for the connection that it doubles
FIRST_WITHIN_S = 30.0  # a first connection that is not up within this time is a gap, whatever it waits for
NO_SYMBOLS = "it has no symbols left"


class Feed:
    """Keeps one connection with its symbols; `run` is the body of a supervised greenlet.

    down_since_ns: when its symbols were last read, by an earlier run; 0: never.
    began_ns: since when its symbols should be read. follows: the feed that it doubles; each is then the double of the other.
    """

    def __init__(self, context: FeedContext, number: int, symbols: Iterable[str], down_since_ns: int = 0,
                 began_ns: int = 0, follows: Feed | None = None) -> None:
        self._context, self.number, self.symbols = context, number, set(symbols)
        self._suspects: set[str] = set()  # rejected once, together with all others of their request
        self._backoff = Backoff()
        self._failure_logged = self._down_logged = False
        self._staleness = Staleness(context.venue.stale_after_s)
        self._leave_reason = ""  # why to leave the connection although it looks alive
        self._wake, self._stopped = Event(), False
        self._session: FeedSession | None = None
        self._attempt: ConnectAttempt | None = None
        self._hand_over = HandOver(context, number, self._staleness, self._new_attempt, self._adopt, self._close)
        self.gap = ConnectionGap(context, number)
        if down_since_ns:
            self.gap.open(down_since_ns - context.slack_ns(), self.symbols)
        self._began_ns = began_ns  # the beginning of the gap if the first connection fails; 0 once one was up
        self._down_at = context.clock.monotonic()  # since when no connection is up
        self._read_since = ReadSince()
        self._follows = self._double = self.gap.double = follows
        if follows is not None:
            follows._double = follows.gap.double = self
        self.trouble = ""  # the last reason why it is down
        context.renewals.join(number, self._wake)

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

    @property
    def double(self) -> Feed | None:
        """The feed that reads some of the same symbols on another connection."""
        return self._double

    @property
    def peer(self) -> str:
        """The IP address that it is connected to; empty without a connection, or where it is not known."""
        return self._session.peer if self._session else ""

    @property
    def source(self) -> int:
        """The number by which the pipeline knows its connection; 0: it has none."""
        return self._session.source_number if self._session else 0

    def heard_at_ns(self) -> int:
        """Return the time of the last data on the connection in ns, 0 without one; see `FeedSession.heard_at_ns`."""
        return self._session.heard_at_ns() if self._session else 0

    def reads(self, symbols: Collection[str], since_ns: int) -> set[str]:
        """Return the symbols that it has read without interruption since `since_ns`."""
        return {symbol for symbol in symbols if self.read_since(symbol) <= since_ns}

    def read_since(self, symbol: str) -> float:
        """Return since when it has read a symbol without interruption, in ns; infinite if it does not read it now."""
        return self._read_since.of(symbol) if self.established_at_ns and symbol in self.granted else math.inf

    def accounted_for(self, symbols: Collection[str], since_ns: int) -> set[str]:
        """Return the symbols that it has read since `since_ns`, except for a time that its own gap names."""
        read = self.reads(symbols, since_ns)
        return read.union(symbol for symbol in symbols if symbol not in read
                          and (self.gap.down or symbol in self.granted)
                          and self.gap.accounts_for(symbol, since_ns, self._read_since.of(symbol)))

    def without_trades(self, now: float) -> bool:
        """Return whether the connection has been up for too long without a trade; each false alarm doubles that time."""
        return not self.traded_at_ns and self._staleness.silent_s(now) > NEVER_TRADED * self._staleness.stale_s

    def missed_since(self, since_ns: int) -> None:
        """Begin the gap at `since_ns`, when the symbols were last read, unless the connection is up."""
        if not self.established_at_ns:
            self.gap.open(since_ns - self._context.slack_ns(), self.symbols)

    def leave(self, reason: str) -> None:
        """Give up a connection that looks alive but sends no trades; the gap begins with its last trade."""
        self._leave_reason = reason
        self._wake.set()

    def subscribe_again(self, symbol: str) -> None:
        """Subscribe to a symbol once more on the running connection."""
        if self._session and symbol in self.symbols:
            self._session.subscriptions.renew(symbol)
            self._read_since.change([symbol])
            self._wake.set()

    def change(self, add: Iterable[str], drop: Iterable[str]) -> None:
        """Subscribe some symbols and unsubscribe others on the running connection."""
        add, drop = set(add) - self.symbols, set(drop) & self.symbols
        self.symbols = (self.symbols | add) - drop
        self._read_since.change(add, drop)
        if self._session:
            if add:
                self._event(BESIDE, f"symbols added: {len(add)}")
            self._session.subscriptions.want(drop, add=False)  # first, so that a connection never exceeds its limit
            self._session.subscriptions.want(add, add=True)
        self._hand_over.change(add, drop)
        self._wake.set()

    @property
    def awaits_renewal(self) -> bool:
        """Return whether the renewal of all connections was requested and this one is not replaced yet."""
        return bool(self._session and self._context.renewals.requested(self._session.opened_at))

    def renew(self, reason: str) -> None:
        """Replace the running connection without a gap, as soon as it is next in the venue's queue."""
        if self._session:
            self._session.renew = reason
            self._hand_over.renew(reason)
            self._wake.set()

    def stop(self) -> None:
        """Close the connection and end `run`; the gap so far is recorded before this returns."""
        self._stopped = True
        session = self._session
        if session and (session.connection.closed or self._staleness.unusual(self._now())):
            self.gap.open(self._lost_from(session), self.symbols)
        self.gap.extend("stopped while it was down", 0, self.symbols)
        self._wake.set()

    def run(self) -> None:
        """Connect, and connect again, until stopped."""
        while not self._stopped:
            if not self.symbols:
                self._idle()
            elif self._session is not None or self._connect():
                self._lose_session(self._tend())
        self._end("stopped")

    def _end(self, reason: str) -> None:
        """Close the connection, and give up those that are being opened."""
        self._hand_over.cancel(reason)
        if self._attempt:
            self._attempt.cancel()
        if self._session:
            self._close(self._session, reason)
        self._session = self._attempt = None

    def _idle(self) -> None:
        """Wait without a connection until there are symbols; venues close connections that have none."""
        was_up = self._session is not None
        self._end(NO_SYMBOLS)
        if was_up:
            self._event("down", NO_SYMBOLS)
        self.gap.forget()
        self._leave_reason, self._began_ns, self.trouble = "", 0, ""
        self._wake.clear()
        if not self.symbols and not self._stopped:
            self._wake.wait()
        self._down_at = self._now()

    def _now(self) -> float:
        return self._context.clock.monotonic()

    def _connect(self) -> bool:
        """Use the successor if there is one, otherwise open a connection; return whether there is one now."""
        if self._hand_over.running:
            self._session, self._attempt = self._hand_over.rescue()
            if self._session is not None:
                return True
        if self._follows and not self._attempt:  # once the first connection is up, its address can be avoided
            first = self._follows
            self._wait_down(STAGGER_S, lambda: first.established_at_ns > 0)
        self._attempt = attempt = self._attempt or self._new_attempt()
        self._wait_down(math.inf, lambda: attempt.done)
        if self._stopped or not self.symbols:
            return False
        self._attempt = None
        try:
            self._session = self._adopt(attempt)
        except ServiceUnavailable as error:
            self.trouble = error.message
            if self._began_ns:
                self.gap.open(self._began_ns, self.symbols)
            if not self._failure_logged:
                self._failure_logged = self._down_logged = True
                log.warning("connection failed, trying again venue=%s connection=%d reason=%s",
                            self._context.venue.name, self.number, error)
                self._event("refused", str(error))
            self._context.stats.add("connect_failures_total", venue=self._context.venue.name)
            self._wait_down(self._backoff.next_s())
            return False
        self._failure_logged = False
        return True

    def _new_attempt(self) -> ConnectAttempt:
        return ConnectAttempt(self._context, self.number, self._suspects, self._wake,
                              lambda: self._double.peer if self._double else "")

    def _adopt(self, attempt: ConnectAttempt) -> FeedSession:
        session = attempt.result()
        if self._session or self._double:
            self._event(BESIDE, "opened beside another connection with its symbols")
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
            if session.established_at_ns:
                self._read_since.record_granted(session.subscriptions.granted, self._context.clock.now_ns())
            if session.renewal(now) or self._hand_over.running:
                wait_s = min(wait_s, self._hand_over.advance(session, now))
            if self._hand_over.established and (reason or self._hand_over.ready(session, now)):
                session = self._replace_session(session, now, reason)
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
            self.gap.open(self._began_ns, self.symbols)
            self.trouble = self.trouble or reason
        self.gap.extend(self.trouble or "connection is down", AHEAD_NS, self.symbols)

    def _came_up(self, session: FeedSession, now: float) -> None:
        session.mark_established(now)
        self._event("up", f"{len(session.subscriptions.granted)} symbols in {now - session.opened_at:.1f} s")
        self.gap.close("connection was down")
        if self._down_logged:
            log.info("connection is up again venue=%s connection=%d symbols=%d",
                     self._context.venue.name, self.number, len(session.subscriptions.granted))
        self._began_ns, self._down_logged, self.trouble = 0, False, ""
        self._read_since.begin(session.established_at_ns)
        self._suspects.clear()
        self._staleness.resume(now)
        if self._double:
            self._double.wake()  # its gap ends here

    def wake(self) -> None:
        """Check the state now, without waiting for the next event."""
        self._wake.set()

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

    def _replace_session(self, old: FeedSession, now: float, reason: str) -> FeedSession:
        """Replace the old connection, which is read to its end, with its successor.

        reason: why the old connection ended too early; empty if it did not. The time until the successor was certain to deliver
        is then a gap.
        """
        why = old.renewal(now) or "connection age"
        if reason:
            old.await_parsed()
        lost_from_ns = self._lost_from(old)
        self._context.sweep.drain(old.connection)
        self._session = successor = self._hand_over.finish()
        self._leave_reason = ""
        self._staleness.resume(now)
        self._event("renewed", f"{why}, the old connection ended first: {reason}" if reason else why)
        self._close(old, f"renewed: {why}")
        if reason and lost_from_ns < successor.established_at_ns:
            self.gap.open(lost_from_ns, self.symbols)
            self.gap.close(reason)
            self._read_since.begin(successor.established_at_ns)
        return successor

    def _lose_session(self, reason: str) -> None:
        if reason == "stopped" or not self.symbols:
            return
        session = self._session
        assert session is not None
        session.await_parsed()
        self.gap.open(self._began_ns or self._lost_from(session), self.symbols)
        self._down_at = self._now() if session.established_at_ns else self._down_at
        self._session, self._leave_reason, self.trouble = None, "", reason
        self._close(session, reason)
        log.warning("connection down venue=%s connection=%d symbols=%d reason=%s",
                    self._context.venue.name, self.number, len(self.symbols), reason)
        self._down_logged = True
        self._event("down", reason)
        self.gap.extend(reason, 0, self.symbols)
        self._context.stats.add("disconnects_total", venue=self._context.venue.name)
        if not self._hand_over.running:
            self._context.renewals.leave(self.number)
            self._wait_down(self._backoff.next_s())

    def _lost_from(self, session: FeedSession) -> int:
        """Return since when trades may be missing: since the last data, or since the last trade if the silence is unusual."""
        since_ns = session.connection.received_at_ns
        if self._leave_reason or self._staleness.unusual(self._now()):
            since_ns = session.traded_at_ns or session.established_at_ns or since_ns
        return since_ns - session.slack_ns()

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
