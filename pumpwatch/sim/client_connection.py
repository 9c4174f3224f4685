"""One WebSocket connection of a client to a simulated venue: its messages, its limits, and what was sent on it."""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import gevent
import numpy as np

from pumpwatch.clock import Clock
from pumpwatch.sim import wire
from pumpwatch.sim.dialect import ClientSession, Message, Past, Reply, Rules
from pumpwatch.sim.ground_truth import PAST, UNSENT, Records, records_of
from pumpwatch.sim.rows import Rows
from pumpwatch.sim.tls import RECORD_BYTES, ServerTlsStream

if TYPE_CHECKING:
    from pumpwatch.sim.faults import Bender
    from pumpwatch.sim.venue import SimVenue

log = logging.getLogger(__name__)
CLOSE_WAIT_S = 2.0


class ClientConnection:
    """A connection and the trades that are queued on it."""

    def __init__(self, number: int, venue: SimVenue, stream: ServerTlsStream, session: ClientSession, clock: Clock) -> None:
        self.number, self.venue, self.stream, self.session = number, venue, stream, session
        self.symbols: list[int] = []
        self.bender: Bender | None = None  # a fault that is at work on this connection's frames
        self.deaf = False  # a fault: pings of the client get no answer, its close no close
        self.sent = 0
        self.reason = ""
        self.clock = clock
        self._frames = wire.ClientFrames()
        self._pending: deque[tuple[int, int, Records, list[int], Sequence[int] | None]] = deque()
        self._arrivals: deque[float] = deque()
        self.opened = self.heard = self.pinged = clock.monotonic()
        self.ping_due = 0.0  # when an unanswered ping was sent, 0 if none is due
        self.closing_by = 0.0  # when the connection is dropped although the client did not answer our close
        self._said = ""  # what we closed it with
        self._reader: Any = None
        stream.on_progress = self.count_sent

    @property
    def rules(self) -> Rules:
        """What is enforced on this connection."""
        return self.session.rules or self.venue.rules

    def serve(self, left: bytes) -> None:
        """Read until the client goes; the body of the connection's greenlet."""
        self._reader = gevent.getcurrent()
        data = left
        try:
            while not self.reason:
                if data:
                    self._receive(data)
                data = self.stream.read() if not self.reason else b""
                if not data:
                    break
        except wire.ProtocolError as error:
            self.close(error.code, str(error))
            while self.stream.read():  # until the client goes, or the janitor drops it
                pass
        finally:
            self.drop("client went")

    def send(self, message: Message) -> None:
        """Send a control or text message of the venue at once."""
        payload, opcode = (message.encode(), wire.TEXT) if isinstance(message, str) else (message, wire.BINARY)
        self.raw(wire.head(len(payload), opcode) + payload)

    def raw(self, data: bytes) -> None:
        """Send bytes as they are, as one TLS record."""
        if not self.stream.closed:
            self.stream.write(data)
            self.stream.flush()

    def push(self, frames: Sequence[Any], records: Records, counts: Sequence[int] | None = None) -> bool:
        """Send frames that carry these records (`counts` of them each; None: one each).

        True: the kernel took everything, and the caller writes the records down as sent. False: this connection has
        done so or will (by `settle` or `drop`).
        """
        if self.stream.closed:
            self._account(records, UNSENT)
            return False
        mine = False
        if self.bender is not None:
            frames, records, counts = self.bender.bend(self, frames, records, counts)
            mine = True
            if not frames:
                return False
        start = self.stream.made
        deque(map(self.stream.write, frames), 0)
        self.stream.flush()
        self.sent += len(records)
        if self.stream.queued:
            self._pending.append((self.stream.made, start, records, list(map(len, frames)), counts))
            return False
        if mine:
            self._account(records)
        return not mine

    def count_sent(self) -> None:
        """Account for what the kernel has taken since."""
        while self._pending and self._pending[0][0] <= self.stream.handed:
            self._account(self._pending.popleft()[2])

    def drop(self, reason: str, *, abort: bool = False) -> None:
        """End the connection now and account for what was queued on it. Harmless when it has ended already."""
        if self.venue.links.pop(self.number, None) is None:
            return
        self.reason = self._said or self.reason or reason
        if self.bender is not None:
            self.bender.release(self)
        self.stream.close(abort=abort)
        self.count_sent()
        for end, start, records, sizes, counts in self._pending:
            count = _whole_frames(self.stream.handed - start, end - start, sizes)
            count = count if counts is None else sum(counts[:count])
            self._account(records[:count])
            self._account(records[count:], UNSENT)
        self._pending.clear()
        self.venue.truth.event("down", venue=self.venue.name, connection=self.number, reason=self.reason,
                               sent=self.sent)
        self.venue.resubscribed()
        if self._reader is not None and self._reader is not gevent.getcurrent():
            self._reader.kill(block=False)

    def close(self, code: int, reason: str, linger_s: float = 0.0) -> None:
        """Start the closing handshake; no trade follows. The janitor drops the connection a little (and linger_s)
        later, if the client has not answered."""
        if not self.closing_by and not self.stream.closed:
            self._said = f"closed {code} {reason}"
            self.closing_by = self.clock.monotonic() + CLOSE_WAIT_S + linger_s
            payload = code.to_bytes(2, "big") + reason.encode()[:123]
            self.raw(wire.head(len(payload), wire.CLOSE) + payload)
            self.venue.resubscribed()

    def ping(self) -> None:
        """Send a protocol ping; its pong is due."""
        self.pinged = self.clock.monotonic()
        self.ping_due = self.ping_due or self.pinged
        payload = str(self.clock.now_ns() // 1_000_000).encode()
        self.raw(wire.head(len(payload), wire.PING) + payload)

    def _receive(self, data: bytes) -> None:
        now = self.heard = self.clock.monotonic()
        for opcode, payload in self._frames.feed(data):
            if opcode == wire.CLOSE:
                if not self.deaf:
                    if not self.closing_by:
                        self.raw(wire.head(len(payload[:2]), wire.CLOSE) + payload[:2])
                    self.reason = "client closed"
                return
            if self._too_many(now):
                self.close(*self.venue.rules.messages_close)
                return
            if opcode == wire.PING:
                if not self.deaf:
                    self.raw(wire.head(len(payload), wire.PONG) + payload)
            elif opcode == wire.PONG:
                self.ping_due = 0.0
            elif not self.closing_by:
                self._hear(payload, opcode)

    def _too_many(self, now: float) -> bool:
        rules, arrivals = self.rules, self._arrivals
        arrivals.append(now)
        while arrivals[0] <= now - rules.message_window_s:
            arrivals.popleft()
        return 0 < rules.messages_per_second * rules.message_window_s < len(arrivals)

    def _hear(self, payload: bytes, opcode: int) -> None:
        try:
            message: Message = payload.decode() if opcode == wire.TEXT else payload
        except UnicodeDecodeError:
            raise wire.ProtocolError(1007, "text that is no UTF-8") from None
        before = set(self.session.topics)
        self.answer(self.venue.dialect.receive(self.session, message, self.rules, self.venue.history))
        if before != set(self.session.topics):
            self.venue.resubscribed()

    def answer(self, reply: Reply) -> None:
        """Do what the dialect decided."""
        for part in reply.send:
            if isinstance(part, Past):
                self._send_past(part.message, part.rows)
            else:
                self.send(part)
        if reply.close is not None:
            self.close(*reply.close)

    def _send_past(self, message: Message, rows: Rows) -> None:
        records = records_of(self.venue.number, rows, self.number, PAST, self.clock.now_ns())
        payload, opcode = (message.encode(), wire.TEXT) if isinstance(message, str) else (message, wire.BINARY)
        start = self.stream.made
        frame = wire.head(len(payload), opcode) + payload
        self.raw(frame)
        if self.stream.queued:
            self._pending.append((self.stream.made, start, records, [len(frame)], [len(records)]))
        else:
            self._account(records)

    def _account(self, records: Records, state: int | None = None) -> None:
        records["sent_at"] = self.clock.now_ns()
        if state is not None:
            records["state"] = np.where(records["state"] <= PAST, state, records["state"])
        self.venue.truth.add(records)


def _whole_frames(handed: int, made: int, sizes: list[int]) -> int:
    """Return how many of the frames, one TLS record each, lie whole in the first `handed` of `made` bytes."""
    records = [-(-size // RECORD_BYTES) for size in sizes]
    overhead = (made - sum(sizes)) // max(sum(records), 1)
    ends = np.cumsum(np.array(sizes) + overhead * np.array(records))
    return int(np.searchsorted(ends, handed, side="right"))

