"""One connection of a venue, kept alive: connect, subscribe, watch for silence, renew, back off.

A feed is a greenlet that mostly sleeps: reading is the sweep's, parsing the pipeline's. It wakes for what has to be
sent, for answers, and for the end of its connection. While it has no connection, the gap is in the ledger: told every
second and a little ahead, so that a kill finds it written.

A renewed connection has its successor beside it: both are read for a while, what comes twice is dropped by the pipeline, and
the old one is read to its end before it is closed. A first connection that fails is a gap from the beginning of its feed.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable

from gevent.event import Event

from pumpwatch.clock import NS_PER_S
from pumpwatch.errors import ServiceUnavailable
from pumpwatch.feeds.rate_limits import ConnectLimit
from pumpwatch.feeds.session import DISORDER_NS, ConnectAttempt, FeedContext, FeedSession
from pumpwatch.feeds.staleness import UNHEARD, Staleness
from pumpwatch.net.backoff import Backoff
from pumpwatch.net.connection import GOING_AWAY

__all__ = ["DISORDER_NS", "ConnectLimit", "Feed", "FeedContext"]

log = logging.getLogger(__name__)

NOTE_EVERY_S = 1.0
AHEAD_NS = 2 * NS_PER_S  # the next note is durable before that
STEADY_S = 60.0  # a connection that stood that long was a good one
RENEW_WITHIN_S = 300.0
OVERLAP_S, OVERLAP_LAGS = 2.0, 2.0  # both connections are read for so long, or for so many times the venue's lag
LONGEST_OVERLAP_S = 60.0  # a lag of hours is a wrong clock
QUIET_S = 15.0  # a successor without a trade may take over after that, where the old connection had none either
FIRST_S = 30.0  # a first connection that does not stand by then is a gap, whatever it waits for
NO_SYMBOLS = "no symbols are left on it"


class Feed:
    """Keeps one connection with its symbols. `run` is the body of a supervised greenlet.

    down_since_ns: its symbols were read before, and not since; 0: they never were. began_ns: since when they should be read.
    """

    def __init__(self, context: FeedContext, number: int, symbols: Iterable[str], down_since_ns: int = 0,
                 began_ns: int = 0) -> None:
        self._context, self.number, self.symbols = context, number, set(symbols)
        self._suspects: set[str] = set()  # refused together with all others of their request, once
        self._backoff = Backoff()
        self._refusal_told = self._told_down = False
        self._renewals = Backoff(base_s=2.0)
        self._renew_at = -math.inf
        self._rhythm = Staleness(context.venue.stale_after_s)
        self._left_for = ""  # why the connection is to be left, though it looks alive
        self._wake = Event()
        self._stopped = False
        self._link: FeedSession | None = None
        self._successor: FeedSession | None = None  # on its way to take the link's place
        self._dial: ConnectAttempt | None = None
        # Where the gap begins while there is no connection; 0: nothing is missed.
        self._down_from_ns = down_since_ns - context.slack_ns() if down_since_ns else 0
        self._began_ns = began_ns  # where it begins if the first connection fails; 0 once one stood
        self._lost: tuple[str, ...] = ()  # whose gap it is: the symbols as the connection went down
        self._down_at = context.clock.monotonic()  # since when there is no connection that stands
        self.trouble = ""  # why there is none, as it was said last

    @property
    def up(self) -> bool:
        """Whether the connection stands and everything asked for was granted."""
        return self._link is not None and not self._link.connection.closed and self._link.subscriptions.settled

    def down_s(self, now: float) -> float:
        """Return for how long there has been no connection that stands."""
        return 0.0 if self.stood_at_ns else now - self._down_at

    @property
    def granted(self) -> set[str]:
        """The symbols that the venue has acknowledged."""
        return self._link.subscriptions.granted if self._link else set()

    @property
    def stood_at_ns(self) -> int:
        """Since when the connection stands with all that was asked for; 0: it does not."""
        return self._link.stood_at_ns if self._link and not self._link.connection.closed else 0

    @property
    def heard_at_ns(self) -> int:
        """When the connection's last good trade was read; 0: it has had none."""
        return self._link.traded_at_ns if self._link else 0

    def unheard(self, now: float) -> bool:
        """Whether the connection has stood for a while and never had a trade; each that is left for that has twice the time."""
        return not self.heard_at_ns and self._rhythm.quiet_s(now) > UNHEARD * self._rhythm.stale_s

    def leave(self, reason: str) -> None:
        """Give up a connection that looks alive and sends no trades; what came since its last trade is a gap."""
        self._left_for = reason
        self._wake.set()

    def ask_again(self, symbol: str) -> None:
        """Subscribe to a symbol once more on the running connection."""
        if self._link and symbol in self.symbols:
            self._link.subscriptions.renew(symbol)
            self._wake.set()

    def change(self, add: Iterable[str], drop: Iterable[str]) -> None:
        """Subscribe newcomers and drop others on the running connection."""
        add, drop = set(add) - self.symbols, set(drop) & self.symbols
        self.symbols = (self.symbols | add) - drop
        for link in (self._link, self._successor):
            if link:
                link.subscriptions.want(drop, add=False)  # first, so that a connection never has more than it may
                link.subscriptions.want(add, add=True)
        self._wake.set()

    def stop(self) -> None:
        """Close the connection and end `run`. What is missing by now is recorded before this returns."""
        self._stopped = True
        link = self._link
        if link and not self._down_from_ns and (link.connection.closed or self._rhythm.unusual(self._now())):
            self._down_from_ns = self._lost_from(link)
        self._note_gap("stopped meanwhile")
        self._wake.set()

    def run(self) -> None:
        """Connect, and connect again, until stopped."""
        while not self._stopped:
            if not self.symbols:
                self._idle()
            elif self._link is not None or self._connect():
                self._let_go(self._tend())
        if self._dial:
            self._dial.cancel()
        for link in (self._link, self._successor):
            if link:
                self._end(link, "stopped")
        self._link = self._successor = self._dial = None

    def _idle(self) -> None:
        """Without symbols there is nothing to connect for, and venues close such a connection: wait for newcomers without one."""
        if self._dial:
            self._dial.cancel()
        for link in (self._link, self._successor):
            if link:
                self._end(link, NO_SYMBOLS)
        if self._link:
            self._event("down", NO_SYMBOLS)
        self._link = self._successor = self._dial = None
        self._left_for, self._down_from_ns, self._began_ns, self._lost, self.trouble = "", 0, 0, (), ""
        self._wake.clear()
        if not self.symbols and not self._stopped:
            self._wake.wait()
        self._down_at = self._now()

    def _now(self) -> float:
        return self._context.clock.monotonic()

    def _connect(self) -> bool:
        """Take the successor where one is on its way, else dial."""
        if self._successor is not None:
            self._link, self._successor = self._successor, None
            return True
        self._dial = dial = self._dial or self._new_dial()
        self._rest(math.inf, lambda: dial.done)
        if self._stopped or not self.symbols:
            return False
        self._dial = None
        try:
            self._link = self._adopt(dial)
        except ServiceUnavailable as error:
            self.trouble = error.message
            self._down_from_ns = self._down_from_ns or self._began_ns
            if not self._refusal_told:
                self._refusal_told = True
                self._told_down = True
                log.warning("connection refused venue=%s connection=%d reason=%s", self._context.venue.name, self.number, error)
                self._event("refused", str(error))
            self._context.stats.add("connect_failures_total", venue=self._context.venue.name)
            self._rest(self._backoff.next_s())
            return False
        self._refusal_told = False
        return True

    def _new_dial(self) -> ConnectAttempt:
        return ConnectAttempt(self._context, self.number, self._suspects, self._wake)

    def _adopt(self, dial: ConnectAttempt) -> FeedSession:
        link = dial.result()
        link.subscriptions.want(self.symbols, add=True)
        self._context.sweep.add(link.connection)
        return link

    def _tend(self) -> str:
        """Serve the connection, and the successor it may get, until it ends or has to; return why (nothing: no symbols)."""
        link = self._link
        assert link is not None
        while not self._stopped:
            self._wake.clear()
            now = self._now()
            wait_s = min(link.serve(now), self._rhythm.look_s)
            if not link.stood_at_ns:
                wait_s = min(wait_s, self._await(link, now))
            reason = self._overdue(link, now)
            if not self.symbols:
                return reason
            if link.renewal(now) or self._successor or self._dial:
                wait_s = min(wait_s, self._renew(link, now))
            successor = self._successor
            if successor and successor.stood_at_ns and (reason or self._may_take_over(link, successor, now)):
                link = self._switch(link, successor, now, reason)
                continue
            if reason:
                return reason
            self._wake.wait(max(0.001, wait_s))
        return "stopped"

    def _await(self, link: FeedSession, now: float) -> float:
        """See whether everything asked for is granted by now, else let the gap grow; return the seconds until the next look."""
        if link.stands(now):
            self._settled(link, now)
            return math.inf
        self._note_wait("its subscriptions take their time")
        return NOTE_EVERY_S

    def _note_wait(self, what: str) -> None:
        """Let the gap grow; a first connection that has failed, or takes too long, has one from the beginning."""
        if self._began_ns and self._now() - self._down_at > FIRST_S:
            self._down_from_ns, self.trouble = self._down_from_ns or self._began_ns, self.trouble or what
        self._note_gap(self.trouble or "connection is down", AHEAD_NS)

    def _settled(self, link: FeedSession, now: float) -> None:
        link.mark_established(now)
        self._event("up", f"{len(link.subscriptions.granted)} symbols in {now - link.opened_at:.1f} s")
        self._note_gap("connection was down")
        if self._told_down:
            log.info("connection up again venue=%s connection=%d symbols=%d",
                     self._context.venue.name, self.number, len(link.subscriptions.granted))
        self._down_from_ns, self._began_ns, self._lost, self._told_down, self.trouble = 0, 0, (), False, ""
        self._suspects.clear()
        self._rhythm.resume(now)

    def _overdue(self, link: FeedSession, now: float) -> str:
        """Return why the connection has to go now, or nothing."""
        problem = link.problem(now, self._rhythm.stale_s)
        if problem:
            return problem
        if not link.stood_at_ns:
            return ""
        if self._left_for:
            self._rhythm.give_up()
            return self._left_for
        self._rhythm.look(now, link.traded_at_ns)
        if link.traded_at_ns or now - link.opened_at > STEADY_S:
            self._backoff.reset()
        if self._rhythm.overdue(now):
            self._rhythm.give_up()
            return f"no trade for {self._rhythm.quiet_s(now):.0f} s"
        return ""

    def _renew(self, link: FeedSession, now: float) -> float:
        """Bring up the successor beside the old connection, which is read on until the successor has taken over.

        A successor that fails is given up and tried again later. Returns the seconds until it needs attention.
        """
        if self._successor is not None:
            wait_s = self._successor.serve(now)
            if not self._successor.stood_at_ns and self._successor.stands(now):
                self._successor.mark_established(now)
                link.probe()
            problem = self._unfit(link, self._successor, now)
            if problem:
                self._end(self._successor, problem)
                self._successor = None
                self._renewal_failed(problem, now)
                return 0.0
            return min(wait_s, OVERLAP_S / 10)
        if self._dial is None:
            if now < self._renew_at:
                return self._renew_at - now
            self._dial = self._new_dial()
        elif self._dial.done:
            dial, self._dial = self._dial, None
            try:
                self._successor = self._adopt(dial)
            except ServiceUnavailable as error:
                self._renewal_failed(str(error), now)
            return 0.0
        return math.inf

    def _unfit(self, link: FeedSession, successor: FeedSession, now: float) -> str:
        """Return why a successor cannot take the link's place, or nothing."""
        problem = successor.problem(now, self._rhythm.stale_s)
        if problem:
            return problem
        if not successor.stood_at_ns:
            return "its subscriptions take too long" if now - successor.opened_at > RENEW_WITHIN_S else ""
        silent = not successor.traded_at_ns and now - successor.stood_at > QUIET_S
        if silent and link.traded_at_ns > successor.stood_at_ns + self._context.slack_ns():
            return "it is silent, while the old connection has trades"
        return ""

    def _may_take_over(self, old: FeedSession, successor: FeedSession, now: float) -> bool:
        """Whether both were read for long enough, the successor delivers, and the old one has brought all that came before it.

        The answer to a ping proves that; where a venue answers none, bytes that came well after the successor stood.
        """
        lag_s = abs(self._context.buffer.lag_ns(self._context.clock.now_ns())) / NS_PER_S
        both_s = now - successor.stood_at
        if both_s < max(OVERLAP_S, min(OVERLAP_LAGS * lag_s, LONGEST_OVERLAP_S)) or not successor.stands(now):
            return False
        heard_ns = old.connection.received_at_ns - self._context.slack_ns()
        if not old.caught_up and not (both_s > QUIET_S and heard_ns > successor.stood_at_ns):
            return False
        return bool(successor.traded_at_ns) or both_s > QUIET_S

    def _renewal_failed(self, reason: str, now: float) -> None:
        self._renew_at = now + max(1.0, self._renewals.next_s())
        self._context.stats.add("renewal_failures_total", venue=self._context.venue.name)
        if self._renewals.failures == 1:
            log.warning("renewal failed, the old connection stays venue=%s connection=%d reason=%s",
                        self._context.venue.name, self.number, reason)

    def _switch(self, old: FeedSession, successor: FeedSession, now: float, reason: str) -> FeedSession:
        """Put the successor in the place of the old connection, which is read to its end; `reason` has cut that one short.

        Where it was cut short before the successor's time had come for certain, what lies between is a gap.
        """
        why = old.renewal(now) or "connection age"
        lost_from_ns = self._lost_from(old)
        self._context.sweep.drain(old.connection)
        self._link, self._successor, self._left_for = successor, None, ""
        self._renewals.reset()
        self._rhythm.resume(now)
        self._event("renewed", f"{why}, the old connection went first: {reason}" if reason else why)
        self._end(old, f"renewed: {why}")
        if reason and lost_from_ns < successor.stood_at_ns:
            self._down_from_ns = lost_from_ns
            self._note_gap(reason)
            self._down_from_ns, self._lost = 0, ()
        return successor

    def _let_go(self, reason: str) -> None:
        if reason == "stopped" or not self.symbols:
            return
        link = self._link
        assert link is not None
        self._down_from_ns = self._down_from_ns or self._began_ns or self._lost_from(link)
        self._down_at = self._now() if link.stood_at_ns else self._down_at
        self._link, self._left_for, self.trouble = None, "", reason
        self._end(link, reason)
        log.warning("connection down venue=%s connection=%d symbols=%d reason=%s",
                    self._context.venue.name, self.number, len(self.symbols), reason)
        self._told_down = True
        self._event("down", reason)
        self._note_gap(reason)
        self._context.stats.add("disconnects_total", venue=self._context.venue.name)
        if self._successor is None and self._dial is None:
            self._rest(self._backoff.next_s())

    def _lost_from(self, link: FeedSession) -> int:
        """Return from when on trades may be missing: the last sign of life, or the last trade where the quiet is unusual."""
        since_ns = link.connection.received_at_ns
        if self._left_for or self._rhythm.unusual(self._now()):
            since_ns = link.traded_at_ns or link.stood_at_ns or since_ns
        return since_ns - self._context.slack_ns()

    def _rest(self, seconds: float, over: Callable[[], bool] = lambda: False) -> None:
        """Wait without a connection until it is over or the feed is stopped; the gap grows meanwhile."""
        end = self._now() + seconds
        while not self._stopped and self.symbols and not over() and self._now() < end:
            self._note_wait("it waits for its turn to connect")
            self._wake.clear()
            self._wake.wait(min(NOTE_EVERY_S, end - self._now()))

    def _end(self, link: FeedSession, reason: str) -> None:
        link.connection.close(reason, GOING_AWAY if reason == "stopped" else 1000)
        self._context.sweep.remove(link.connection)
        link.connection.stream.close()

    def _event(self, event: str, reason: str) -> None:
        self._context.note_event(self.number, event, reason)

    def _note_gap(self, reason: str, ahead_ns: int = 0) -> None:
        """Write down what may have been missed since the connection went down; told again it grows."""
        if self._down_from_ns and self.symbols:
            self._lost = self._lost or tuple(sorted(self.symbols))
            self._context.note_gap("", self._down_from_ns,
                                  f"connection {self.number} with {len(self._lost)} symbols: {reason}", ahead_ns, self._lost)
