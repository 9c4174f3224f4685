"""One WebSocket connection of a client to a simulated venue: its messages, its limits, and the trades sent on it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import gevent
import numpy as np

from pumpwatch.clock import Clock
from pumpwatch.sim import wire
from pumpwatch.sim.dialect import ClientSession, Dialect, Message, Past, Reply, Rules
from pumpwatch.sim.frame_faults import FrameFaults
from pumpwatch.sim.ground_truth import PAST, UNSENT, Records, TruthWriter, records_of
from pumpwatch.sim.history import TradeHistory
from pumpwatch.sim.rows import Rows, SymbolTable
from pumpwatch.sim.tls import RECORD_BYTES, ServerTlsStream

CLOSE_WAIT_S = 2.0


@dataclass(frozen=True, slots=True)
class VenueContext:
    """The facts and services of a venue that all its connections share. number: the venue's, in the ground truth."""

    number: int
    dialect: Dialect
    rules: Rules
    table: SymbolTable
    history: TradeHistory
    truth: TruthWriter
    clock: Clock


@dataclass(slots=True)
class Unconfirmed:
    """Frames that the kernel has not taken completely: ciphertext positions of start and end, sizes, and records."""

    start: int
    end: int
    records: Records
    sizes: list[int]
    counts: Sequence[int] | None  # records of each frame; None: one each


class ClientConnection:
    """A connection and the trades that are queued on it.

    on_change(): called when its subscriptions have changed or it stops getting trades. on_end(connection): called once, when
    it has ended.
    """

    def __init__(self, number: int, context: VenueContext, stream: ServerTlsStream, session: ClientSession, *,
                 on_change: Callable[[], None], on_end: Callable[[ClientConnection], None]) -> None:
        self.number, self.context, self.stream, self.session = number, context, stream, session
        self.symbols: list[int] = []
        self.frame_faults: FrameFaults | None = None
        self.deaf = False  # a fault: the client's pings and close get no answer
        self.sent = 0
        self.ended = False
        self.reason = ""
        self._clock = context.clock
        self._on_change, self._on_end = on_change, on_end
        self._frames = wire.ClientFrames()
        self._unconfirmed: deque[Unconfirmed] = deque()
        self._arrivals: deque[float] = deque()
        self.opened = self.heard = self.pinged = self._clock.monotonic()
        self.ping_due = 0.0  # when the oldest unanswered ping was sent; 0: none
        self.closing_by = 0.0  # when the connection is dropped even if the client has not answered our close; 0: not closing
        self._close_reason = ""
        self._announced = False
        self._reader: Any = None
        stream.on_progress = self.confirm_sent

    @property
    def rules(self) -> Rules:
        """The limits enforced on this connection."""
        return self.session.rules or self.context.rules

    def serve(self, received: bytes) -> None:
        """Read until the client leaves; the body of the connection's greenlet. received: bytes read beyond the handshake."""
        self._reader = gevent.getcurrent()
        data = received
        try:
            while not self.reason:
                if data:
                    self._receive(data)
                data = self.stream.read() if not self.reason else b""
                if not data:
                    break
        except wire.ProtocolError as error:
            self.close(error.code, str(error))
            while self.stream.read():  # until the client leaves, or the janitor drops it
                pass
        finally:
            self.drop("client went")

    def send(self, message: Message) -> None:
        """Send a control or text message of the venue at once."""
        self.send_raw(_frame_of(message))

    def send_raw(self, data: bytes) -> None:
        """Send bytes unchanged, as one TLS record."""
        if not self.stream.closed:
            self.stream.write(data)
            self.stream.flush()

    def inject_frame_faults(self) -> FrameFaults:
        """Return the faults on this connection's frames, to be changed."""
        if self.frame_faults is None:
            self.frame_faults = FrameFaults(self._clock, self.context.truth)
        return self.frame_faults

    def push(self, frames: Sequence[Any], records: Records, counts: Sequence[int] | None = None) -> bool:
        """Send frames that carry these records (`counts` of them each; None: one each).

        True: the kernel took everything, and the caller writes the records as sent. False: this connection has written
        them or will (in `confirm_sent` or `drop`).
        """
        if self.stream.closed:
            self._write(records, UNSENT)
            return False
        faulty = self.frame_faults is not None
        if self.frame_faults is not None:
            frames, records, counts = self.frame_faults.apply(frames, records, counts)
            if self.frame_faults.over:
                self.frame_faults = None
            if not frames:
                return False
        start = self.stream.made
        deque(map(self.stream.write, frames), 0)
        self.stream.flush()
        self.sent += len(records)
        if self.stream.queued:
            self._unconfirmed.append(Unconfirmed(start, self.stream.made, records, list(map(len, frames)), counts))
            return False
        if faulty:
            self._write(records)
        return not faulty

    def confirm_sent(self) -> None:
        """Write the records of frames that the kernel has taken since."""
        while self._unconfirmed and self._unconfirmed[0].end <= self.stream.handed:
            self._write(self._unconfirmed.popleft().records)

    def drop(self, reason: str, *, abort: bool = False) -> None:
        """End the connection now and write the records of its queue. Harmless when it has ended already."""
        if self.ended:
            return
        self.ended = True
        self.reason = self._close_reason or self.reason or reason
        self._on_end(self)
        if self.frame_faults is not None:
            self.frame_faults.release()
        self.stream.close(abort=abort)
        self.confirm_sent()
        for queued in self._unconfirmed:
            count = _whole_frames(self.stream.handed - queued.start, queued.end - queued.start, queued.sizes)
            count = count if queued.counts is None else sum(queued.counts[:count])
            self._write(queued.records[:count])
            self._write(queued.records[count:], UNSENT)
        self._unconfirmed.clear()
        self.context.truth.event("down", venue=self.context.dialect.name, connection=self.number, reason=self.reason,
                                 sent=self.sent)
        if self._reader is not None and self._reader is not gevent.getcurrent():
            self._reader.kill(block=False)

    def close(self, code: int, reason: str, linger_s: float = 0.0) -> None:
        """Start the closing handshake; no trade follows.

        If the client does not answer, the janitor drops the connection after CLOSE_WAIT_S and linger_s.
        """
        if not self.closing_by and not self.stream.closed:
            self._close_reason = f"closed {code} {reason}"
            self.closing_by = self._clock.monotonic() + CLOSE_WAIT_S + linger_s
            payload = code.to_bytes(2, "big") + reason.encode()[:123]
            self.send_raw(wire.head(len(payload), wire.CLOSE) + payload)
            self._on_change()

    def ping(self) -> None:
        """Send a protocol ping and expect its pong."""
        self.pinged = self._clock.monotonic()
        self.ping_due = self.ping_due or self.pinged
        payload = str(self._clock.now_ns() // 1_000_000).encode()
        self.send_raw(wire.head(len(payload), wire.PING) + payload)

    def reply(self, reply: Reply) -> None:
        """Send the frames of a reply, and close if it says so."""
        for part in reply.send:
            if isinstance(part, Past):
                self._send_past(part.message, part.rows)
            else:
                self.send(part)
        if reply.close is not None:
            self.close(*reply.close)

    def enforce_time_limits(self, now: float) -> None:
        """Drop the connection or ping the client when a time limit is reached. now: monotonic seconds."""
        rules = self.context.rules
        if 0 < self.closing_by < now:
            self.drop("close unanswered")
        elif self.ping_due and 0 < rules.pong_within_s < now - self.ping_due:
            self.drop("no pong")
        elif 0 < rules.client_silence_s < now - self.heard:
            self.drop("client silent")
        elif 0 < rules.connection_age_s < now - self.opened and not self.closing_by:
            self._end_of_age()
        elif 0 < rules.age_notice_s < rules.connection_age_s < now - self.opened + rules.age_notice_s and not self._announced:
            self._announced = True
            self.announce_end()
        elif 0 < rules.ping_every_s < now - self.pinged and not self.closing_by:
            self.ping()

    def announce_end(self) -> None:
        """Send the venue's notice that this connection will end, if it has such a notice."""
        dialect, form = self.context.dialect, self.session.form
        event = dialect.maintenance(form, self._clock.now_ns())
        if event is not None:
            self.context.truth.event("announced", venue=dialect.name, connection=self.number)
            self.send_raw(wire.head(len(event), dialect.opcode(form)) + event)

    def _end_of_age(self) -> None:
        close = self.context.rules.age_close
        if close is None:
            self.drop("too old")
        else:
            self.close(*close)

    def _receive(self, data: bytes) -> None:
        now = self.heard = self._clock.monotonic()
        for opcode, payload in self._frames.feed(data):
            if opcode == wire.CLOSE:
                if not self.deaf:
                    if not self.closing_by:
                        self.send_raw(wire.head(len(payload[:2]), wire.CLOSE) + payload[:2])
                    self.reason = "client closed"
                return
            if self._sends_too_much(now):
                self.close(*self.context.rules.messages_close)
                return
            if opcode == wire.PING:
                if not self.deaf:
                    self.send_raw(wire.head(len(payload), wire.PONG) + payload)
            elif opcode == wire.PONG:
                self.ping_due = 0.0
            elif not self.closing_by:
                self._hand_to_dialect(payload, opcode)

    def _sends_too_much(self, now: float) -> bool:
        rules, arrivals = self.rules, self._arrivals
        arrivals.append(now)
        while arrivals[0] <= now - rules.message_window_s:
            arrivals.popleft()
        return 0 < rules.messages_per_second * rules.message_window_s < len(arrivals)

    def _hand_to_dialect(self, payload: bytes, opcode: int) -> None:
        try:
            message: Message = payload.decode() if opcode == wire.TEXT else payload
        except UnicodeDecodeError:
            raise wire.ProtocolError(1007, "the text is not UTF-8") from None
        before = set(self.session.topics)
        self.reply(self.context.dialect.receive(self.session, message, self.rules, self.context.history))
        if before != set(self.session.topics):
            self._on_change()

    def _send_past(self, message: Message, rows: Rows) -> None:
        records = records_of(self.context.number, rows, self.number, PAST, self._clock.now_ns())
        start, frame = self.stream.made, _frame_of(message)
        self.send_raw(frame)
        if self.stream.queued:
            self._unconfirmed.append(Unconfirmed(start, self.stream.made, records, [len(frame)], [len(records)]))
        else:
            self._write(records)

    def _write(self, records: Records, state: int | None = None) -> None:
        """Write records to the ground truth; `state` replaces the state of records that would count as sent."""
        records["sent_at"] = self._clock.now_ns()
        if state is not None:
            records["state"] = np.where(records["state"] <= PAST, state, records["state"])
        self.context.truth.add(records)


def _frame_of(message: Message) -> bytes:
    payload, opcode = (message.encode(), wire.TEXT) if isinstance(message, str) else (message, wire.BINARY)
    return wire.head(len(payload), opcode) + payload


def _whole_frames(handed: int, made: int, sizes: list[int]) -> int:
    """Return how many of the frames, one TLS record each, lie whole in the first `handed` of `made` bytes."""
    records = [-(-size // RECORD_BYTES) for size in sizes]
    overhead = (made - sum(sizes)) // max(sum(records), 1)
    ends = np.cumsum(np.array(sizes) + overhead * np.array(records))
    return int(np.searchsorted(ends, handed, side="right"))
