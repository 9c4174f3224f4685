"""What is written down beside the trades: gaps, the life of connections, and frames nobody could read."""

from __future__ import annotations

from dataclasses import dataclass, field

from pumpwatch.model import Gap, TradeBatch

KEPT_BYTES = 4096


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
    void: list[TradeBatch] = field(default_factory=list)  # rows that use up an id and are no trades: their ids count as seen

    def __bool__(self) -> bool:
        return bool(self.gaps or self.connection_events or self.quarantine or self.void)

    def extend(self, other: Records) -> None:
        """Take over what the other holds."""
        self.gaps += other.gaps
        self.connection_events += other.connection_events
        self.quarantine += other.quarantine
        self.void += other.void
