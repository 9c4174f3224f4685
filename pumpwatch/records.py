"""The records beside the trades: gaps, connection events, and quarantined frames."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from pumpwatch.clock import NS_PER_S
from pumpwatch.model import Gap, GapState

KEPT_BYTES = 4096
PassedId = tuple[int, int, int]  # instrument, id, time in ns
BESIDE = "beside"  # the event of a connection that begins to bring symbols which another one may bring too
NOT_RUNNING = "not running"  # the beginning of the reason of a gap in which no collector ran
REFUSED_SLACK_NS = NS_PER_S  # the trades of a frame are at most about so much older than the frame


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
    """A frame that could not be read, or a row that a sink rejects for ever; its first KEPT_BYTES are stored."""

    at_ns: int
    exchange: str
    market_type: str
    reason: str
    payload: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class GapFill:
    """The result of looking for one symbol's missing trades of a gap in the venue's history.

    state: FILLED, LOST (what is still missing cannot be had), or OPEN (part of it is done; it is continued). to_ns: the gap's
    end at that time; a gap that grew later makes the fill void. found: trades stored by it; missing: trades that stay
    missing, -1 where their number is unknown; lost_from_ns, lost_to_ns: where they lie. by: how completeness is known: id,
    sequence, overlap (rows before and after the gap agree with stored ones), an empty history (the symbol has never traded),
    nothing.
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
    """The records that are written together."""

    gaps: list[Gap] = field(default_factory=list)
    connection_events: list[ConnectionEvent] = field(default_factory=list)
    quarantine: list[Quarantined] = field(default_factory=list)
    passed: list[PassedId] = field(default_factory=list)  # all ids of rows that are not trades: they count as seen
    fills: list[GapFill] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.gaps or self.connection_events or self.quarantine or self.passed or self.fills)

    def extend(self, other: Records) -> None:
        """Add the other's records."""
        self.gaps += other.gaps
        self.connection_events += other.connection_events
        self.quarantine += other.quarantine
        self.passed += other.passed
        self.fills += other.fills

    def one_by_one(self) -> Iterator[Records]:
        """Yield each record by itself."""
        yield from (Records(gaps=[gap]) for gap in self.gaps)
        yield from (Records(connection_events=[event]) for event in self.connection_events)
        yield from (Records(quarantine=[row]) for row in self.quarantine)
        yield from (Records(fills=[fill]) for fill in self.fills)
