"""Collect the samples for the checks: recorded frames and bodies, and those of a venue's dialect, without a socket."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, urlsplit

import msgspec
import numpy as np

from pumpwatch.errors import UsageError
from pumpwatch.model import Columns, Instrument
from pumpwatch.plugin_kit.sandbox import attempt
from pumpwatch.venue import HttpRequest, Venue

if TYPE_CHECKING:
    from pumpwatch.sim.dialect import ClientSession, Dialect, Reply
    from pumpwatch.sim.http_messages import HttpReply
    from pumpwatch.sim.rows import Rows

COINS, ROWS, PAST_ROWS = 8, 3000, 12_000
PAGES = 20  # of a symbol list, at most
NS = 1_000_000_000


@dataclass(frozen=True, slots=True)
class HistoryBody:
    """The body of a trade history as the venue answered it. symbol: empty if unknown."""

    symbol: str
    body: bytes


@dataclass(slots=True)
class Samples:
    """Frames of trades, other frames and their origin; recorded bodies of the venue; the venue as its dialect plays it."""

    trades: list[bytes] = field(default_factory=list)
    others: list[bytes] = field(default_factory=list)
    origin: str = ""
    simulated: SimulatedVenue | None = None
    groups: list[list[bytes]] = field(default_factory=list)  # trades of one protocol each, the largest group first
    instruments: Sequence[bytes] = ()  # the pages of one list
    histories: Sequence[HistoryBody] = ()

    @property
    def seeds(self) -> list[bytes]:
        """Return up to 12 frames that differ in shape, trades first."""
        seen: dict[str, bytes] = {}
        for frame in (*self.trades[:400], *self.others[:100]):
            seen.setdefault(_shape(frame), frame)
        return list(seen.values())[:12]


def read_frames(file: Path) -> list[bytes]:
    """Read recorded frames, one a line: raw, or JSON with the frame in `raw`.

    Raises UsageError if the file cannot be read or has no frame.
    """
    from pumpwatch.pipeline.decode import raw_of

    try:
        lines = file.read_bytes().splitlines()
    except OSError as error:
        raise UsageError(f"{file}: cannot be read: {error.strerror}") from error
    found = [(raw_of(line), line.strip()) for line in lines if line.strip()]
    frames = [plain if raw is None else raw for raw, plain in found]
    if not frames:
        raise UsageError(f"{file}: no frame in this file", "each line is a frame as received, or JSON with the frame in `raw`")
    return frames


def gather(venue: Venue, recorded: Sequence[bytes], dialect: Dialect | None, instruments: Sequence[bytes] = (),
           histories: Sequence[HistoryBody] = ()) -> Samples:
    """Sort recorded frames into trades and others. Without a recorded trade, the dialect makes frames."""
    samples = Samples(origin=f"{len(recorded)} recorded frames" if recorded else "", instruments=instruments,
                        histories=histories)
    for frame in recorded:
        (samples.trades if _is_trade(venue, frame) else samples.others).append(frame)
    if dialect is not None:
        samples.simulated = SimulatedVenue(venue, dialect)
        if not samples.trades:
            samples.trades = samples.simulated.frames()
            samples.origin = f"{len(samples.trades)} frames of its dialect"
    samples.groups = _groups(venue, samples.trades)
    return samples


def _groups(venue: Venue, frames: Sequence[bytes]) -> list[list[bytes]]:
    """Sort frames into groups that can be parsed together: a recording may hold several protocols, a connection only one."""
    if not frames or _is_trade(venue, b",".join(frames)):
        return [list(frames)] if frames else []
    groups: list[list[bytes]] = []
    for frame in frames:
        group = next((group for group in groups if _is_trade(venue, group[0] + b"," + frame)), None)
        if group is None:
            groups.append([frame])
        else:
            group.append(frame)
    return sorted(groups, key=len, reverse=True)


def _is_trade(venue: Venue, frame: bytes) -> bool:
    return attempt(venue.parse, b"[" + frame + b"]", Columns()).error is None


def _shape(frame: bytes) -> str:
    """Return the keys and types of a frame at every depth."""
    try:
        return _shape_of(msgspec.json.decode(frame))
    except (msgspec.DecodeError, RecursionError):
        return f"text {len(frame)}"


def _shape_of(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ",".join(f"{key}:{_shape_of(inner)}" for key, inner in sorted(value.items())) + "}"
    if isinstance(value, list):
        return "[" + ",".join(sorted({_shape_of(inner) for inner in value[:5]})) + "]"
    return type(value).__name__


class EndlessMeter:
    """A REST budget that is never used up."""

    def spend(self, weight: float) -> float:
        """Return the weight of this request, as if it were the first."""
        return weight

    def retry_after_s(self) -> int:
        """Return 0: there is nothing to wait for."""
        return 0


class SimulatedVenue:
    """A venue's dialect without a server: its market has traded for a while, and it answers one client.

    rows: number of trades of all symbols, spread over `seconds` that ended ago_s ago; their times are multiples of step_ns.
    """

    def __init__(self, venue: Venue, dialect: Dialect, rows: int = ROWS, seconds: int = 60, ago_s: int = 0,
                 step_ns: int = 1) -> None:
        from pumpwatch.sim.history import TradeHistory
        from pumpwatch.sim.market import SimulatedMarket, coins
        from pumpwatch.sim.rows import SymbolTable

        self.venue, self.dialect = venue, dialect
        self.table = SymbolTable(dialect.symbols(coins(COINS)))
        market = SimulatedMarket(self.table, [1, 1], first_id=dialect.first_id, unit_ns=dialect.timestamp_unit_ns,
                                 flag_shares=dialect.flag_shares)
        end_ns = time.time_ns() - ago_s * NS
        made = market.next_trades(rows, end_ns - seconds * NS, end_ns)
        self.rows: Rows = dataclasses.replace(made, timestamp=made.timestamp - made.timestamp % step_ns)
        self.history = TradeHistory(self.table, rows)
        self.history.add(self.rows)
        self._memory: dict[str, Any] = {}
        self._opened: tuple[ClientSession, Reply | HttpReply] | None = None

    def of_the_past(self) -> SimulatedVenue:
        """Return the same venue with ten minutes of trades that ended two minutes ago, several of a symbol at a time."""
        return SimulatedVenue(self.venue, self.dialect, PAST_ROWS, seconds=600, ago_s=120, step_ns=NS // 4)

    def list_pages(self) -> list[bytes]:
        """Return every page of the symbol list; an empty page if the dialect rejects a request."""
        bodies: list[bytes] = []
        for request in self.venue.instruments_requests:
            page: HttpRequest | None = request
            while page is not None and len(bodies) < PAGES:
                bodies.append(self.answer(page))
                page = attempt(self.venue.next_instruments, bodies[-1]).value if self.venue.next_instruments else None
        return bodies

    def instrument(self, number: int) -> Instrument | None:
        """Return a symbol's instrument from the venue's list, or None if it is not listed."""
        listed = attempt(self.venue.parse_instruments, self.list_pages()).value or []
        return next((instrument for instrument in listed if instrument.symbol == self.table.symbols[number]), None)

    def connect(self) -> tuple[ClientSession, Reply | HttpReply]:
        """Open a connection as the collector does, with its session request; return it and the venue's first reply."""
        from pumpwatch.sim.dialect import ClientSession

        url = f"wss://127.0.0.1:1{self.dialect.path_of(self.venue.variant)}"
        if self.venue.session is not None:
            body = self.answer(self.venue.session.request) if self.venue.session.request else b""
            url = self.venue.session.url(body, url, "1")
        parts = urlsplit(url)
        headers = {key.lower(): value for key, value in self.venue.headers.items()}  # as a server reads them
        session = ClientSession(parts.path, dict(parse_qsl(parts.query)), headers, memory=self._memory)
        return session, self.dialect.open(session, self.dialect.rules)

    def frames(self) -> list[bytes]:
        """Return frames with one trade each, and some with up to ten if the venue groups trades."""
        if self._opened is None:
            self._opened = self.connect()
        form, encode = self._opened[0].form, self.dialect.encode
        if self.dialect.trades_per_frame == 1:
            return list(encode(form, self.rows))
        single = [payload for row in range(ROWS // 2) for payload in encode(form, self.rows.take(slice(row, row + 1)))]
        return single + self.grouped()

    def grouped(self) -> list[bytes]:
        """Return frames of up to ten trades; an empty list if the venue does not group trades."""
        most = min(10, self.dialect.trades_per_frame)
        if most == 1 or self._opened is None:
            return []
        found = []
        for number in range(len(self.table)):
            rows = self.rows.take(np.flatnonzero(self.rows.symbol == number))
            for begin in range(0, len(rows) - most + 1, most):
                found += self.dialect.encode(self._opened[0].form, rows.take(slice(begin, begin + most)))
        return found

    def answer(self, request: HttpRequest) -> bytes:
        """Return the body of the venue's REST answer; empty if it rejects the request."""
        from pumpwatch.sim.http_messages import HttpCall

        query = {key: str(value) for key, value in request.params.items()}
        headers = {key.lower(): value for key, value in self.venue.headers.items()}
        call = HttpCall(request.method, self.dialect.rest_path + request.path, query, headers, b"", time.time_ns(), self._memory)
        reply = self.dialect.rest(call, self.dialect.rules, self.history, EndlessMeter())
        return reply.body if reply.status == 200 else b""
