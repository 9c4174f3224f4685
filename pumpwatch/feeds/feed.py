"""One connection of a venue, kept alive: connect, subscribe, watch for silence, renew, back off.

A feed is a greenlet that mostly sleeps: reading is the sweep's, parsing the pipeline's. It wakes for what has to be
sent, for answers, and for the end of its connection. While it has no connection, the gap is in the ledger: told every
second and a little ahead, so that a kill finds it written.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterable

from gevent.event import Event

from pumpwatch.clock import NS_PER_S
from pumpwatch.errors import ServiceUnavailable
from pumpwatch.feeds.link import DISORDER_NS, Dial, Link, Surroundings
from pumpwatch.feeds.pace import ConnectPace
from pumpwatch.feeds.rhythm import UNHEARD, Rhythm
from pumpwatch.model import IdKind
from pumpwatch.net.backoff import Backoff
from pumpwatch.net.connection import GOING_AWAY

__all__ = ["DISORDER_NS", "ConnectPace", "Feed", "Surroundings"]

log = logging.getLogger(__name__)

NOTE_EVERY_S = 1.0
AHEAD_NS = 2 * NS_PER_S  # the next note is durable before that
STEADY_S = 60.0  # a connection that stood that long was a good one
RENEW_WITHIN_S = 300.0
NO_SYMBOLS = "no symbols are left on it"


class Feed:
    """Keeps one connection with its symbols. `run` is the body of a supervised greenlet."""

    def __init__(self, around: Surroundings, number: int, symbols: Iterable[str], down_since_ns: int = 0) -> None:
        self._around, self.number, self.symbols = around, number, set(symbols)
        self._suspects: set[str] = set()  # refused together with all others of their request, once
        self._backoff = Backoff()
        self._refusal_told = self._told_down = False
        self._renewals = Backoff(base_s=2.0)
        self._renew_at = -math.inf
        self._rhythm = Rhythm(around.venue.stale_after_s)
        self._left_for = ""  # why the connection is to be left, though it looks alive
        self._wake = Event()
        self._stopped = False
        self._link: Link | None = None
        self._successor: Link | None = None  # on its way to take the link's place
        self._dial: Dial | None = None
        # Where the gap begins while there is no connection; 0: nothing is missed.
        self._down_from_ns = down_since_ns - around.slack_ns() if down_since_ns else 0

    @property
    def up(self) -> bool:
        """Whether the connection stands and everything asked for was granted."""
        return self._link is not None and not self._link.connection.closed and self._link.subscriptions.settled

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
        return self._link.connection.traded_at_ns if self._link else 0

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
        self._left_for, self._down_from_ns = "", 0
        self._wake.clear()
        if not self.symbols and not self._stopped:
            self._wake.wait()

    def _now(self) -> float:
        return self._around.clock.monotonic()

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
            if not self._refusal_told:
                self._refusal_told = True
                self._told_down = True
                log.warning("connection refused venue=%s connection=%d reason=%s", self._around.venue.name, self.number, error)
                self._event("refused", str(error))
            self._around.stats.add("connect_failures_total", venue=self._around.venue.name)
            self._rest(self._backoff.next_s())
            return False
        self._refusal_told = False
        return True

    def _new_dial(self) -> Dial:
        return Dial(self._around, self.number, self._suspects, self._wake)

    def _adopt(self, dial: Dial) -> Link:
        link = dial.take()
        link.subscriptions.want(self.symbols, add=True)
        self._around.sweep.add(link.connection)
        return link

    def _tend(self) -> str:
        """Serve the connection, and the successor it may get, until it ends or has to; return why (nothing: no symbols)."""
        link = self._link
        assert link is not None
        while not self._stopped:
            self._wake.clear()
            now = self._now()
            wait_s = min(link.serve(now), self._rhythm.look_s)
            if not link.stood_at_ns and link.stands(now):
                self._settled(link, now)
            reason = self._overdue(link, now)
            if reason or not self.symbols:
                return reason
            if link.renewal(now) or self._successor or self._dial:
                wait_s = min(wait_s, self._renew(link, now))
                if self._successor and self._successor.stands(now):
                    link = self._switch(link, self._successor, now)
                    continue
            self._wake.wait(max(0.001, wait_s))
        return "stopped"

    def _settled(self, link: Link, now: float) -> None:
        link.stood_at_ns = self._around.clock.now_ns()
        self._event("up", f"{len(link.subscriptions.granted)} symbols in {now - link.opened_at:.1f} s")
        self._note_gap("connection was down")
        if self._told_down:
            log.info("connection up again venue=%s connection=%d symbols=%d",
                     self._around.venue.name, self.number, len(link.subscriptions.granted))
        self._down_from_ns, self._told_down = 0, False
        self._suspects.clear()
        self._rhythm.resume(now)

    def _overdue(self, link: Link, now: float) -> str:
        """Return why the connection has to go now, or nothing."""
        problem = link.problem(now, self._rhythm.stale_s)
        if problem:
            return problem
        if link.renewal(now) and self._around.venue.id_kind == IdKind.NONE:
            # Trades that came on two connections could not be told apart, and the history sent on subscribing fills the hole.
            return f"renewed: {link.renewal(now)}"
        if not link.stood_at_ns:
            return ""
        if self._left_for:
            self._rhythm.give_up()
            return self._left_for
        self._rhythm.look(now, link.connection.traded_at_ns)
        if link.connection.traded_at_ns or now - link.opened_at > STEADY_S:
            self._backoff.reset()
        if self._rhythm.overdue(now):
            self._rhythm.give_up()
            return f"no trade for {self._rhythm.quiet_s(now):.0f} s"
        return ""

    def _renew(self, link: Link, now: float) -> float:
        """Bring up the successor beside the old connection, which stays until it stands: nothing is missed between them.

        A successor that fails is given up and tried again later. Returns the seconds until it needs attention.
        """
        if self._successor is not None:
            wait_s = self._successor.serve(now)
            problem = self._successor.problem(now, self._rhythm.stale_s)
            if not problem and now - self._successor.opened_at > RENEW_WITHIN_S:
                problem = "its subscriptions take too long"
            if problem:
                self._end(self._successor, problem)
                self._successor = None
                self._renewal_failed(problem, now)
                return 0.0
            return wait_s
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

    def _renewal_failed(self, reason: str, now: float) -> None:
        self._renew_at = now + max(1.0, self._renewals.next_s())
        self._around.stats.add("renewal_failures_total", venue=self._around.venue.name)
        if self._renewals.failures == 1:
            log.warning("renewal failed, the old connection stays venue=%s connection=%d reason=%s",
                        self._around.venue.name, self.number, reason)

    def _switch(self, old: Link, successor: Link, now: float) -> Link:
        why = old.renewal(now) or "connection age"
        self._link, self._successor, self._left_for = successor, None, ""
        self._renewals.reset()
        successor.stood_at_ns = self._around.clock.now_ns()
        self._rhythm.resume(now)
        self._event("renewed", why)
        self._end(old, f"renewed: {why}")
        return successor

    def _let_go(self, reason: str) -> None:
        if reason == "stopped" or not self.symbols:
            return
        link = self._link
        assert link is not None
        self._down_from_ns = self._down_from_ns or self._lost_from(link)
        self._link, self._left_for = None, ""
        self._end(link, reason)
        log.warning("connection down venue=%s connection=%d symbols=%d reason=%s",
                    self._around.venue.name, self.number, len(self.symbols), reason)
        self._told_down = True
        self._event("down", reason)
        self._note_gap(reason)
        self._around.stats.add("disconnects_total", venue=self._around.venue.name)
        if self._successor is None and self._dial is None:
            self._rest(self._backoff.next_s())

    def _lost_from(self, link: Link) -> int:
        """Return from when on trades may be missing: the last sign of life, or the last trade where the quiet is unusual."""
        since_ns = link.connection.received_at_ns
        if self._left_for or self._rhythm.unusual(self._now()):
            since_ns = link.connection.traded_at_ns or link.stood_at_ns or since_ns
        return since_ns - self._around.slack_ns()

    def _rest(self, seconds: float, over: Callable[[], bool] = lambda: False) -> None:
        """Wait without a connection until it is over or the feed is stopped; the gap grows meanwhile."""
        end = self._now() + seconds
        while not self._stopped and self.symbols and not over() and self._now() < end:
            self._note_gap("connection is down", AHEAD_NS)
            self._wake.clear()
            self._wake.wait(min(NOTE_EVERY_S, end - self._now()))

    def _end(self, link: Link, reason: str) -> None:
        link.connection.close(reason, GOING_AWAY if reason == "stopped" else 1000)
        self._around.sweep.remove(link.connection)
        link.connection.stream.close()

    def _event(self, event: str, reason: str) -> None:
        self._around.note_event(self.number, event, reason)

    def _note_gap(self, reason: str, ahead_ns: int = 0) -> None:
        """Write down what may have been missed since the connection went down; told again it grows."""
        if self._down_from_ns and self.symbols:
            self._around.note_gap("", self._down_from_ns,
                                  f"connection {self.number} with {len(self.symbols)} symbols: {reason}", ahead_ns)
