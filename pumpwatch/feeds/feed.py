"""One connection of a venue, kept alive: connect, subscribe, heartbeat, watch for silence, renew, back off.

A feed is a greenlet that mostly sleeps: reading is the sweep's, parsing the pipeline's. It wakes for what has to be
sent, for answers, and for the end of its connection.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from gevent.event import Event

from pumpwatch.clock import NS_PER_S, Clock
from pumpwatch.errors import REFUSALS, ServiceUnavailable
from pumpwatch.feeds.subscriptions import ANSWER_WITHIN_S, Subscriptions
from pumpwatch.model import Control, ControlKind, Gap, HttpRequest, IdKind, Limits, Venue
from pumpwatch.net.backoff import Backoff
from pumpwatch.net.connection import GOING_AWAY, Connection
from pumpwatch.net.frames import FrameBuffer
from pumpwatch.net.ratelimit import TokenBucket
from pumpwatch.net.sweep import Sweep
from pumpwatch.net.ws import Dialer
from pumpwatch.records import ConnectionEvent, Records
from pumpwatch.stats import Stats

log = logging.getLogger(__name__)

DISORDER_NS = NS_PER_S  # how much later than its neighbours a trade may be sent: widens a gap's bounds
LONGEST_SLEEP_S = 5.0


@dataclass(slots=True)
class Surroundings:
    """What all feeds of a venue share."""

    venue: Venue
    ws_url: str
    dialer: Dialer
    sweep: Sweep
    buffer: FrameBuffer
    pace: ConnectPace
    ask: Callable[[HttpRequest], bytes]  # REST of this venue, within its budget
    clock: Clock
    stats: Stats
    max_frame_bytes: int
    record: Callable[[Records], None]
    on_refused: Callable[[str, str], None]


class ConnectPace:
    """How fast a venue may be connected to: so many a second, and so many in five minutes."""

    def __init__(self, limits: Limits, clock: Clock) -> None:
        self._second = TokenBucket(0.8 * limits.connects_per_second, 1, clock)
        # A third of the limit at once, the rest spread out: no five minutes ever hold more than the venue allows.
        limit = limits.connects_per_5_minutes
        self._five_minutes = TokenBucket(0.6 * limit / 300, max(1.0, limit / 3), clock)

    def take(self) -> None:
        """Wait for a turn."""
        self._five_minutes.take()
        self._second.take()


class Link:
    """One live connection of a feed, with what was asked on it."""

    def __init__(self, around: Surroundings, number: int, wake: Event) -> None:
        venue = around.venue
        stream = around.dialer.open(self._address(around, number), venue.headers)
        self.greeted = venue.session is None or not venue.session.welcome
        self.connection = Connection(stream, around.buffer, around.max_frame_bytes, lambda reason: wake.set(),
                                     f"{venue.name}#{number}")
        self.connection.on_control = self._control
        self.subscriptions = Subscriptions(venue, around.on_refused)
        self.opened_at = around.clock.monotonic()
        self.connection.received_at_ns = around.clock.now_ns()
        self.renew = ""
        limit = venue.limits.messages_per_second
        self.messages = TokenBucket(max(0.5, limit - 2), 1, around.clock)  # a second never holds more than limit - 1
        hourly = venue.limits.subscriptions_per_hour
        self._hour = TokenBucket(0.2 * hourly / 3600, 0.8 * hourly, around.clock) if hourly else None
        self._wake, self._clock, self._stamp = wake, around.clock, venue.stamp

    def _address(self, around: Surroundings, number: int) -> str:
        """Return where to connect: some venues tell it anew each time, with a token."""
        session = around.venue.session
        if session is None:
            return around.ws_url
        body = around.ask(session.request) if session.request else b""
        try:
            return session.url(body, around.ws_url, f"{around.clock.now_ns()}{number}")
        except REFUSALS as error:
            raise ServiceUnavailable(f"{around.venue.name}: no session in the answer: {error}") from error

    def send_next(self, now: float) -> None:
        """Send the next subscription request when its turn has come."""
        symbols = self.subscriptions.next_size
        self.messages.take()
        if self._hour:
            self._hour.take(symbols)
        if not self.connection.closed:
            text = self.subscriptions.next_text(now)
            self.connection.send_text(self._stamp(text, self._clock.now_ns()) if self._stamp else text)

    def _control(self, control: Control) -> None:
        if control.kind == ControlKind.RECONNECT:
            self.renew = control.reason or "the venue asks for it"
        elif control.kind == ControlKind.WELCOME:
            self.greeted = True
        else:
            self.subscriptions.answer(control)
        self._wake.set()


class Feed:
    """Keeps one connection with its symbols. `run` is the body of a supervised greenlet."""

    def __init__(self, around: Surroundings, number: int, symbols: Iterable[str], down_since_ns: int = 0) -> None:
        self._around, self.number, self.symbols = around, number, set(symbols)
        self._backoff = Backoff()
        self._wake = Event()
        self._stopped = False
        self._link: Link | None = None
        self._down_since_ns = down_since_ns  # 0: nothing was seen before, so nothing is missed
        self._next_beat = 0.0

    @property
    def up(self) -> bool:
        """Whether the connection stands and everything asked for was granted."""
        return self._link is not None and not self._link.connection.closed and self._link.subscriptions.settled

    @property
    def granted(self) -> int:
        """How many symbols the venue has acknowledged."""
        return len(self._link.subscriptions.granted) if self._link else 0

    def change(self, add: Iterable[str], drop: Iterable[str]) -> None:
        """Subscribe newcomers and drop others on the running connection."""
        add, drop = set(add) - self.symbols, set(drop) & self.symbols
        self.symbols = (self.symbols | add) - drop
        if self._link:
            self._link.subscriptions.want(add, add=True)
            self._link.subscriptions.want(drop, add=False)
        self._wake.set()

    def stop(self) -> None:
        """Close the connection and end `run`."""
        self._stopped = True
        self._wake.set()

    def run(self) -> None:
        """Connect, and connect again, until stopped."""
        while not self._stopped:
            if self._link is None and not self._connect():
                continue
            reason = self._tend()
            if reason == "renew" and self._around.venue.id_kind != IdKind.NONE:
                self._renew()
            else:
                self._let_go(reason)
        if self._link:
            self._let_go("stopped")

    def _connect(self) -> bool:
        around = self._around
        around.pace.take()
        if self._stopped:
            return False
        try:
            self._link = self._open()
        except ServiceUnavailable as error:
            if self._backoff.failures == 0:
                log.warning("connection refused venue=%s connection=%d reason=%s", around.venue.name, self.number, error)
                self._event("refused", str(error))
            around.stats.add("connect_failures_total", venue=around.venue.name)
            self._note_gap(str(error))
            self._pause()
            return False
        return True

    def _open(self) -> Link:
        link = Link(self._around, self.number, self._wake)
        link.subscriptions.want(self.symbols, add=True)
        self._around.sweep.add(link.connection)
        self._next_beat = 0.0
        return link

    def _tend(self) -> str:
        """Serve the connection until it ends or has to; return the reason."""
        link = self._link
        assert link is not None
        told = False
        while not self._stopped:
            self._wake.clear()
            if link.connection.closed:
                return link.connection.closed
            if link.connection.traded:
                self._backoff.reset()
            now = self._around.clock.monotonic()
            if link.subscriptions.waiting and link.greeted:
                link.send_next(now)
                continue
            if link.subscriptions.settled and not told:
                told = True
                self._settled(link)
            reason = self._overdue(link, now)
            if reason:
                return reason
            self._wake.wait(min(LONGEST_SLEEP_S, self._beat(link, now)))
        return "stopped"

    def _settled(self, link: Link) -> None:
        self._event("up", f"{len(link.subscriptions.granted)} symbols in {self._around.clock.monotonic() - link.opened_at:.1f} s")
        self._note_gap("connection was down")
        self._down_since_ns = 0

    def _overdue(self, link: Link, now: float) -> str:
        venue = self._around.venue
        silent_s = (self._around.clock.now_ns() - link.connection.received_at_ns) / NS_PER_S
        if link.subscriptions.overdue(now):
            return "a subscription was not answered"
        if not link.greeted and now - link.opened_at > ANSWER_WITHIN_S:
            return "no welcome"
        if self.symbols and silent_s > venue.stale_after_s:
            return f"silent for {silent_s:.0f} s"
        if link.renew or now - link.opened_at > venue.limits.connection_age_s:
            return "renew"
        return ""

    def _beat(self, link: Link, now: float) -> float:
        """Send what the venue wants to hear regularly; return the seconds until the next time."""
        heartbeat = self._around.venue.heartbeat
        if not heartbeat.interval_s:
            return LONGEST_SLEEP_S
        if now >= self._next_beat:
            self._next_beat = now + heartbeat.interval_s
            link.messages.reserve()
            if heartbeat.text:
                link.connection.send_text(heartbeat.text(self._around.clock.now_ns()))
            else:
                link.connection.send_ping()
        return self._next_beat - now

    def _renew(self) -> None:
        """Open the successor first, and drop the old connection when it stands: nothing is missed between them.

        Not for venues without ids: there a trade that comes on both is two, and the history sent on subscribing fills the hole.
        """
        old = self._link
        assert old is not None
        why = old.renew or "connection age"
        old.renew, old.opened_at = "", self._around.clock.monotonic()
        self._around.pace.take()
        try:
            successor = self._open()
        except ServiceUnavailable as error:
            log.warning("renewal failed venue=%s connection=%d reason=%s", self._around.venue.name, self.number, error)
            return
        self._link = successor
        deadline = self._around.clock.monotonic() + 30
        while not successor.connection.closed and not successor.subscriptions.settled and not self._stopped:
            if self._around.clock.monotonic() > deadline:
                break
            if successor.subscriptions.waiting and successor.greeted:
                successor.send_next(self._around.clock.monotonic())
            else:
                self._wake.wait(1.0)
                self._wake.clear()
        self._event("renewed", why)
        self._end(old, f"renewed: {why}")

    def _let_go(self, reason: str) -> None:
        link = self._link
        assert link is not None
        self._down_since_ns = self._down_since_ns or link.connection.received_at_ns
        self._link = None
        self._end(link, reason)
        if reason == "stopped":
            return
        log.warning("connection down venue=%s connection=%d symbols=%d reason=%s",
                    self._around.venue.name, self.number, len(self.symbols), reason)
        self._event("down", reason)
        self._note_gap(reason)
        self._around.stats.add("disconnects_total", venue=self._around.venue.name)
        if not self._stopped:
            self._pause()

    def _pause(self) -> None:
        self._wake.clear()
        self._wake.wait(self._backoff.next_s())

    def _end(self, link: Link, reason: str) -> None:
        link.connection.close(reason, GOING_AWAY if reason == "stopped" else 1000)
        self._around.sweep.remove(link.connection)
        link.connection.stream.close()

    def _event(self, event: str, reason: str) -> None:
        venue = self._around.venue
        self._around.record(Records(connection_events=[ConnectionEvent(
            at_ns=self._around.clock.now_ns(), exchange=venue.exchange, market_type=venue.market_type,
            connection=self.number, event=event, reason=reason)]))

    def _note_gap(self, reason: str) -> None:
        """Write down what may have been missed since the connection went down, up to now; widened while it lasts."""
        if not self._down_since_ns or not self.symbols:
            return
        venue = self._around.venue
        self._around.record(Records(gaps=[Gap(
            exchange=venue.exchange, market_type=venue.market_type, symbol="", from_ns=self._down_since_ns - DISORDER_NS,
            to_ns=self._around.clock.now_ns(), first_id=None, last_id=None,
            reason=f"connection {self.number} with {len(self.symbols)} symbols: {reason}")]))
