"""One live connection of a feed: what was asked on it, what has to be sent, and whether it is still good."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import gevent
from gevent.event import Event

from pumpwatch.clock import NS_PER_S, Clock
from pumpwatch.errors import REFUSALS, ServiceUnavailable
from pumpwatch.feeds.rate_limits import ConnectLimit, message_limit
from pumpwatch.feeds.subscriptions import ANSWER_WITHIN_S, Subscriptions
from pumpwatch.model import Control, ControlKind, Gap, HttpRequest, Venue
from pumpwatch.net.connection import Connection
from pumpwatch.net.frames import FrameBuffer
from pumpwatch.net.ratelimit import TokenBucket
from pumpwatch.net.sweep import Sweep
from pumpwatch.net.ws import Dialer
from pumpwatch.records import ConnectionEvent, Records
from pumpwatch.stats import Stats

DISORDER_NS = NS_PER_S  # how much later than its neighbours a trade may be sent, at least


@dataclass(slots=True)
class FeedContext:
    """What all feeds of a venue share."""

    venue: Venue
    ws_url: str
    dialer: Dialer
    sweep: Sweep
    buffer: FrameBuffer
    pace: ConnectLimit
    ask: Callable[[HttpRequest], bytes]  # REST of this venue, within its budget
    clock: Clock
    stats: Stats
    max_frame_bytes: int
    record: Callable[[Records], None]
    on_refused: Callable[[int, str, str], None]  # connection, symbol, reason
    on_full: Callable[[int, Sequence[str], str], None]  # connection, symbols it has no room for, reason
    ever_granted: set[str] = field(default_factory=set)  # symbols that were read in this run, on whatever connection

    def slack_ns(self) -> int:
        """Return how far a trade's own time may lie from the moment it was, or would have been, received.

        However far: with a clock that is hours wrong, a gap with less slack would lie beside the trades that are missing.
        """
        return DISORDER_NS + abs(self.buffer.lag_ns(self.clock.now_ns()))

    def note_event(self, number: int, event: str, reason: str) -> None:
        """Record what became of a connection."""
        self.record(Records(connection_events=[ConnectionEvent(
            at_ns=self.clock.now_ns(), exchange=self.venue.exchange, market_type=self.venue.market_type,
            connection=number, event=event, reason=reason)]))

    def note_gap(self, symbol: str, from_ns: int, reason: str, ahead_ns: int = 0, symbols: tuple[str, ...] = ()) -> None:
        """Record what may be missing, up to now and ahead; told again it grows.

        It is missing of a symbol, or where that is empty of these symbols, and of the whole venue without any.
        """
        self.record(Records(gaps=[Gap(
            exchange=self.venue.exchange, market_type=self.venue.market_type, symbol=symbol, from_ns=from_ns,
            to_ns=self.clock.now_ns() + max(self.slack_ns(), ahead_ns), first_id=None, last_id=None, reason=reason,
            symbols=symbols)]))


class FeedSession:
    """One live connection. Making it dials, and waits for that; raises ServiceUnavailable."""

    def __init__(self, context: FeedContext, number: int, suspects: set[str], wake: Event) -> None:
        venue, clock = context.venue, context.clock
        # a session's answer names an address: it may not lead anywhere
        stream = context.dialer.open(_address(context, number), venue.headers, context.ws_url if venue.session else "")
        self.greeted = venue.session is None or not venue.session.welcome
        self.connection = Connection(stream, context.buffer, context.max_frame_bytes, lambda reason: wake.set(),
                                     f"{venue.name}#{number}", self)
        self.traded_at_ns = 0  # when the last good, live trade was received
        self.connection.received_at_ns = clock.now_ns()
        self.subscriptions = Subscriptions(venue, lambda symbol, reason: context.on_refused(number, symbol, reason), suspects,
                                           lambda symbols, reason: context.on_full(number, symbols, reason), context.ever_granted)
        self.renew = ""  # why, once the venue asks for it
        self.stood_at_ns = 0  # since when everything asked for has been granted
        self.stood_at = math.inf  # the same, monotonic seconds
        self.opened_at = self._heard_at = self._sent_at = clock.monotonic()
        self._venue, self._clock, self._wake = venue, clock, wake
        self._bytes_read = 0
        self._next_beat = self.opened_at + venue.heartbeat.interval_s
        self._beats = self._probe = 0  # pings sent, and how many with the one whose answer is waited for
        self._pongs = 0  # in text, which have no payload of ours: they are counted
        self._messages = message_limit(venue.limits, clock)
        hourly = venue.limits.subscriptions_per_hour
        self._hour = TokenBucket(0.2 * hourly / 3600, 0.8 * hourly, clock) if hourly else None
        self._paid = 0  # symbols of the next request that are off the limits already; its turn comes at _due
        self._due = 0.0

    def serve(self, now: float) -> float:
        """Send what is due and notice what was heard; return the seconds until something else is due."""
        if self.connection.bytes_read != self._bytes_read:
            self._bytes_read, self._heard_at = self.connection.bytes_read, now
        if not self.greeted:
            return ANSWER_WITHIN_S
        ages_s = self.opened_at + self._venue.limits.connection_age_s - now
        return min(self._ask(now), self._beat(now), ages_s if ages_s > 0 else math.inf)

    def problem(self, now: float, stale_s: float) -> str:
        """Return why this connection must be given up, or nothing; `stale_s` without a byte are a reason."""
        silent_s = now - self._heard_at
        if self.connection.closed:
            return self.connection.closed
        if self.subscriptions.failed:
            return f"every symbol was refused: {self.subscriptions.failed}"
        if self.subscriptions.overdue(now):
            return "a subscription was not answered"
        if not self.greeted and now - self.opened_at > ANSWER_WITHIN_S:
            return "no welcome"
        if silent_s > stale_s:
            return f"silent for {silent_s:.0f} s"
        return ""

    def stands(self, now: float) -> bool:
        """Whether all that is wanted flows: granted, or where nobody acknowledges, a trade or a good while later."""
        if self.connection.closed or not self.subscriptions.settled:
            return False
        return (self._venue.acknowledges or not self.subscriptions.granted or self.traded_at_ns > 0
                or now - self._sent_at > ANSWER_WITHIN_S)

    def probe(self) -> None:
        """Send a ping now: its answer comes behind all that the venue sent before."""
        self._send_beat()
        self._probe = self._beats

    @property
    def caught_up(self) -> bool:
        """Whether the answer to the probe is there, and so all that was sent before it."""
        return 0 < self._probe <= (self._pongs if self._venue.heartbeat.text else self.connection.answered)

    def mark_established(self, now: float) -> None:
        """Note that it stands from now on."""
        self.stood_at, self.stood_at_ns = now, self._clock.now_ns()

    def renewal(self, now: float) -> str:
        """Return why a new connection should take its place, or nothing."""
        return self.renew or ("connection age" if now - self.opened_at >= self._venue.limits.connection_age_s else "")

    def _ask(self, now: float) -> float:
        asked = self.subscriptions
        while asked.waiting and not self.connection.closed:
            due = self._turn(now)
            if due > now:
                return due - now
            text = asked.next_text(now)
            self.connection.send_text(self._venue.stamp(text, self._clock.now_ns()) if self._venue.stamp else text)
            self._paid, self._sent_at = 0, now
        return math.inf

    def _turn(self, now: float) -> float:
        """Return when the next request may go; what it costs is taken off the limits once."""
        size = self.subscriptions.next_size
        if not self._paid:
            self._due = now + self._messages.reserve()
        if size > self._paid:
            if self._hour:
                self._due = max(self._due, now + self._hour.reserve(size - self._paid))
            self._paid = size
        return self._due

    def _beat(self, now: float) -> float:
        """Send what the venue wants to hear regularly; return the seconds until the next time."""
        heartbeat = self._venue.heartbeat
        if not heartbeat.interval_s:
            return math.inf
        if now >= self._next_beat:
            self._next_beat = now + heartbeat.interval_s
            self._send_beat()
        return self._next_beat - now

    def _send_beat(self) -> None:
        heartbeat = self._venue.heartbeat
        self._beats += 1
        self._messages.reserve()
        if heartbeat.text:
            self.connection.send_text(heartbeat.text(self._clock.now_ns()))
        else:
            self.connection.send_ping(self._beats)

    def receive_trades(self, received_at_ns: int) -> None:
        """Record when a good, live trade was received last; the pipeline calls it."""
        self.traded_at_ns = received_at_ns

    def receive_control(self, control: Control) -> None:
        """React to a frame that is not trades; the pipeline calls it."""
        if control.kind == ControlKind.RECONNECT:
            self.renew = control.reason or "the venue asks for it"
        elif control.kind == ControlKind.WELCOME:
            self.greeted = True
        else:
            self._pongs += control.kind == ControlKind.PONG
            self.subscriptions.answer(control)
        self._wake.set()


class ConnectAttempt:
    """A connection in the making, in a greenlet of its own, so that whoever wants it stays awake. It wakes them when `done`."""

    def __init__(self, context: FeedContext, number: int, suspects: set[str], wake: Event) -> None:
        self._context, self._number, self._suspects, self._wake = context, number, suspects, wake
        self._greenlet = gevent.spawn(self._make)
        self._greenlet.link(lambda _: wake.set())

    @property
    def done(self) -> bool:
        """Whether `take` may be called."""
        return bool(self._greenlet.ready())

    def result(self) -> FeedSession:
        """Return the connection. Raises ServiceUnavailable with the reason where there is none."""
        made: FeedSession | ServiceUnavailable = self._greenlet.get(block=False)
        if isinstance(made, ServiceUnavailable):
            raise made
        return made

    def cancel(self) -> None:
        """Give it up, made or not."""
        if not self._greenlet.ready():
            self._greenlet.kill(block=False)
        elif isinstance(self._greenlet.value, FeedSession):
            self._greenlet.value.connection.stream.close()

    def _make(self) -> FeedSession | ServiceUnavailable:
        gevent.sleep(self._context.pace.reserve())
        try:
            return FeedSession(self._context, self._number, self._suspects, self._wake)
        except ServiceUnavailable as error:
            return error


def _address(context: FeedContext, number: int) -> str:
    """Return where to connect: some venues tell it anew each time, with a token."""
    session = context.venue.session
    if session is None:
        return context.ws_url
    body = context.ask(session.request) if session.request else b""
    try:
        return session.url(body, context.ws_url, f"{context.clock.now_ns()}{number}")
    except REFUSALS as error:
        raise ServiceUnavailable(f"{context.venue.name}: no session in the answer: {error}") from error
