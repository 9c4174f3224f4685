"""One simulated market of an exchange: who is connected, who subscribed to what, and the delivery of trades."""

from __future__ import annotations

import itertools
import logging
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from pumpwatch.clock import Clock
from pumpwatch.sim import wire
from pumpwatch.sim.client_connection import ClientConnection
from pumpwatch.sim.client_limits import Callers
from pumpwatch.sim.dialect import ClientSession, Dialect, HttpCall, HttpReply, Rules
from pumpwatch.sim.ground_truth import NO_SUBSCRIBER, SENT, TruthWriter, records_of
from pumpwatch.sim.history import TradeHistory
from pumpwatch.sim.market import SimulatedMarket
from pumpwatch.sim.rest_faults import shorter, spoilt
from pumpwatch.sim.rows import Rows, SymbolTable
from pumpwatch.sim.tls import ServerTlsStream

log = logging.getLogger(__name__)


@dataclass
class Trouble:
    """Faults of a whole venue: until when (monotonic seconds) it refuses what."""

    refuse_until: float = 0.0
    refuse_status: int = 503
    refusal: str = ""  # refuse (by status), down (cut off at once), hang (never answered)
    rest_until: float = 0.0
    rest_status: int = 429
    rest_form: str = ""  # of sim.rest_faults, instead of that status
    rest_symbol: str = ""  # which that form is about


@dataclass(frozen=True, slots=True)
class Payloads:
    """Recorded payloads, and for each row the one that carries it."""

    payloads: list[bytes]
    payload_of: Any


@dataclass
class Routes:
    """For each symbol the connections that get it, flat: positions in `links`."""

    links: list[ClientConnection] = field(default_factory=list)
    numbers: Any = None
    counts: Any = None
    starts: Any = None
    flat: Any = None
    form: str | None = None  # the one form in use, None when there are several


class SimVenue:
    """A market that is served."""

    def __init__(self, number: int, dialect: Dialect, rules: Rules, table: SymbolTable, market: SimulatedMarket,
                 truth: TruthWriter, clock: Clock, callers: Callers, *, history_trades: int, backlog_bytes: int) -> None:
        self.number, self.dialect, self.rules, self.table, self.market = number, dialect, rules, table, market
        self.name = dialect.name
        self.truth = truth
        self.history = TradeHistory(table, history_trades)
        self.links: dict[int, ClientConnection] = {}
        self.trouble = Trouble()
        self.made = self.connects = 0
        self.late_s = 0.0
        self.clock = clock
        self._backlog_bytes = backlog_bytes
        self.callers = callers
        self._memory: dict[str, Any] = {}
        self._routes: Routes | None = None

    def refusal(self) -> str:
        """Return how connections are refused now: "" (they are not), refuse, down or hang."""
        return self.trouble.refusal if self.trouble.refuse_until > self.clock.monotonic() else ""

    def connect(self, stream: ServerTlsStream, request: wire.ClientRequest, number: int) -> HttpReply | ClientConnection:
        """Answer a WebSocket handshake: a link that has been greeted, or the refusal."""
        if self.refusal() == "refuse":
            return HttpReply(self.trouble.refuse_status)
        if (refused := self.callers.arrive(stream.peer, self.rules)) is not None:
            self.truth.event("refused", venue=self.name, reason=refused[0])
            return refused[1]
        if 0 < self.rules.connections <= sum(link.stream.peer == stream.peer for link in self.links.values()):
            self.truth.event("refused", venue=self.name, reason="too many connections")
            return HttpReply(403)
        session = ClientSession(request.path, request.query, request.headers, memory=self._memory)
        opened = self.dialect.open(session, self.rules)
        if isinstance(opened, HttpReply):
            return opened
        link = ClientConnection(number, self, stream, session, self.clock)
        self.links[number] = link
        self.connects += 1
        self.truth.event("up", venue=self.name, connection=number, path=request.path)
        stream.write(wire.accept(request))
        stream.flush()
        link.answer(opened)
        self.resubscribed()
        return link

    def rest(self, request: wire.ClientRequest, peer: str) -> HttpReply:
        """Answer a REST request."""
        troubled = self.trouble.rest_until > self.clock.monotonic()
        form = self.trouble.rest_form if troubled else ""
        if troubled and not form:
            return HttpReply(self.trouble.rest_status, b'{"code":-1,"msg":"simulated trouble"}', {"Retry-After": "1"})
        call = HttpCall(request.method, request.path, request.query, request.headers, request.body,
                        self.clock.now_ns(), self._memory)
        history = shorter(self.history, form, self.trouble.rest_symbol)
        reply = self.dialect.rest(call, self.rules, history, self.callers.meter(peer, self.rules))
        return spoilt(reply, form) if form else reply

    def resubscribed(self) -> None:
        """Note that connections or subscriptions changed."""
        self._routes = None

    def deliver(self, rows: Rows, recorded: Payloads | None = None) -> None:
        """Let trades happen: remember them and send each to whoever subscribed to its symbol.

        recorded: the frames they came in; None has frames made from the rows.
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
        settled = []
        for begin, end in itertools.pairwise(edges):
            link = routes.links[int(position[begin])]
            counts_of = None
            if frames is not None:
                part = frames[begin:end]
            elif recorded is not None:
                part, counts_of = self._recorded_for(link, recorded, picked[begin:end])
            else:
                part, counts_of = self._encode_for(link, chosen.take(slice(begin, end)))
            if link.push(part, records[begin:end], counts_of):
                settled.append((begin, end))
            elif link.stream.queued > self._backlog_bytes:
                link.drop("client too slow", abort=True)
        if len(settled) == len(edges) - 1:
            self.truth.add(records)
        else:
            for begin, end in settled:
                self.truth.add(records[begin:end])

    def _recorded_for(self, link: ClientConnection, recorded: Payloads, picked: Any) -> tuple[list[bytes], list[int]]:
        """Return one connection's recorded frames in its form, and how many of the picked rows each carries."""
        numbers = recorded.payload_of[picked]
        first = np.flatnonzero(np.diff(numbers, prepend=-1))
        counts: list[int] = np.diff(first, append=len(numbers)).tolist()
        reframe, form = self.dialect.reframe, link.session.form
        return self.frames([reframe(form, recorded.payloads[number]) for number in numbers[first].tolist()], form), counts

    def routes(self) -> Routes:
        """Return who gets which symbol now; a new object after each change."""
        return self._routes or self._route()

    def frames(self, payloads: list[bytes], form: str) -> list[bytes]:
        """Return whole WebSocket frames for payloads of trades in a form."""
        return wire.frames_of(payloads, self.dialect.opcode(form))

    def _encode_for(self, link: ClientConnection, rows: Rows) -> tuple[list[bytes], list[int] | None]:
        """Encode the rows of one connection; runs of a symbol share frames where the venue does that."""
        most = self.dialect.trades_per_frame
        if most == 1:
            return self.frames(self.dialect.encode(link.session.form, rows), link.session.form), None
        payloads, counts, begin = [], [], 0
        numbers = rows.symbol.tolist()
        while begin < len(numbers):
            end = begin + 1
            while end < len(numbers) and numbers[end] == numbers[begin] and end - begin < most:
                end += 1
            payloads += self.dialect.encode(link.session.form, rows.take(slice(begin, end)))
            counts.append(end - begin)
            begin = end
        return self.frames(payloads, link.session.form), counts

    def _route(self) -> Routes:
        """Work out who gets which symbol."""
        links = [link for link in self.links.values() if not link.closing_by]
        takers: list[list[int]] = [[] for _ in self.table.symbols]
        for position, link in enumerate(links):
            known = {self.table.index[symbol] for symbol in link.session.topics.values() if symbol in self.table.index}
            link.symbols = sorted(known)
            for number in link.symbols:
                takers[number].append(position)
        counts = np.array([len(one) for one in takers])
        flat = np.array([position for one in takers for position in one], np.intp)
        forms = {link.session.form for link in links}
        self._routes = Routes(links, np.array([link.number for link in links], np.int32), counts,
                              np.cumsum(counts) - counts, flat, forms.pop() if len(forms) == 1 else None)
        return self._routes


def _fan_out(rows: Rows, counts: Any, routes: Routes) -> tuple[Any, Any]:
    """Return for each delivery the row and the position of its connection, by connection, rows in order."""
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
