"""One simulated market of an exchange: its connections, their subscriptions, and the delivery of trades."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, field
from typing import Any

import gevent
import numpy as np

from pumpwatch.clock import NS_PER_S
from pumpwatch.sim import wire
from pumpwatch.sim.client_connection import ClientConnection, VenueContext
from pumpwatch.sim.client_limits import AddressLimits
from pumpwatch.sim.dialect import ClientSession
from pumpwatch.sim.ground_truth import NO_SUBSCRIBER, SENT, records_of
from pumpwatch.sim.http_messages import HttpCall, HttpReply
from pumpwatch.sim.market import SimulatedMarket
from pumpwatch.sim.rest_faults import HANG, damaged, shortened
from pumpwatch.sim.rest_history import HistoryFault, RestHistory
from pumpwatch.sim.rows import Rows
from pumpwatch.sim.tls import ServerTlsStream

TOO_OFTEN = (403, 418, 429)


@dataclass
class VenueFaults:
    """Faults of a whole venue, and their ends (monotonic seconds)."""

    refuse_until: float = 0.0
    refuse_status: int = 503
    refusal: str = ""  # refuse (HTTP status), down (cut off at once), hang (never answered)
    rest_until: float = 0.0
    rest_status: int = 429
    rest_form: str = ""  # of sim.rest_faults, instead of that status
    rest_symbol: str = ""  # the symbol that the form is about
    rest_path: str = ""  # only requests whose path contains this
    ban_until: float = 0.0
    ban_s: float = 0.0
    history: HistoryFault | None = None


@dataclass(frozen=True, slots=True)
class RecordedPayloads:
    """Recorded payloads, and for each row the number of the payload that carries it."""

    payloads: list[bytes]
    payload_of: Any


@dataclass
class Routes:
    """The connections that get each symbol: flat[start : start + count] are their positions in `connections`."""

    connections: list[ClientConnection] = field(default_factory=list)
    numbers: Any = None
    counts: Any = None
    starts: Any = None
    flat: Any = None
    form: str | None = None  # the only form in use; None if there are several


class SimVenue:
    """Serves one market to its clients."""

    def __init__(self, context: VenueContext, market: SimulatedMarket, address_limits: AddressLimits, *,
                 backlog_bytes: int, lag_s: float = 0.0) -> None:
        self.context, self.market = context, market
        self.number, self.dialect, self.rules, self.table = context.number, context.dialect, context.rules, context.table
        self.truth, self.history, self.clock = context.truth, context.history, context.clock
        self.name = context.dialect.name
        self.connections: dict[int, ClientConnection] = {}
        self.faults = VenueFaults()
        self.made = self.connects = self.requests = self.rejected = 0  # trades, connections, REST requests so far
        self._lag_ns = int(lag_s * NS_PER_S)
        self._backlog_bytes = backlog_bytes
        self._address_limits = address_limits
        self._memory: dict[str, Any] = {}
        self._routes: Routes | None = None

    def refusal(self) -> str:
        """Return how a fault rejects connections now: refuse, down or hang; "" if none does."""
        return self.faults.refusal if self.faults.refuse_until > self.clock.monotonic() else ""

    def connect(self, stream: ServerTlsStream, request: wire.ClientRequest, number: int) -> HttpReply | ClientConnection:
        """Answer a WebSocket handshake: return a connection that has been greeted, or the rejection.

        Raises ProtocolError for a request that is not a handshake.
        """
        if self.refusal() == "refuse":
            return HttpReply(self.faults.refuse_status)
        if (rejected := self._address_limits.count_attempt(stream.peer, self.rules)) is not None:
            self.truth.event("refused", venue=self.name, reason=rejected[0])
            return rejected[1]
        if 0 < self.rules.connections <= sum(other.stream.peer == stream.peer for other in self.connections.values()):
            self.truth.event("refused", venue=self.name, reason="too many connections")
            return HttpReply(403)
        session = ClientSession(request.path, request.query, request.headers, memory=self._memory)
        opened = self.dialect.open(session, self.rules)
        if isinstance(opened, HttpReply):
            return opened
        accepted = wire.accept(request)
        connection = ClientConnection(number, self.context, stream, session, on_change=self.forget_routes, on_end=self._remove)
        self.connections[number] = connection
        self.connects += 1
        self.truth.event("up", venue=self.name, connection=number, path=request.path)
        stream.write(accepted)
        stream.flush()
        connection.reply(opened)
        self.forget_routes()
        return connection

    def rest(self, request: wire.ClientRequest, peer: str) -> HttpReply:
        """Answer a REST request. A rejection for too many requests is an event of the ground truth."""
        self.requests += 1
        faults, now = self.faults, self.clock.monotonic()
        faulty = faults.rest_until > now and faults.rest_path in request.path
        form = faults.rest_form if faulty else ""
        if faulty and not form:
            return HttpReply(faults.rest_status, b'{"code":-1,"msg":"simulated trouble"}', {"Retry-After": "1"})
        if form == HANG:
            gevent.sleep(faults.rest_until - now)
            form = ""
        reply = self._unless_banned(request, peer, form)
        if reply.status in TOO_OFTEN:
            self.rejected += 1
            self.truth.event("rejected", venue=self.name, path=request.path, status=reply.status, address=peer,
                             retry_after=reply.headers.get("Retry-After", ""))
        return damaged(reply, form) if form else reply

    def _unless_banned(self, request: wire.ClientRequest, peer: str, form: str) -> HttpReply:
        now, ban = self.clock.monotonic(), self._address_limits.ban(peer)
        if (banned := ban.answer()) is not None:
            return banned
        if self.faults.ban_until > now:
            ban.warn(self.faults.ban_s, self.faults.ban_s)
            return HttpReply(429, b'{"code":-1003,"msg":"too many requests"}', {"Retry-After": str(math.ceil(self.faults.ban_s))})
        meter = self._address_limits.meter(peer, self.rules)
        seen = RestHistory(self.history, self.clock.now_ns(), self._lag_ns, fault=self.faults.history, now=now, truth=self.truth,
                           venue=self.name)
        call = HttpCall(request.method, request.path, request.query, request.headers, request.body,
                        self.clock.now_ns(), self._memory)
        reply = self.dialect.rest(call, self.rules, shortened(seen, form, self.faults.rest_symbol), meter)
        if reply.status in TOO_OFTEN and self.rules.ban_s:
            ban.warn(meter.retry_after_s(), self.rules.ban_s)
        return reply

    def forget_routes(self) -> None:
        """Compute the routes again at the next use, because connections or subscriptions have changed."""
        self._routes = None

    def deliver(self, rows: Rows, recorded: RecordedPayloads | None = None) -> None:
        """Add trades to the history and send each to the connections that subscribed to its symbol.

        recorded: the frames that carry them; None: frames are made from the rows.
        """
        if not len(rows):
            return
        self.made += len(rows)
        self.history.add(rows)
        routes = self.routes()
        counts = routes.counts[rows.symbol]
        now_ns = self.clock.now_ns()
        if (alone := counts == 0).any():
            self.truth.add(records_of(self.number, rows.take(alone), -1, NO_SUBSCRIBER, now_ns))
            if alone.all():
                return
        picked, position = _fan_out(rows, counts, routes)
        chosen = rows.take(picked)
        records = records_of(self.number, chosen, routes.numbers[position], SENT, now_ns)
        edges = [*np.flatnonzero(np.diff(position, prepend=-1)).tolist(), len(position)]
        frames = None
        if recorded is None and routes.form is not None and self.dialect.trades_per_frame == 1:
            frames = self.frames(self.dialect.encode(routes.form, chosen), routes.form)
        written = []
        for begin, end in itertools.pairwise(edges):
            connection = routes.connections[int(position[begin])]
            counts_of = None
            if frames is not None:
                part = frames[begin:end]
            elif recorded is not None:
                part, counts_of = self._recorded_for(connection, recorded, picked[begin:end])
            else:
                part, counts_of = self._encode_for(connection, chosen.take(slice(begin, end)))
            if connection.push(part, records[begin:end], counts_of):
                written.append((begin, end))
            elif connection.stream.queued > self._backlog_bytes:
                connection.drop("client too slow", abort=True)
        if len(written) == len(edges) - 1:
            self.truth.add(records)
        else:
            for begin, end in written:
                self.truth.add(records[begin:end])

    def _recorded_for(self, connection: ClientConnection, recorded: RecordedPayloads,
                      picked: Any) -> tuple[list[bytes], list[int]]:
        """Return one connection's recorded frames in its form, and how many of the picked rows each carries."""
        numbers = recorded.payload_of[picked]
        first = np.flatnonzero(np.diff(numbers, prepend=-1))
        counts: list[int] = np.diff(first, append=len(numbers)).tolist()
        reframe, form = self.dialect.reframe, connection.session.form
        return self.frames([reframe(form, recorded.payloads[number]) for number in numbers[first].tolist()], form), counts

    def routes(self) -> Routes:
        """Return the connections that get each symbol; a new object after each change."""
        return self._routes or self._route()

    def _remove(self, connection: ClientConnection) -> None:
        self.connections.pop(connection.number, None)
        self.forget_routes()

    def frames(self, payloads: list[bytes], form: str) -> list[bytes]:
        """Return whole WebSocket frames for payloads of trades in a form."""
        return wire.frames_of(payloads, self.dialect.opcode(form))

    def _encode_for(self, connection: ClientConnection, rows: Rows) -> tuple[list[bytes], list[int] | None]:
        """Encode the rows of one connection; runs of a symbol share frames if the venue groups trades."""
        most = self.dialect.trades_per_frame
        if most == 1:
            return self.frames(self.dialect.encode(connection.session.form, rows), connection.session.form), None
        payloads, counts, begin = [], [], 0
        keys: list[Any] = rows.symbol.tolist()
        if rows.sequence is not None:  # recorded trades share a frame with all those of their sequence number
            keys, most = list(zip(keys, rows.sequence.tolist(), strict=True)), len(keys)
        while begin < len(keys):
            end = begin + 1
            while end < len(keys) and keys[end] == keys[begin] and end - begin < most:
                end += 1
            payloads += self.dialect.encode(connection.session.form, rows.take(slice(begin, end)))
            counts.append(end - begin)
            begin = end
        return self.frames(payloads, connection.session.form), counts

    def _route(self) -> Routes:
        """Compute the connections that get each symbol."""
        connections = [connection for connection in self.connections.values() if not connection.closing_by]
        positions: list[list[int]] = [[] for _ in self.table.symbols]
        for position, connection in enumerate(connections):
            known = {self.table.index[symbol] for symbol in connection.session.topics.values() if symbol in self.table.index}
            connection.symbols = sorted(known)
            for number in connection.symbols:
                positions[number].append(position)
        counts = np.array([len(receivers) for receivers in positions])
        flat = np.array([position for receivers in positions for position in receivers], np.intp)
        forms = {connection.session.form for connection in connections}
        self._routes = Routes(connections, np.array([connection.number for connection in connections], np.int32), counts,
                              np.cumsum(counts) - counts, flat, forms.pop() if len(forms) == 1 else None)
        return self._routes


def _fan_out(rows: Rows, counts: Any, routes: Routes) -> tuple[Any, Any]:
    """Return the row and the connection's position of each delivery, sorted by connection, with rows in order."""
    first = routes.starts[rows.symbol]
    if counts.max() == 1:
        picked = np.flatnonzero(counts)
        position = routes.flat[first[picked]]
    else:
        picked = np.repeat(np.arange(len(rows)), counts)
        nth = np.arange(len(picked)) - np.repeat(np.cumsum(counts) - counts, counts)
        position = routes.flat[first[picked] + nth]
    order = np.argsort(position, kind="stable")
    return picked[order], position[order]
