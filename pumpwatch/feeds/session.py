"""One live connection of a feed: sends requests and heartbeats, and judges whether it is still good."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import gevent
from gevent.event import Event

from pumpwatch.clock import NS_PER_S, Clock
from pumpwatch.errors import REFUSALS, ServiceUnavailable
from pumpwatch.feeds.rate_limits import ConnectLimit, message_limit
from pumpwatch.feeds.renewal_queue import RenewalQueue, due_age_s
from pumpwatch.feeds.subscriptions import ANSWER_WITHIN_S, Subscriptions
from pumpwatch.model import DISORDER_NS, Control, ControlKind, Gap
from pumpwatch.net.connection import Connection
from pumpwatch.net.frames import FrameBuffer, next_source_number
from pumpwatch.net.ratelimit import TokenBucket
from pumpwatch.net.sweep import Sweep
from pumpwatch.net.ws import Dialer
from pumpwatch.records import ConnectionEvent, Records
from pumpwatch.stats import Stats
from pumpwatch.venue import HttpRequest, Venue

PARSED_WITHIN_S = 1.0  # frames that wait longer are held back; the venue's lag covers that
PARSED_LOOK_S = 0.005
QUIET_S = 3.0  # without a byte, before `heard_at_ns` sends a ping


@dataclass(frozen=True, slots=True)
class FeedContext:
    """Everything that the feeds of one venue share."""

    venue: Venue
    ws_url: str
    dialer: Dialer
    sweep: Sweep
    buffer: FrameBuffer
    connect_limit: ConnectLimit
    ask: Callable[[HttpRequest], bytes]  # sends a REST request of this venue, within its budget
    clock: Clock
    stats: Stats
    max_frame_bytes: int
    record: Callable[[Records], None]
    on_rejected: Callable[[int, str, str], None]  # connection, symbol, reason
    on_full: Callable[[int, Sequence[str], str], None]  # connection, symbols that do not fit on it, reason
    ever_granted: set[str] = field(default_factory=set)  # symbols that were read in this run, on any connection
    renewals: RenewalQueue = field(default_factory=RenewalQueue)

    def slack_ns(self) -> int:
        """Return how far a trade's own time may be from the time of its arrival.

        It has no upper limit: if a clock is hours wrong, a gap with less slack would not cover the missing trades.
        """
        return DISORDER_NS + abs(self.buffer.lag_ns(self.clock.now_ns()))

    def record_event(self, number: int, event: str, reason: str) -> None:
        """Record an event of a connection."""
        self.record(Records(connection_events=[ConnectionEvent(
            at_ns=self.clock.now_ns(), exchange=self.venue.exchange, market_type=self.venue.market_type,
            connection=number, event=event, reason=reason)]))

    def record_gap(self, symbol: str, from_ns: int, reason: str, ahead_ns: int = 0, symbols: tuple[str, ...] = ()) -> None:
        """Record a gap up to now, and at least `ahead_ns` ahead; later records with the same beginning extend it.

        The gap is of one symbol; if `symbol` is empty, of `symbols`; if these are empty too, of the whole venue.
        """
        self.record(Records(gaps=[Gap(
            exchange=self.venue.exchange, market_type=self.venue.market_type, symbol=symbol, from_ns=from_ns,
            to_ns=self.clock.now_ns() + max(self.slack_ns(), ahead_ns), reason=reason, symbols=symbols)]))


class FeedSession:
    """One live connection. The constructor waits until it is connected; it raises ServiceUnavailable.

    avoid: the IP address that its double is connected to; other addresses of the host are preferred.
    """

    def __init__(self, context: FeedContext, number: int, suspects: set[str], wake: Event, avoid: str = "") -> None:
        venue, clock = context.venue, context.clock
        # a session's answer names the address, so the rules for redirects apply to it
        stream = context.dialer.open(_address(context, number), venue.headers, context.ws_url if venue.session else "", avoid)
        self.peer = stream.peer  # the IP address of the other end; empty through a proxy
        self.source_number = next_source_number()
        self.greeted = venue.session is None or not venue.session.welcome
        self.connection = Connection(stream, context.buffer, context.max_frame_bytes, lambda reason: wake.set(),
                                     f"{venue.name}#{number}", self)
        self.traded_at_ns = 0  # when the last good, live trade was received
        self._late_ns = 0  # how long after its own time that was
        self.connection.received_at_ns = clock.now_ns()
        self.subscriptions = Subscriptions(venue, lambda symbol, reason: context.on_rejected(number, symbol, reason), suspects,
                                           lambda symbols, reason: context.on_full(number, symbols, reason), context.ever_granted)
        self.renew = ""  # the reason, once the venue asks for a renewal
        self.established_at_ns = 0  # since when everything requested is granted
        self.established_at = math.inf  # the same, monotonic seconds
        self.opened_at = self._heard_at = self._sent_at = clock.monotonic()
        self.due_at = self.opened_at + due_age_s(venue.limits.connection_age_s, number)  # it is old then
        self._context, self._number, self._venue, self._clock = context, number, venue, clock
        self._wake, self._renewals = wake, context.renewals
        self._bytes_read = 0
        self._nudged_at = -math.inf  # when a ping was last sent because it was quiet
        self._next_heartbeat = self.opened_at + venue.heartbeat.interval_s
        self._heartbeats = self._probe = 0  # pings sent, and the number of the probe
        self._pongs = 0  # text answers, which are counted because they carry no payload of ours
        self._messages = message_limit(venue.limits, clock)
        hourly = venue.limits.subscriptions_per_hour
        self._hour = TokenBucket(0.2 * hourly / 3600, 0.8 * hourly, clock) if hourly else None
        self._paid = 0  # symbols of the next request that the limits have counted already; it may be sent at _due
        self._due = 0.0

    def serve(self, now: float) -> float:
        """Send due requests and heartbeats, and notice new data; return the seconds until the next is due."""
        if self.connection.bytes_read != self._bytes_read:
            self._bytes_read, self._heard_at = self.connection.bytes_read, now
        if not self.greeted:
            return ANSWER_WITHIN_S
        ages_s = self.due_at - now
        return min(self._send_requests(now), self._heartbeat(now), ages_s if ages_s > 0 else math.inf)

    def heard_at_ns(self) -> int:
        """Return the time of the last data in ns; if it is old, send a ping so that a later call knows more."""
        now = self._clock.monotonic()
        if self._clock.now_ns() - self.connection.received_at_ns > QUIET_S * NS_PER_S and now - self._nudged_at > QUIET_S:
            self._nudged_at = now
            self._send_heartbeat()
        return self.connection.received_at_ns

    def problem(self, now: float, stale_s: float) -> str:
        """Return why this connection must be given up, or nothing; `stale_s` seconds without a byte are a reason."""
        silent_s = now - self._heard_at
        if self.connection.closed:
            return self.connection.closed
        if self.subscriptions.failed:
            return f"every symbol was rejected: {self.subscriptions.failed}"
        if self.subscriptions.overdue(now):
            return "a subscription got no answer"
        if not self.greeted and now - self.opened_at > ANSWER_WITHIN_S:
            return "the venue sent no welcome"
        if silent_s > stale_s:
            return f"no data for {silent_s:.0f} s"
        return ""

    def ready(self, now: float) -> bool:
        """Return whether everything requested was granted.

        If the venue does not acknowledge, a trade, or a while without one, counts as an acknowledgement.
        """
        if self.connection.closed or not self.subscriptions.settled:
            return False
        return (self._venue.acknowledges or not self.subscriptions.granted or self.traded_at_ns > 0
                or now - self._sent_at > ANSWER_WITHIN_S)

    def probe(self) -> None:
        """Send a ping now; its answer arrives after everything that the venue sent before."""
        self._send_heartbeat()
        self._probe = self._heartbeats

    @property
    def caught_up(self) -> bool:
        """Return whether the probe was answered, and so everything sent before the answer was read."""
        return 0 < self._probe <= (self._pongs if self._venue.heartbeat.text else self.connection.answered)

    def mark_established(self, now: float) -> None:
        """Record that the connection is up from now on."""
        self.established_at, self.established_at_ns = now, self._clock.now_ns()

    def slack_ns(self) -> int:
        """Return how far the time of its last trades may be from the time of their arrival.

        It exceeds the venue's slack if this connection has stalled and now delivers delayed frames.
        """
        return max(self._context.slack_ns(), DISORDER_NS + self._late_ns)

    def await_parsed(self) -> None:
        """Wait until all frames of this connection are parsed, at most PARSED_WITHIN_S."""
        end = self._clock.monotonic() + PARSED_WITHIN_S
        while self._context.buffer.holds(self) and self._clock.monotonic() < end:
            gevent.sleep(PARSED_LOOK_S)

    def renewal(self, now: float) -> str:
        """Return why a new connection should replace it, or nothing."""
        return self.renew or self._renewals.requested(self.opened_at) or ("connection age" if now >= self.due_at else "")

    def _send_requests(self, now: float) -> float:
        subscriptions = self.subscriptions
        while subscriptions.waiting and not self.connection.closed:
            due = self._reserve_turn(now)
            if due > now:
                return due - now
            text = subscriptions.next_text(now)
            self.connection.send_text(self._venue.stamp(text, self._clock.now_ns()) if self._venue.stamp else text)
            self._paid, self._sent_at = 0, now
        return math.inf

    def _reserve_turn(self, now: float) -> float:
        """Return when the next request may be sent; the limits count it once."""
        size = self.subscriptions.next_size
        if not self._paid:
            self._due = now + self._messages.reserve()
        if size > self._paid:
            if self._hour:
                self._due = max(self._due, now + self._hour.reserve(size - self._paid))
            self._paid = size
        return self._due

    def _heartbeat(self, now: float) -> float:
        """Send a heartbeat if one is due; return the seconds until the next."""
        heartbeat = self._venue.heartbeat
        if not heartbeat.interval_s:
            return math.inf
        if now >= self._next_heartbeat:
            self._next_heartbeat = now + heartbeat.interval_s
            self._send_heartbeat()
        return self._next_heartbeat - now

    def _send_heartbeat(self) -> None:
        heartbeat = self._venue.heartbeat
        self._heartbeats += 1
        self._messages.reserve()
        if heartbeat.text:
            self.connection.send_text(heartbeat.text(self._clock.now_ns()))
        else:
            self.connection.send_ping(self._heartbeats)

    def receive_trades(self, received_at_ns: int, traded_ns: int) -> None:
        """Record when the last good, live trade was received, and its own time; the pipeline calls it."""
        self.traded_at_ns, self._late_ns = received_at_ns, received_at_ns - traded_ns

    def receive_control(self, control: Control) -> None:
        """React to a frame that is not trades; the pipeline calls it."""
        if control.kind == ControlKind.RECONNECT:
            self.renew = control.reason or "the venue requests it"
            self._renewals.restart_announced(self._number, self.renew, self._clock.monotonic())
        elif control.kind == ControlKind.WELCOME:
            self.greeted = True
        else:
            self._pongs += control.kind == ControlKind.PONG
            self.subscriptions.answer(control)
        self._wake.set()


class ConnectAttempt:
    """Opens a connection in its own greenlet, and sets `wake` when `done`."""

    def __init__(self, context: FeedContext, number: int, suspects: set[str], wake: Event,
                 avoid: Callable[[], str] = lambda: "") -> None:
        self._context, self._number, self._suspects, self._wake, self._avoid = context, number, suspects, wake, avoid
        self._greenlet = gevent.spawn(self._open)
        self._greenlet.link(lambda _: wake.set())

    @property
    def done(self) -> bool:
        """Return whether `result` may be called."""
        return bool(self._greenlet.ready())

    def result(self) -> FeedSession:
        """Return the connection. Raises ServiceUnavailable with the reason if it could not be opened."""
        opened: FeedSession | ServiceUnavailable = self._greenlet.get(block=False)
        if isinstance(opened, ServiceUnavailable):
            raise opened
        return opened

    def cancel(self) -> None:
        """Give up; close the connection if it is open already, or opens before the greenlet has ended."""
        if self._greenlet.ready():
            _close_opened(self._greenlet)
        else:
            self._greenlet.link_value(_close_opened)
            self._greenlet.kill(block=False)

    def _open(self) -> FeedSession | ServiceUnavailable:
        self._context.connect_limit.acquire()
        try:
            return FeedSession(self._context, self._number, self._suspects, self._wake, self._avoid())
        except ServiceUnavailable as error:
            return error


def _close_opened(attempt: gevent.Greenlet[[], FeedSession | ServiceUnavailable]) -> None:
    if isinstance(attempt.value, FeedSession):
        attempt.value.connection.stream.close()


def _address(context: FeedContext, number: int) -> str:
    """Return the address to connect to; some venues give a new one, with a token, for each connection."""
    session = context.venue.session
    if session is None:
        return context.ws_url
    body = context.ask(session.request) if session.request else b""
    try:
        return session.url(body, context.ws_url, f"{context.clock.now_ns()}{number}")
    except REFUSALS as error:
        raise ServiceUnavailable(f"{context.venue.name}: the answer contains no session: {error}") from error
