"""What is written down beside the trades: gaps, the life of connections, and frames nobody could read."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from pumpwatch.clock import NS_PER_S
from pumpwatch.model import Gap

KEPT_BYTES = 4096
PassedId = tuple[int, int, int]  # instrument, id, time in ns
REFUSED_SLACK_NS = NS_PER_S  # trades of a frame are that much older than the frame, at most about


@dataclass(frozen=True, slots=True)
class ConnectionEvent:
    """A change in a connection's life. event: up, down, refused, renewed, silent, full."""

    at_ns: int
    exchange: str
    market_type: str
    connection: int
    event: str
    reason: str


@dataclass(frozen=True, slots=True)
class Quarantined:
    """A frame, or a row a sink will never take, with the reason; the first KEPT_BYTES of it are kept."""

    at_ns: int
    exchange: str
    market_type: str
    reason: str
    payload: bytes


@dataclass(slots=True)
class Records:
    """Everything of that kind that goes into one commit."""

    gaps: list[Gap] = field(default_factory=list)
    connection_events: list[ConnectionEvent] = field(default_factory=list)
    quarantine: list[Quarantined] = field(default_factory=list)
    passed: list[PassedId] = field(default_factory=list)  # ids that rows use up which are no trades: they count as seen

    def __bool__(self) -> bool:
        return bool(self.gaps or self.connection_events or self.quarantine or self.passed)

    def extend(self, other: Records) -> None:
        """Take over what the other holds."""
        self.gaps += other.gaps
        self.connection_events += other.connection_events
        self.quarantine += other.quarantine
        self.passed += other.passed

    def one_by_one(self) -> Iterator[Records]:
        """Yield each of them alone."""
        yield from (Records(gaps=[one]) for one in self.gaps)
        yield from (Records(connection_events=[one]) for one in self.connection_events)
        yield from (Records(quarantine=[one]) for one in self.quarantine)
