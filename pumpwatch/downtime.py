"""The gap of a venue for the time in which no collector ran."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from pumpwatch.clock import NS_PER_S
from pumpwatch.model import DISORDER_NS, Gap, IdKind
from pumpwatch.records import BESIDE, NOT_RUNNING, ConnectionEvent
from pumpwatch.venue import Venue

KILLED = f"{NOT_RUNNING}, after it was killed"
KILLED_BESIDE = f"{KILLED} while a connection was opened beside another"


def downtime(venue: Venue, since_ns: int, until_ns: int, *, clean: bool, beside: bool = False) -> Gap:
    """Return the gap of a whole venue between its last received trade and `until_ns`, both in ns.

    After a kill it begins earlier, unless ids would show a loss: a connection may have died unnoticed. beside: the trades before
    it came over several connections.
    """
    unseen_ns = 0 if clean else _unseen_ns(venue)
    return Gap(exchange=venue.exchange, market_type=venue.market_type, from_ns=since_ns - DISORDER_NS - unseen_ns,
               to_ns=until_ns, reason=NOT_RUNNING if clean else KILLED_BESIDE if beside else KILLED)


def as_read(gap: Gap, events: Iterable[ConnectionEvent]) -> Gap:
    """Return the gap after a kill, with the reason KILLED_BESIDE if a second connection was opened during it.

    One of the two connections may have died unnoticed, so a symbol's last trade does not prove that the trades before it arrived.
    """
    beside = any(event.event == BESIDE and event.at_ns >= gap.from_ns and event.exchange == gap.exchange
                 and event.market_type == gap.market_type for event in events)
    return replace(gap, reason=KILLED_BESIDE) if beside and gap.reason == KILLED else gap


def last_received_ns(venue: Venue, gap: Gap) -> int | None:
    """Return when the killed collector received its last trade of the venue, in ns.

    Return None if the gap begins there anyway, or if the trades before it may have come over several connections.
    """
    unseen_ns = _unseen_ns(venue)
    return gap.from_ns + DISORDER_NS + unseen_ns if unseen_ns and gap.reason == KILLED else None


def _unseen_ns(venue: Venue) -> int:
    return 0 if venue.id_kind is IdKind.CONTIGUOUS else int(venue.stale_after_s * NS_PER_S)
