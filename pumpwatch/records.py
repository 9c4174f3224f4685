"""The records beside the trades: gaps, connection events, and quarantined frames."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from pumpwatch.clock import NS_PER_S
from pumpwatch.model import Gap, GapState

KEPT_BYTES = 4096
PassedId = tuple[int, int, int]  # instrument, id, time in ns
BESIDE = "beside"  # the event of a connection that begins to read symbols which another connection may read too
NOT_RUNNING = "not running"  # the reason of a gap in which no collector ran begins with this
REFUSED_SLACK_NS = NS_PER_S  # the trades of a frame are at most about this much older than the frame


@dataclass(frozen=True, slots=True)
class ConnectionEvent:
    """A change of a connection. event: up, down, refused, renewed, silent, full, beside."""

    at_ns: int
    exchange: str
    market_type: str
    connection: int
    event: str
    reason: str


@dataclass(frozen=True, slots=True)
class Quarantined:
    """An unreadable frame, or a row that a sink rejects for good; its first KEPT_BYTES are stored."""

    at_ns: int
    exchange: str
    market_type: str
    reason: str
    payload: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class GapFill:
    """The result of searching the venue's history for one symbol's missing trades of a gap.

    The fill is void once the gap grows beyond `gap.to_ns`. state: FILLED, LOST (the rest cannot be had), or OPEN (partly done,
    to be continued). found: the number of trades that it stored. missing: the number of trades that stay missing, -1 if
    unknown; they lie in [lost_from_ns, lost_to_ns). by: the proof of completeness: id, overlap (rows before and after the gap
    agree with stored trades), an empty history (the symbol has never traded), or nothing.
    """

    gap: Gap
    symbol: str
    state: GapState
    found: int
    missing: int
    by: str
    reason: str = ""
    lost_from_ns: int = 0
    lost_to_ns: int = 0
    at_ns: int = 0


@dataclass(slots=True)
class Records:
    """Records that are written together."""

    gaps: list[Gap] = field(default_factory=list)
    connection_events: list[ConnectionEvent] = field(default_factory=list)
    quarantine: list[Quarantined] = field(default_factory=list)
    passed: list[PassedId] = field(default_factory=list)  # ids of rows that are not trades; they count as seen
    fills: list[GapFill] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.gaps or self.connection_events or self.quarantine or self.passed or self.fills)

    def extend(self, other: Records) -> None:
        """Add the records of `other`."""
        self.gaps += other.gaps
        self.connection_events += other.connection_events
        self.quarantine += other.quarantine
        self.passed += other.passed
        self.fills += other.fills

    def one_by_one(self) -> Iterator[Records]:
        """Yield each gap, event, quarantined row and fill by itself."""
        yield from (Records(gaps=[gap]) for gap in self.gaps)
        yield from (Records(connection_events=[event]) for event in self.connection_events)
        yield from (Records(quarantine=[row]) for row in self.quarantine)
        yield from (Records(fills=[fill]) for fill in self.fills)
